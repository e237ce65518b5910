"""Reward models that transformers saved: they have transformers' scores of the rendered conversation."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from saved_classifiers import ANSWERS, HEADS, KINDS, QUESTIONS, pair_tokenizer, saved_decoder, saved_encoder
from tiny import CPU, prompts_of
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

from gnomon.api.score import reward_named
from gnomon.cli.main import app
from gnomon.core.errors import ModelError
from gnomon.core.storage.files import write_jsonl
from gnomon.core.types import Completion, Message, Prompt
from gnomon.models.encoders.scorer import ENCODERS, EncoderScorer, open_scorer
from gnomon.models.external import open_reward_model
from gnomon.models.loading import save_model
from gnomon.models.roles import RewardModel
from gnomon.models.settings import split_head


def rows() -> tuple[list[Prompt], list[Completion]]:
    prompts = [*prompts_of(*QUESTIONS), *prompts_of(*QUESTIONS)[:1]]
    return prompts, [Completion(str(n), text) for n, text in enumerate([*ANSWERS, "a film"])]


@torch.no_grad()
def own_scores(folder: str, output: int = 0) -> list[float]:
    """Transformers' score of each rendered conversation alone."""
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores = []
    for prompt, completion in zip(*rows(), strict=True):
        turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
        turns.append({"role": "assistant", "content": completion.text})
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=False)
        scores.append(float(network(input_ids=ids).logits[0, output]))
    return scores


def check(spec: str, expected: list[float]) -> None:
    result = reward_named(spec).score(*rows())
    assert not result.failures
    assert max(expected) - min(expected) > 0.05
    assert result.values.tolist() == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_is_scored_on_the_whole_rendered_conversation(
    kind: str, tmp_path: Path, chat_tokenizer: Any
) -> None:
    """The template writes a line break after the end of a turn, and transformers reads the score there."""
    folder = saved_decoder(tmp_path / "model", chat_tokenizer, kind)
    check(folder, own_scores(folder))


def test_the_score_is_not_read_at_padding(tmp_path: Path, chat_tokenizer: Any) -> None:
    """Where a text ends with the model's padding token, transformers reads the token before it."""
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>\n", "<|im_end|>")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    folder = saved_decoder(tmp_path / "model", tokenizer, pad_token_id=end)
    check(folder, own_scores(folder))
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    check(folder, own_scores(folder))


def test_a_template_that_adds_to_the_answer_is_followed(tmp_path: Path, chat_tokenizer: Any) -> None:
    """As Qwen3's, which writes empty reasoning before a last answer, but not in the generation prompt."""
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}(no thoughts) {% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    folder = saved_decoder(tmp_path / "model", tokenizer)
    check(folder, own_scores(folder))


@pytest.mark.parametrize("name", [*HEADS.values()])
def test_one_of_several_heads_is_named(name: str, tmp_path: Path, chat_tokenizer: Any) -> None:
    folder = saved_decoder(tmp_path / "model", chat_tokenizer, num_labels=3, id2label=HEADS)
    check(f"{folder}#{name}", own_scores(folder, [*HEADS.values()].index(name)))


@pytest.mark.parametrize("save", [saved_encoder, saved_decoder])
@pytest.mark.parametrize(("mark", "problem"), [("", "has 3 heads"), ("#safety", "has no head 'safety'")])
def test_a_missing_head_is_refused_with_the_list(
    save: Any, mark: str, problem: str, tmp_path: Path, chat_tokenizer: Any
) -> None:
    heads = {"num_labels": 3, "id2label": HEADS}
    arguments = (chat_tokenizer,) if save is saved_decoder else ()
    folder = save(tmp_path / "model", *arguments, **heads)
    with pytest.raises(ModelError, match=problem) as refusal:
        reward_named(folder + mark)
    assert "give one as " in str(refusal.value)
    assert "'helpfulness', 'correctness', 'verbosity'" in str(refusal.value)


def test_a_model_without_named_heads_has_none(tmp_path: Path, chat_tokenizer: Any) -> None:
    folder = saved_decoder(tmp_path / "model", chat_tokenizer)
    assert split_head(f"{folder}#x") == (folder, "x")
    with pytest.raises(ModelError, match=r"has no head 'x'.*of: 'LABEL_0'"):
        reward_named(f"{folder}#x")
    (tmp_path / "a#b").mkdir()
    assert split_head(str(tmp_path / "a#b")) == (str(tmp_path / "a#b"), None)
    assert split_head("org/model") == ("org/model", None)


def test_a_chosen_head_is_saved_alone_and_loads_in_transformers(tmp_path: Path, chat_tokenizer: Any) -> None:
    folder = saved_decoder(tmp_path / "model", chat_tokenizer, num_labels=3, id2label=HEADS)
    model = open_reward_model(f"{folder}#correctness", CPU)
    save_model(model, tmp_path / "one")
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "one")
    assert network.config.num_labels == 1
    assert network.config.id2label == {0: "correctness"}
    assert torch.equal(network.score.weight, model.network.score.weight)
    check(str(tmp_path / "one"), own_scores(folder, 1))


