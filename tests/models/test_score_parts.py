"""Parts of a reward model beside its head: learned with it, saved with it, and out of the way of transformers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CPU, tiny_reward_model
from transformers import AutoModelForSequenceClassification

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.models.external import open_reward_model
from gnomon.models.loading import load_reward_model, save_model
from gnomon.models.roles import RewardModel
from gnomon.models.scalar_head import as_scalar_head
from gnomon.models.score_parts.files import PARTS_FILE, add_parts
from gnomon.models.score_parts.heads import GAIN
from gnomon.models.score_parts.settings import NamedScore, PartSettings, RatingScale
from gnomon.rewards.reward import LearnedReward


def with_parts(settings: PartSettings, tokenizer: Any = None) -> RewardModel:
    model = tiny_reward_model(tokenizer)
    add_parts(model.network, settings, "tiny")
    return model


def test_a_tie_parameter_starts_where_its_model_says() -> None:
    davidson, rao_kupper = (with_parts(PartSettings(tie=name)).parts for name in ("davidson", "rao_kupper"))
    assert davidson is not None
    assert rao_kupper is not None
    assert (davidson.tie_parameter(), rao_kupper.tie_parameter()) == pytest.approx((1.0, 2.0))
    davidson.tie.data.fill_(0.5 / GAIN)  # type: ignore[union-attr]
    assert davidson.tie_parameter() == pytest.approx(math.exp(0.5))


def test_parts_are_saved_and_loaded_and_transformers_reads_the_folder_without_them(
    tmp_path: Path, chat_tokenizer: Any
) -> None:
    model = with_parts(PartSettings(tie="davidson"), chat_tokenizer)
    assert model.parts is not None
    model.parts.tie.data.fill_(0.3 / GAIN)  # type: ignore[union-attr]
    save_model(model, tmp_path / "judge")
    assert model.parts is not None  # the model is of use after it is saved
    again = load_reward_model(str(tmp_path / "judge"), CPU, seed=1)
    assert again.parts is not None
    assert again.parts.tie_parameter() == pytest.approx(math.exp(0.3))
    assert not any(p.requires_grad for p in again.parts.parameters())
    save_model(again, tmp_path / "twice")
    names = sorted(path.name for path in (tmp_path / "judge").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "twice").iterdir())
    _, facts = AutoModelForSequenceClassification.from_pretrained(tmp_path / "judge", output_loading_info=True)
    assert not facts["missing_keys"]
    assert not facts["unexpected_keys"]


@pytest.mark.parametrize("damage", ["missing", "other"])
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, chat_tokenizer: Any, damage: str) -> None:
    folder = tmp_path / "judge"
    save_model(with_parts(PartSettings(tie="davidson"), chat_tokenizer), folder)
    if damage == "missing":
        (folder / PARTS_FILE).unlink()
    else:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
        config["score_parts"]["tie"] = None
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=rf"{PARTS_FILE} is missing or does not fit the score_parts"):
        load_reward_model(str(folder), CPU, seed=1)


def test_a_learned_parameter_gets_a_gradient() -> None:
    model = with_parts(PartSettings(tie="rao_kupper"))
    assert model.parts is not None
    model.parts.requires_grad_(True)
    model.parts.tie_logit().backward()  # type: ignore[no-untyped-call]
    # η = softplus(x) with x = 100·tie: dη/dtie = 100·σ(0)
    assert torch.allclose(model.parts.tie.grad, torch.tensor(50.0))  # type: ignore[union-attr, arg-type]


SCORES = {
    "help": NamedScore(scale=(0, 4)),
    "safe": NamedScore(loss="logistic"),
    "style": NamedScore(loss="ordinal", scale=(1, 3)),
}
WIDTH = 32


def trained(tokenizer: Any, *, gate: bool = False, overall: bool = True) -> RewardModel:
    """A reward model whose parts have weights of some size, trained on ratings too."""
    rating = RatingScale(mean=3.0, deviation=0.5) if overall else None
    model = with_parts(PartSettings(scores=SCORES, gate=gate), tokenizer)
    assert model.parts is not None
    model.parts.settings = model.parts.settings.model_copy(update={"overall": overall, "rating": rating})
    if gate:
        model.network.score = as_scalar_head(model.network.score)
    model.parts.head("help").start_from([1.0, 3.0])
    model.parts.head("safe").start_from([0.0, 1.0, 1.0])
    model.parts.head("style").start_from([1.0, 2.0, 2.0, 3.0])
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in model.parts.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) / (GAIN if parameter.dim() < 2 else 1))
    return model


@torch.no_grad()
def test_a_gated_score_is_a_mean_with_weights_by_the_prompt(groups: TokenGroups, chat_tokenizer: Any) -> None:
    """Weights are not negative, add up to 1 and depend on the prompt's last state alone, by hand."""
    model = trained(chat_tokenizer, gate=True)
    assert model.parts is not None
    gate = model.parts.gate
    assert gate is not None
    outputs = model.outputs(groups)
    named = torch.stack(list(outputs.named.values()), dim=-1)  # [N, 3]
    for row, group in enumerate(groups.group.tolist()):
        states = model.trunk(groups.prompts[group][None]).last_hidden_state[0, -1]
        weights = gate.weights(states)
        assert weights.min() > 0
        assert weights.sum().item() == pytest.approx(1.0)
        expected = torch.exp(GAIN * gate.log_factor) * (weights * named[row]).sum()
        torch.testing.assert_close(outputs.score[row], expected, atol=1e-4, rtol=1e-4)


