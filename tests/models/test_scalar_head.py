"""Scalar heads: pooling over completions only, and the same scores after saving."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file
from tiny import CPU, gradients, ragged_groups, tiny_network, tiny_reward_model
from torch import Tensor
from transformers import AutoModel, AutoModelForSequenceClassification

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.loading import load_critic, load_reward_model, save_model
from gnomon.models.roles import RewardModel
from gnomon.models.scalar_head import HEAD_FILE, ScalarHead, new_head
from gnomon.models.settings import FROZEN, HeadSettings, Trainable

POOLINGS = get_args(HeadSettings.model_fields["pooling"].annotation)
SHAPES = [HeadSettings(head=h, pooling=p) for h in ("linear", "mlp") for p in POOLINGS]
WIDTH = 32


def judge(settings: HeadSettings, trainable: Trainable = FROZEN, **network: Any) -> RewardModel:
    """A tiny reward model with a head of this shape whose weights, attention's too, are of some size."""
    model = tiny_reward_model(trainable=trainable, **network)
    model.network.score = new_head(WIDTH, settings, seed=3)
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in model.network.score.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


def scores_alone(model: RewardModel, groups: TokenGroups) -> Tensor:
    """The definition: transformers' trunk on one sequence without padding, pooled by hand."""
    head, result = model.network.score, []
    for g, completion in zip(groups.group.tolist(), groups.completions, strict=True):
        ids = torch.cat([groups.prompts[g], completion])
        states = model.trunk(ids[None]).last_hidden_state[0, -len(completion) :]  # [T, d]
        settings = head.settings if isinstance(head, ScalarHead) else HeadSettings()
        if settings.pooling == "attention":
            weights = (states @ head.query.weight[0] / math.sqrt(WIDTH)).softmax(0)
        pooled = {
            "last": lambda s: s[-1],
            "first": lambda s: s[0],
            "mean": lambda s: s.mean(0),
            "max": lambda s: s.max(0).values,
            "attention": lambda s: weights @ s,  # noqa: B023 - called before the next round
        }[settings.pooling](states)
        if settings.head == "mlp":
            pooled = torch.tanh(head.hidden.weight @ pooled + head.hidden.bias)
        result.append((head.out if isinstance(head, ScalarHead) else head).weight[0] @ pooled)
    return torch.stack(result)


@pytest.mark.parametrize("layout", ["packed", "plain"])
@pytest.mark.parametrize("settings", SHAPES, ids=str)
def test_scores_are_those_of_each_sequence_alone(
    settings: HeadSettings, layout: Any, groups: TokenGroups
) -> None:
    model = judge(settings)
    model.layout = layout
    with torch.no_grad():
        result = model.scores(groups)
        torch.testing.assert_close(result, scores_alone(model, groups), atol=1e-5, rtol=1e-5)
        for rows in ([2], [5, 1], [4, 3, 2, 1, 0, 5]):
            torch.testing.assert_close(model.scores(groups.select(rows)), result[rows], atol=1e-5, rtol=1e-5)
    assert result.std() > 0.01