@torch.no_grad()
@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_an_encoder_reads_a_pair_of_texts(kind: str, tmp_path: Path) -> None:
    folder = saved_encoder(tmp_path / "model", kind)
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [(p.messages[0].content, c.text) for p, c in zip(*rows(), strict=True)]
    expected = [float(network(**tokenizer(*pair, return_tensors="pt")).logits[0, 0]) for pair in pairs]
    check(folder, expected)


def test_an_encoders_head_is_named(tmp_path: Path) -> None:
    folder = saved_encoder(tmp_path / "model", num_labels=3, id2label=HEADS)
    model = open_scorer(f"{folder}#verbosity", CPU)
    assert isinstance(model, EncoderScorer)
    assert model.head == 2
    all_heads = [reward_named(f"{folder}#{name}").score(*rows()).values for name in HEADS.values()]
    assert not torch.allclose(all_heads[0], all_heads[2])


def test_what_an_encoder_cannot_read_fails_alone(tmp_path: Path) -> None:
    reward = reward_named(saved_encoder(tmp_path / "model"))
    turns = (Message("user", "why"), Message("assistant", "no"), Message("user", "why"))
    prompts = [Prompt("a", turns[:1]), Prompt("b", turns), Prompt("c", turns[:1])]
    result = reward.score(prompts, [Completion(str(n), "film " * count) for n, count in enumerate((1, 1, 99))])
    assert result.values.isnan().tolist() == [False, True, True]
    assert [row for row, _ in result.failures] == [1, 2]
    assert "reads one user's message" in result.reason(1)
    assert "it has 103 tokens, more than the reward model's context of 64" in result.reason(2)


@torch.no_grad()
def test_positions_of_roberta_start_above_its_padding(tmp_path: Path) -> None:
    """Of 64 positions a pair may have 62 tokens, since the first is that after the padding token's id, 1."""
    folder = saved_encoder(tmp_path / "model", "roberta")
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    longest = "film " * 58  # with the question and three tokens of the pair
    inputs = AutoTokenizer.from_pretrained(folder)("why", longest, return_tensors="pt")
    assert inputs["input_ids"].shape[1] == 62
    completions = [Completion("0", longest), Completion("1", longest + "film")]
    result = reward_named(folder).score(prompts_of("why") * 2, completions)
    assert float(result.values[0]) == pytest.approx(float(network(**inputs).logits[0, 0]), abs=2e-4)
    assert result.reason(1) == "it has 63 tokens, more than the reward model's context of 62"


def test_control_tokens_of_a_text_are_plain_text(tmp_path: Path) -> None:
    model = open_scorer(saved_encoder(tmp_path / "model"), CPU)
    assert isinstance(model, EncoderScorer)
    assert model.encode("why [SEP] film", "no")["input_ids"].count(2) == 2