def test_a_gate_learns_from_the_score_and_the_heads_do_not(groups: TokenGroups, chat_tokenizer: Any) -> None:
    model = trained(chat_tokenizer, gate=True)
    assert model.parts is not None
    model.network.requires_grad_(True)
    model.outputs(groups).score.sum().backward()  # type: ignore[no-untyped-call]
    learned = {name for name, p in model.network.named_parameters() if p.grad is not None and p.grad.abs().sum()}
    assert learned == {f"score_parts.gate.{name}" for name in ("out.weight", "out.bias", "log_factor")}


@pytest.mark.parametrize("gate", [False, True])
@torch.no_grad()
def test_named_scores_are_saved_and_asked_for_by_name(
    tmp_path: Path, groups: TokenGroups, chat_tokenizer: Any, gate: bool
) -> None:
    model, folder = trained(chat_tokenizer, gate=gate), str(tmp_path / "judge")
    model.center(0.25)
    named, own = model.scores_by_name(groups), model.scores(groups)
    assert list(named) == ["rating", "help", "safe", "style"]
    torch.testing.assert_close(named["rating"], 3.0 + 0.5 * (own + 0.25))
    assert ((named["safe"] > 0) & (named["safe"] < 1)).all()
    assert ((named["style"] > 1) & (named["style"] < 3)).all()
    save_model(model, tmp_path / "judge")
    for name, values in named.items():
        torch.testing.assert_close(open_reward_model(f"{folder}#{name}", CPU).scores(groups), values)
    again = open_reward_model(folder, CPU)
    torch.testing.assert_close(again.scores(groups), own)
    torch.testing.assert_close(again.score_table(groups), torch.stack([own, *named.values()]))
    save_model(again, tmp_path / "twice")
    torch.testing.assert_close(open_reward_model(str(tmp_path / "twice"), CPU).scores(groups), own)
    with pytest.raises(ModelError, match=r"no head 'tone'; give one as .*#HEAD, of: 'rating', 'help'"):
        open_reward_model(f"{folder}#tone", CPU)


def test_a_model_of_named_scores_alone_has_no_score_of_its_own(tmp_path: Path, chat_tokenizer: Any) -> None:
    save_model(trained(chat_tokenizer, overall=False), tmp_path / "judge")
    with pytest.raises(ModelError, match=r"has no score of its own; give one of help, safe, style by name"):
        open_reward_model(str(tmp_path / "judge"), CPU)
    assert open_reward_model(f"{tmp_path / 'judge'}#help", CPU).score_names == ["help", "safe", "style"]


def test_scores_of_a_reward_have_the_named_ones_among_their_parts(tmp_path: Path, chat_tokenizer: Any) -> None:
    save_model(trained(chat_tokenizer), tmp_path / "judge")
    prompt = Prompt("p", (Message("user", "Hi"),))
    answers = [Completion("a", "Yes."), Completion("b", "x" * 4000), Completion("c", "No!")]
    reward = LearnedReward(open_reward_model(str(tmp_path / "judge"), CPU), "judge")
    scores = reward.score([prompt] * 3, answers)
    assert list(scores.parts) == ["judge", "judge#rating", "judge#help", "judge#safe", "judge#style"]
    one = LearnedReward(open_reward_model(f"{tmp_path / 'judge'}#help", CPU), "judge#help")
    alone = one.score([prompt] * 3, answers)
    assert list(alone.parts) == ["judge#help"]
    torch.testing.assert_close(alone.values, scores.parts["judge#help"], equal_nan=True)
    assert scores.values.isfinite().tolist() == [True, False, True]  # the second is longer than the context


def test_parts_are_added_to_those_that_a_model_has(chat_tokenizer: Any) -> None:
    model = trained(chat_tokenizer)
    assert model.parts is not None
    before = model.parts.head("help").out.weight.detach().clone()
    tone = {"tone": NamedScore()}
    add_parts(model.network, PartSettings(scores=tone, gate=True, tie="davidson"), "judge")
    assert (model.parts.names, model.parts.fresh) == ([*SCORES, "tone"], {*SCORES, "tone"})
    assert torch.equal(model.parts.head("help").out.weight, before)
    with pytest.raises(ModelError, match="score 'help' with the squared loss from 0 to 4, not the logistic loss"):
        add_parts(model.network, PartSettings(scores={"help": NamedScore(loss="logistic")}), "judge")
    with pytest.raises(ModelError, match="a gate weighs named scores, and model 'tiny' has none"):
        with_parts(PartSettings(gate=True))