@pytest.mark.parametrize("settings", SHAPES, ids=str)
def test_gradients_are_those_of_each_sequence_alone(settings: HeadSettings, groups: TokenGroups) -> None:
    weights = torch.randn(6, generator=torch.Generator().manual_seed(1))
    result = []
    for layout in ("packed", "plain", None):
        model = judge(settings)
        model.network.requires_grad_(True)
        model.layout = layout or "auto"
        scores = model.scores(groups) if layout else scores_alone(model, groups)
        result.append(gradients(model, (scores * weights).sum()))
    packed, plain, alone = result
    assert all(g.abs().max() > 1e-6 for n, g in alone.items() if n.startswith("score."))
    for name, gradient in alone.items():
        torch.testing.assert_close(packed[name], gradient, atol=3e-5, rtol=1e-4, msg=name)
        torch.testing.assert_close(plain[name], gradient, atol=3e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_mask_takes_no_token_out_of_a_score(pooling: Any) -> None:
    """A mask marks the tokens that a policy chose, not those that a judge reads."""
    model = judge(HeadSettings(head="mlp", pooling=pooling))
    with torch.no_grad():
        assert torch.equal(model.scores(ragged_groups(masked=True)), model.scores(ragged_groups()))


def test_poolings_by_hand() -> None:
    """Two completions, of two tokens and of one; zeros as padding would win the max and halve the mean."""
    states = torch.tensor([[1.0, -4.0], [3.0, -2.0], [-5.0, -6.0]])
    lengths = torch.tensor([2, 1])
    expected = {
        "last": [[3.0, -2.0], [-5.0, -6.0]],
        "first": [[1.0, -4.0], [-5.0, -6.0]],
        "mean": [[2.0, -3.0], [-5.0, -6.0]],
        "max": [[3.0, -2.0], [-5.0, -6.0]],
    }
    for pooling, wanted in expected.items():
        head = ScalarHead(2, HeadSettings(pooling=pooling))
        assert head.pool(states, lengths).tolist() == wanted
    attention = ScalarHead(2, HeadSettings(pooling="attention"))
    attention.start(0)
    assert attention.pool(states, lengths).tolist() == expected["mean"]
    assert attention.query is not None
    with torch.no_grad():
        attention.query.weight.copy_(torch.tensor([[math.sqrt(2) * math.log(3) / 2, 0.0]]))  # weights 1:3
    torch.testing.assert_close(attention.pool(states, lengths), torch.tensor([[2.5, -2.5], [-5.0, -6.0]]))


@pytest.fixture
def language_model(tmp_path: Path, chat_tokenizer: Any) -> str:
    folder = tmp_path / "language-model"
    tiny_network(vocab=len(chat_tokenizer), layers=3).save_pretrained(folder)
    chat_tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    "settings", [s for s in SHAPES if not s.plain] + [HeadSettings(head="mlp", hidden=7)], ids=str
)
def test_a_saved_head_gives_the_same_scores(
    settings: HeadSettings, tmp_path: Path, language_model: str, groups: TokenGroups
) -> None:
    model = load_reward_model(
        language_model, CPU, Trainable(layers=1, rank=4), seed=3, num_layers=2, head=settings
    )
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.center(0.5)
        scores = model.scores(groups)
        save_model(model, tmp_path / "judge")
        torch.testing.assert_close(model.scores(groups), scores, atol=1e-4, rtol=0)  # of use after it is saved
        again = load_reward_model(str(tmp_path / "judge"), CPU, seed=99)
        torch.testing.assert_close(again.scores(groups), scores, atol=1e-4, rtol=0)
        save_model(again, tmp_path / "copy")
        twice = load_reward_model(str(tmp_path / "copy"), CPU, seed=99, head=settings)
        torch.testing.assert_close(twice.scores(groups), scores, atol=1e-4, rtol=0)
    assert settings.hidden is None or again.network.score.out.in_features == 7


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_transformers_finds_the_trunk_and_no_score(
    tmp_path: Path, language_model: str, groups: TokenGroups
) -> None:
    model = load_reward_model(language_model, CPU, seed=3, head=HeadSettings(pooling="mean"))
    save_model(model, tmp_path / "judge")
    trunk = AutoModel.from_pretrained(tmp_path / "judge").eval()
    ids = torch.cat([groups.prompts[0], groups.completions[0]])[None]
    with torch.no_grad():
        expected = model.trunk(ids).last_hidden_state
        torch.testing.assert_close(trunk(ids).last_hidden_state, expected, atol=1e-5, rtol=0)
        config = json.loads((tmp_path / "judge" / "config.json").read_text())
        assert config["architectures"] == ["LlamaModel"]
        network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "judge", pad_token_id=0)
        assert network(ids).logits.shape == (1, 0)


def test_the_default_head_is_transformers_own(tmp_path: Path, language_model: str) -> None:
    save_model(load_reward_model(language_model, CPU, seed=3), tmp_path / "judge")
    assert "score.weight" in load_file(tmp_path / "judge" / "model.safetensors")
    assert not (tmp_path / "judge" / HEAD_FILE).exists()
    assert "reward_head" not in (tmp_path / "judge" / "config.json").read_text()


def test_another_head_than_the_saved_one_is_refused(tmp_path: Path, language_model: str) -> None:
    for number, settings in enumerate((HeadSettings(), HeadSettings(pooling="max"))):
        folder = tmp_path / f"judge{number}"
        save_model(load_reward_model(language_model, CPU, seed=3, head=settings), folder)
        with pytest.raises(ModelError, match=rf"has a head of its own \({settings}\), not mlp on last"):
            load_reward_model(str(folder), CPU, seed=3, head=HeadSettings(head="mlp"))


def test_a_head_that_does_not_fit_is_refused(tmp_path: Path, language_model: str) -> None:
    folder = tmp_path / "judge"
    save_model(load_reward_model(language_model, CPU, seed=3, head=HeadSettings(head="mlp")), folder)
    config = json.loads((folder / "config.json").read_text())
    config["reward_head"]["hidden"] = 5
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not fit the reward_head"):
        load_reward_model(str(folder), CPU, seed=3)
    (folder / HEAD_FILE).unlink()
    with pytest.raises(ModelError, match=HEAD_FILE):
        load_reward_model(str(folder), CPU, seed=3)


def test_a_critic_may_have_a_hidden_layer(tmp_path: Path, language_model: str, groups: TokenGroups) -> None:
    """Zero at first, whatever head the trunk had before; it learns; pooling is refused."""
    save_model(
        load_reward_model(language_model, CPU, seed=3, head=HeadSettings(pooling="attention")), tmp_path / "judge"
    )
    for source in (language_model, str(tmp_path / "judge")):
        critic = load_critic(source, CPU, FROZEN, seed=0, head=HeadSettings(head="mlp", hidden=5))
        values = critic.predict(groups).values
        assert values.shape == (6, 6)
        assert values.eq(0).all()
        result = gradients(critic, values.sum())
        assert set(result) == {"score.hidden.weight", "score.hidden.bias", "score.out.weight"}
        assert result["score.out.weight"].abs().max() > 0
    with pytest.raises(ModelError, match="max pooling"):
        load_critic(language_model, CPU, FROZEN, seed=0, head=HeadSettings(pooling="max"))
