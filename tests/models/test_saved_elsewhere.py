"""A saved model in transformers alone: Gnomon's outputs, batched and alone, and Gnomon's end tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CPU, prompts_of, rows_of, shake, tiny_network
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from gnomon.core.batches import TokenGroups
from gnomon.core.types import Completion
from gnomon.data.batching import token_groups
from gnomon.data.encoding import Example, encode_completions
from gnomon.data.templates.chat_template import turn_end
from gnomon.data.templates.tokenizer_compat import ADDED_PAD, same_vocabulary
from gnomon.models.loading import load_critic, load_policy, load_reward_model, save_model
from gnomon.models.roles import Model
from gnomon.models.settings import Trainable
from gnomon.models.special_tokens import end_ids
from gnomon.rewards.reward import LearnedReward
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling

CHATML = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content }} <|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant{% endif %}"
)
LONE = (  # GPT-2's only special token ends both texts and turns
    "{% for m in messages %}{{ m.role }} {{ m.content }} {% if m.role == 'assistant' %}<|endoftext|>{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant{% endif %}"
)
WORDS = ["a", "b", "c", "d", "user", "assistant"]
QUESTIONS = [" ".join(WORDS[(n * k + k) % 4] for k in range(1, 2 + n % 5)) for n in range(12)]
ANSWERS = ["a b c d", "b", "c c", "d a b", "a", "b d d d d d", "c a", "d", "a a", "b b b", "c", "d d"]
LORA = Trainable(layers=1, rank=4)


def base(folder: Path, kind: str, seed: int = 0) -> str:
    """A folder as users bring them.

    `same`: a chat model that pads with its end of a turn; `other`: a base model without padding that lists two
    ends, neither of which is the template's; `lone`: GPT-2 with one special token.
    """
    special = ["<|endoftext|>"] if kind == "lone" else ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eom|>"]
    inner = Tokenizer(WordLevel({w: i for i, w in enumerate([*special, *WORDS])}, unk_token="a"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.add_special_tokens(special)
    names = {
        "same": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
        "other": {"eos_token": "<|endoftext|>"},
        "lone": dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
    }
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **names[kind])
    tokenizer.chat_template = LONE if kind == "lone" else CHATML
    eos = 2 if kind == "same" else 0
    network = tiny_network("gpt2" if kind == "lone" else "llama", vocab=len(tokenizer), layers=2, seed=seed)
    network.config.eos_token_id, network.config.pad_token_id = eos, eos if kind == "same" else None
    network.generation_config = GenerationConfig(eos_token_id=[0, 3] if kind == "other" else eos)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def scored(model: Model) -> TokenGroups:
    """Each question with its answer, as Gnomon encodes them."""
    written = [Completion(str(n), text) for n, text in enumerate(ANSWERS)]
    encoded = encode_completions(prompts_of(*QUESTIONS), written, model.tokenizer)
    return token_groups([one for one in encoded if isinstance(one, Example)])


def conversations(tokenizer: Any) -> list[str]:
    """The same as text by the template, up to the last end, as the guide describes for whole conversations."""
    result = []
    for batch_texts, answer in zip(QUESTIONS, ANSWERS, strict=True):
        turns = [{"role": "user", "content": batch_texts}, {"role": "assistant", "content": answer}]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        result.append(text[: text.rindex(tokenizer.eos_token) + len(tokenizer.eos_token)])
    return result


def batch_of(tokenizer: Any, texts: list[str], **sides: Any) -> dict[str, Tensor]:
    result: dict[str, Tensor] = tokenizer(
        texts, return_tensors="pt", padding=True, add_special_tokens=False, **sides
    )
    return result


SIDES = [("same", "left"), ("same", "right"), ("other", "left"), ("other", "right"), ("lone", None)]


@pytest.mark.parametrize(("kind", "side"), SIDES)
@torch.no_grad()
def test_a_judges_scores_do_not_depend_on_the_batch(tmp_path: Path, kind: str, side: str | None) -> None:
    """Positions that are learned, as GPT-2's, are right on the side that is saved with the tokenizer."""
    model = load_reward_model(base(tmp_path / "base", kind), CPU, LORA, seed=3)
    shake(model, by=0.3)
    model.center(0.25)
    ours = model.scores(scored(model))
    save_model(model, tmp_path / "judge")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "judge")
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "judge").eval()
    texts, sides = conversations(tokenizer), {"padding_side": side} if side else {}
    together = network(**batch_of(tokenizer, texts, **sides)).logits[:, 0]
    alone = torch.cat([network(**batch_of(tokenizer, [text])).logits[:, 0] for text in texts])
    assert ours.std() > 0.1
    torch.testing.assert_close(together - network.config.score_offset, ours, atol=1e-4, rtol=0)
    torch.testing.assert_close(alone - network.config.score_offset, ours, atol=1e-4, rtol=0)
    again = load_reward_model(str(tmp_path / "judge"), CPU, seed=9)
    torch.testing.assert_close(again.scores(scored(again)), ours, atol=1e-4, rtol=0)
    assert same_vocabulary(again.tokenizer, model.tokenizer)
    assert (ADDED_PAD in again.tokenizer.get_vocab()) == (kind == "lone")
    load_critic(str(tmp_path / "judge"), CPU, LORA, seed=0).predict(scored(again))


