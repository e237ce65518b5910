"""Users' adapters: merged, they give the outputs of peft itself."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from tiny import CPU, byte_tokenizer, naive_logprobs, ragged_groups, rows_of, tiny_network
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.loading import load_policy, load_reward_model, save_model
from gnomon.models.settings import Trainable

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def adapted(base: Path, folder: Path, *, score: bool = False, **changes: Any) -> PeftModel:
    """An adapter that peft made and saved, moved off its zeros."""
    torch.manual_seed(0)
    kind = AutoModelForSequenceClassification if score else AutoModelForCausalLM
    network = kind.from_pretrained(base, **({"num_labels": 1} if score else {}))
    settings = {"r": 4, "target_modules": ["q_proj", "up_proj"], "init_lora_weights": False, **changes}
    return saved(
        get_peft_model(network, LoraConfig(task_type="SEQ_CLS" if score else "CAUSAL_LM", **settings)), folder
    )


def saved(model: PeftModel, folder: Path) -> PeftModel:
    """Saved without what peft advises about embeddings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.eval().save_pretrained(folder)
    return model


def with_added_tokens(base: Path, folder: Path, tokenizer: Any, **changes: Any) -> PeftModel:
    """An adapter that peft made of a model that got rows for tokens that were added; the base has none."""
    network = AutoModelForCausalLM.from_pretrained(base)
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    settings = {"r": 4, "init_lora_weights": False, "task_type": "CAUSAL_LM", **changes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(network, LoraConfig(**settings))
    tokenizer.save_pretrained(folder)
    return saved(model, folder)


def reconfigure(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("changes", [{}, {"modules_to_save": ["lm_head"]}, {"use_dora": True}], ids=str)
def test_an_adapter_gives_the_outputs_of_peft(
    tmp_path: Path, tiny_model: Path, groups: TokenGroups, changes: dict[str, Any]
) -> None:
    wrapped = adapted(tiny_model, tmp_path / "adapter", **changes)
    if changes.get("modules_to_save"):
        with torch.no_grad():
            wrapped.base_model.model.lm_head.modules_to_save.default.weight.mul_(2)
        wrapped.save_pretrained(tmp_path / "adapter")
    policy = load_policy(str(tmp_path / "adapter"), CPU, Trainable(rank=2))
    base = load_policy(str(tiny_model), CPU)
    with torch.no_grad():
        result = policy.logprobs(groups)
        for row, wanted in zip(rows_of(result, groups), naive_logprobs(wrapped, groups), strict=True):
            torch.testing.assert_close(row, wanted, atol=1e-4, rtol=0)
        assert (result - base.logprobs(groups)).abs().max() > 0.1
        assert torch.equal(policy.reference_logprobs(groups), result)  # the user's adapter is part of the start
    assert policy.trainable()
    assert all("lora" in name for name in policy.trainable())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_model(policy, tmp_path / "merged")
    assert not list((tmp_path / "merged").glob("adapter*"))
    with torch.no_grad():
        torch.testing.assert_close(
            load_policy(str(tmp_path / "merged"), CPU).logprobs(groups), result, atol=1e-4, rtol=0
        )


TARGETS = {
    "input": {"target_modules": ["q_proj", "embed_tokens"]},
    "output": {"target_modules": ["q_proj", "lm_head"]},
    "both": {"target_modules": ["embed_tokens", "lm_head"]},
    "one for both": {"target_modules": ["embed_tokens"], "ensure_weight_tying": True},
}


@pytest.mark.filterwarnings("ignore:Model (with|has) `tie_word_embeddings=True`")  # peft's own wrapper
@pytest.mark.parametrize("changes", TARGETS.values(), ids=TARGETS)
def test_an_adapter_of_tied_embeddings_changes_only_its_layer(
    tmp_path: Path, groups: TokenGroups, changes: dict[str, Any]
) -> None:
    """Merged into the one weight that input and output share, it would change both, or one of them twice."""
    tokenizer = byte_tokenizer(chat=False)
    tiny_network(vocab=len(tokenizer), tie_word_embeddings=True).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    wrapped = adapted(tmp_path / "base", tmp_path / "adapter", **changes)
    policy = load_policy(str(tmp_path / "adapter"), CPU)
    save_model(policy, tmp_path / "merged")
    again = load_policy(str(tmp_path / "merged"), CPU)
    with torch.no_grad():
        wanted = naive_logprobs(wrapped, groups)
        for model in (policy, again):
            for row, expected in zip(rows_of(model.logprobs(groups), groups), wanted, strict=True):
                torch.testing.assert_close(row, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("tied", [True, False])
def test_an_adapter_brings_the_rows_of_tokens_that_were_added(tmp_path: Path, tied: bool) -> None:
    tokenizer = byte_tokenizer(chat=False)
    tiny_network(vocab=len(tokenizer), tie_word_embeddings=tied).save_pretrained(tmp_path / "base")
    tokenizer.add_tokens(["<think>", "</think>"], special_tokens=True)
    new = len(tokenizer) - 1
    groups = TokenGroups.build([[5, new, 7]], [[new - 1, 9, new]], [0], [[True] * 3])
    for number, changes in enumerate([{}, {"modules_to_save": ["embed_tokens", "lm_head"]}]):
        folder = tmp_path / f"adapter{number}"
        wrapped = with_added_tokens(tmp_path / "base", folder, tokenizer, target_modules=["q_proj"], **changes)
        policy = load_policy(str(folder), CPU)
        assert len(policy.network.get_input_embeddings().weight) == len(tokenizer)
        with torch.no_grad():
            torch.testing.assert_close(
                rows_of(policy.logprobs(groups), groups), naive_logprobs(wrapped, groups), atol=1e-4, rtol=0
            )


def test_an_adapter_that_lacks_rows_of_added_tokens_is_refused(tmp_path: Path) -> None:
    """peft leaves out the output's rows where the adapter stands beside the input: they are nowhere."""
    tokenizer = byte_tokenizer(chat=False)
    tiny_network(vocab=len(tokenizer)).save_pretrained(tmp_path / "base")
    tokenizer.add_tokens(["<think>", "</think>"], special_tokens=True)
    with_added_tokens(tmp_path / "base", tmp_path / "adapter", tokenizer, target_modules=["embed_tokens"])
    with pytest.raises(ModelError, match="adds 2 tokens, but holds no rows of lm_head for them; merge it where"):
        load_policy(str(tmp_path / "adapter"), CPU)


def test_a_reward_model_from_an_adapter(tmp_path: Path, tiny_model: Path, groups: TokenGroups) -> None:
    """One for scores brings its head; one for a language model gets a new head on its states."""
    wrapped = adapted(tiny_model, tmp_path / "scores", score=True)
    judge = load_reward_model(str(tmp_path / "scores"), CPU, seed=7)
    adapted(tiny_model, tmp_path / "words")
    fresh = load_reward_model(str(tmp_path / "words"), CPU, seed=7, num_layers=2)
    words = load_policy(str(tmp_path / "words"), CPU)
    ids = torch.cat([groups.prompts[0], groups.completions[0]])[None]
    with torch.no_grad():
        torch.testing.assert_close(judge.scores(groups)[:1], wrapped(ids).logits[0], atol=1e-5, rtol=0)
        first = fresh.trunk(ids, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(first, words.trunk(ids, output_hidden_states=True).hidden_states[1])


def test_adapters_that_cannot_be_merged_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    folder = tmp_path / "adapter"
    adapted(tiny_model, folder)
    reconfigure(folder, r=8)
    with pytest.raises(ModelError, match="does not fit its base model"):
        load_policy(str(folder), CPU)
    reconfigure(folder, r=4, target_modules=["q_proj"])
    with pytest.raises(ModelError, match="does not fit its base model"):
        load_policy(str(folder), CPU)
    reconfigure(folder, base_model_name_or_path=None)
    with pytest.raises(ModelError, match="has no base_model_name_or_path"):
        load_policy(str(folder), CPU)
    reconfigure(folder, base_model_name_or_path="/absent/base")
    with pytest.raises(ModelError, match="no model folder at /absent/base"):
        load_policy(str(folder), CPU)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    reconfigure(folder, base_model_name_or_path=str(tiny_model))
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors"):
        load_policy(str(folder), CPU)
    network = AutoModelForCausalLM.from_pretrained(tiny_model)
    get_peft_model(network, PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")).save_pretrained(
        tmp_path / "soft"
    )
    with pytest.raises(ModelError, match="PROMPT_TUNING, which cannot be merged"):
        load_policy(str(tmp_path / "soft"), CPU)


def test_the_fixture_can_fail(tiny_model: Path) -> None:
    """Prompts and completions are ids of the tiny model's vocabulary."""
    vocabulary = AutoModelForCausalLM.from_pretrained(tiny_model).config.vocab_size
    assert max(int(c.max()) for c in ragged_groups().completions) < vocabulary