def test_an_encoder_whose_form_is_unknown_is_refused(tmp_path: Path) -> None:
    folder = saved_encoder(tmp_path / "model")
    tokenizer = pair_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="is an encoder with a chat template"):
        reward_named(folder)
    (tmp_path / "model" / "chat_template.jinja").unlink()
    tokenizer.chat_template = tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="has no padding token"):
        reward_named(folder)


def test_a_bias_that_transformers_would_drop_is_refused(tmp_path: Path, chat_tokenizer: Any) -> None:
    folder = saved_decoder(tmp_path / "model", chat_tokenizer)
    weights = load_file(tmp_path / "model" / "model.safetensors")
    save_file(weights | {"score.bias": torch.ones(1)}, tmp_path / "model" / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"holds, and would not use, the weight score\.bias"):
        reward_named(folder)


def test_an_encoder_is_not_trained(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="bert models are not supported as reward models here"):
        open_reward_model(saved_encoder(tmp_path / "model"), CPU)


def test_a_class_of_the_folders_own_code_is_refused_by_name(tmp_path: Path, chat_tokenizer: Any) -> None:
    folder = saved_decoder(tmp_path / "model", chat_tokenizer)
    path = tmp_path / "model" / "config.json"
    own = {"architectures": ["LlamaForGatedReward"], "auto_map": {"AutoModel": "gated.LlamaForGatedReward"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    with pytest.raises(ModelError, match="LlamaForGatedReward, whose code is in its own folder"):
        reward_named(folder)


def test_a_model_of_others_is_scored_as_before_when_gnomon_saved_it(tmp_path: Path, chat_tokenizer: Any) -> None:
    """Its padding token ends texts, which Gnomon's own reward models do not allow; its scores are centered."""
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>\n", "<|im_end|>")
    folder = saved_decoder(tmp_path / "model", tokenizer, pad_token_id=tokenizer.eos_token_id)
    model = open_reward_model(folder, CPU)
    model.center(0.5)
    save_model(model, tmp_path / "saved")
    check(str(tmp_path / "saved"), [score - 0.5 for score in own_scores(folder)])


def test_gnomons_own_models_are_scored_at_the_end_of_the_turn(tmp_path: Path, chat_tokenizer: Any) -> None:
    model = open_reward_model(saved_decoder(tmp_path / "others", chat_tokenizer), CPU)
    assert isinstance(model, RewardModel)
    assert model.whole_conversation
    model.whole_conversation = False
    save_model(model, tmp_path / "own")
    assert not open_reward_model(str(tmp_path / "own"), CPU).whole_conversation
    whole, turn = (reward_named(str(tmp_path / name)).score(*rows()).values for name in ("others", "own"))
    assert (whole - turn).abs().max() > 1e-3


def test_the_commands_and_calls_take_models_of_others(tmp_path: Path, chat_tokenizer: Any) -> None:
    import gnomon

    folder = saved_decoder(tmp_path / "model", chat_tokenizer, num_labels=3, id2label=HEADS)
    encoder = saved_encoder(tmp_path / "encoder")
    for spec, expected in ((f"{folder}#verbosity", own_scores(folder, 2)), (encoder, None)):
        scores = gnomon.score(gnomon.load_reward_model(spec), *texts())
        assert expected is None or scores == pytest.approx(expected, abs=2e-4)
        rows_of = [{"prompt": p, "completion": c} for p, c in zip(*texts(), strict=True)]
        write_jsonl(tmp_path / "rows.jsonl", rows_of)
        result = CliRunner().invoke(app, ["score", spec, str(tmp_path / "rows.jsonl")])
        assert result.exit_code == 0
        written = [json.loads(line)["score"] for line in result.stdout.splitlines() if line.startswith("{")]
        assert written == pytest.approx(scores, abs=1e-5)
    decider = tmp_path / "decider"
    result = CliRunner().invoke(app, ["export-decision", f"{folder}#verbosity", str(decider)])
    assert f'pipeline("decision", model="{decider}", trust_remote_code=True)' in result.stdout


def texts() -> tuple[list[str], list[str]]:
    prompts, completions = rows()
    return [p.messages[0].content for p in prompts], [c.text for c in completions]