@torch.no_grad()
def test_scores_do_not_depend_on_the_end_token(tmp_path: Path) -> None:
    """Judges are trained on the template's end; how another one is read would be chance."""
    judge = load_reward_model(base(tmp_path / "base", "other"), CPU, seed=3)
    judge.network.config.eos_token_id = [0, 3]
    reward = LearnedReward(judge, "judge", sampled_by=judge.tokenizer)
    prompts = [prompt for prompt in prompts_of("a b") for _ in range(4)]
    answers = [Completion(str(n), "c d", token_ids=(6, 7, end)) for n, end in enumerate((2, 0, 3, 5))]
    scores = reward.score(prompts, answers).values
    torch.testing.assert_close(scores[1:3], scores[:1].expand(2), atol=1e-5, rtol=0)
    assert abs(scores[3] - scores[0]) > 1e-3  # cut off after an ordinary token


@pytest.mark.parametrize(
    ("kind", "adapter", "seed"),
    [("same", "lora", 0), ("same", "none", 0), ("other", "lora", 7), ("other", "none", 1), ("lone", "lora", 0)],
)
@torch.no_grad()
def test_a_policy_generates_the_same_texts(tmp_path: Path, kind: str, adapter: Any, seed: int) -> None:
    """Greedily, in one batch with the tokenizer's own padding and alone; every end ends some completion."""
    policy = load_policy(base(tmp_path / "base", kind, seed), CPU, Trainable(adapter=adapter, layers=2, rank=4))
    shake(policy, by=0.2 if adapter == "lora" else 0.1)
    sampling = Sampling(max_tokens=8, temperature=0)
    ours = [
        list(r.completion.token_ids or ())
        for r in NativeSampler(policy).sample(prompts_of(*QUESTIONS), sampling, seed=0)
    ]
    assert {row[-1] for row in ours if len(row) < 8} == set(end_ids(policy.network, policy.tokenizer))
    save_model(policy, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": a}], tokenize=False, add_generation_prompt=True
        )
        for a in QUESTIONS
    ]
    for batch_texts in (texts, *([text] for text in texts)):
        batch = batch_of(tokenizer, list(batch_texts))
        written = network.generate(**batch, max_new_tokens=8, do_sample=False)[:, batch["input_ids"].shape[1] :]
        for row, text in zip(written.tolist(), batch_texts, strict=True):
            row_of_ours = ours[texts.index(text)]
            assert row[: len(row_of_ours)] == row_of_ours
            assert set(row[len(row_of_ours) :]) <= {tokenizer.pad_token_id}


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_a_policys_logprobs_equal_those_of_transformers(tmp_path: Path, side: str) -> None:
    policy = load_policy(base(tmp_path / "base", "other"), CPU, LORA)
    shake(policy, by=0.3)
    groups = scored(policy)
    ours = policy.logprobs(groups)
    save_model(policy, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    network = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    batch = batch_of(tokenizer, conversations(tokenizer), padding_side=side)
    logprobs = network(**batch).logits.log_softmax(-1)
    for row, (row_of_ours, mask) in enumerate(zip(rows_of(ours, groups), batch["attention_mask"], strict=True)):
        real = mask.nonzero().squeeze(1)[-len(row_of_ours) :]
        transformers_logprobs = logprobs[row, real - 1, batch["input_ids"][row, real]]
        torch.testing.assert_close(transformers_logprobs, row_of_ours, atol=1e-4, rtol=0)


def test_every_file_names_the_end_that_was_trained(tmp_path: Path) -> None:
    policy = load_policy(base(tmp_path / "base", "other"), CPU)
    save_model(policy, tmp_path / "model")
    assert policy.tokenizer.eos_token == "<|endoftext|>"  # only what is saved differs
    assert policy.network.config.eos_token_id == 0
    read = {
        n: json.loads((tmp_path / "model" / f"{n}.json").read_text()) for n in ("config", "generation_config")
    }
    assert [result["eos_token_id"] for result in read.values()] == [[2, 0, 3]] * 2  # the template's first
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.eos_token == "<|im_end|>"
    assert [result["pad_token_id"] for result in read.values()] == [tokenizer.pad_token_id] * 2 == [1, 1]
    assert tokenizer.padding_side == "left"
    assert turn_end(tokenizer) == turn_end(policy.tokenizer)


def test_a_template_that_writes_eos_elsewhere_keeps_it(tmp_path: Path) -> None:
    policy = load_policy(base(tmp_path / "base", "other"), CPU)
    policy.tokenizer.chat_template = CHATML + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}"
    save_model(policy, tmp_path / "model")
    assert AutoTokenizer.from_pretrained(tmp_path / "model").eos_token == "<|endoftext|>"
    assert GenerationConfig.from_pretrained(tmp_path / "model").eos_token_id == [2, 0, 3]


def test_ordinary_tokens_are_no_ends(tmp_path: Path) -> None:
    """A configuration made without its tokenizer names the ids of another one's special tokens."""
    policy = load_policy(base(tmp_path / "base", "other"), CPU)
    policy.network.generation_config.eos_token_id = [5, 3, 99]
    assert end_ids(policy.network, policy.tokenizer) == (2, 3, 0)


@pytest.mark.parametrize(
    "odd", [{"do_sample": False, "temperature": 0.6}, {"num_beams": 1, "num_beam_groups": 2}]
)
def test_generation_settings_that_contradict_each_other_do_not_lose_the_model(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    base(tmp_path / "base", "other")
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 3], **odd}))
    save_model(load_policy(str(tmp_path / "base"), CPU), tmp_path / "model")
    result = GenerationConfig.from_pretrained(tmp_path / "model")
    assert result.eos_token_id == [2, 0, 3]
    assert result.do_sample or result.temperature is None


def test_the_embedding_of_the_padding_token_learns(tmp_path: Path) -> None:
    """It is the end of a turn here, which prompts of several turns hold."""
    policy = load_policy(base(tmp_path / "base", "same"), CPU, Trainable(adapter="none"))
    groups = TokenGroups.build([[1, 4, 2, 1, 5]], [[4, 2]], [0])
    policy.logprobs(groups).sum().backward()  # type: ignore[no-untyped-call]
    slope = policy.network.get_input_embeddings().weight.grad
    assert slope is not None
    assert slope[2].abs().max() > 1e-3
