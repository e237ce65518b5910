"""Judgements of several kinds in one step: numbers by hand, and micro-batches that add up to the batch."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import tiny_reward_model
from torch import Tensor

from gnomon.algorithms.reward_model import RewardModeling
from gnomon.core.batches import StepTotals
from gnomon.data.batching import collate_judgements, judged_of, totals_of
from gnomon.data.encoding import OVERALL, Example, PairIndices, RankedIndices, ScoreIndices
from gnomon.losses.scores import (
    cumulative_logit_loss,
    expected_level,
    level_logprobs,
    logistic_loss,
    squared_loss,
)
from gnomon.models.score_parts.files import add_parts
from gnomon.models.score_parts.heads import GAIN, NamedHead
from gnomon.models.score_parts.settings import NamedScore, PartSettings, RatingScale
from gnomon.models.settings import Trainable
from gnomon.training.runtime.model_bundle import TrainedModels

HEADS = {
    "help": NamedScore(scale=(0, 4)),
    "safe": NamedScore(loss="logistic", weight=2.0),
    "style": NamedScore(loss="ordinal", scale=(1, 3), weight=0.5),
}
PAIR = PairIndices(0, 1, 0.75, 0.0, 2.0)
EXAMPLES = [
    Example("p", (1, 2), ((3,), (4, 5)), pairs=(PAIR,)),
    Example("q", (6,), ((7, 8), (1,), (2,)), rankings=(RankedIndices((2, 0, 1), 1.0),)),
    Example("r", (9,), ((5,),), scores=(ScoreIndices(0, OVERALL, 4.0), ScoreIndices(0, "help", 3.0, 2.0))),
    Example("s", (3,), ((6, 6),), scores=(ScoreIndices(0, "safe", 1.0), ScoreIndices(0, "style", 1.5))),
    Example("t", (3, 4), ((7,), (8,)), pairs=(replace(PAIR, tie=0.5),)),
]


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_losses_of_scores_by_hand() -> None:
    assert squared_loss(tensor(1.0), tensor(-0.5)).item() == pytest.approx(0.5 * 1.5**2)
    # ¼ of the scale: −¼·log σ(1) − ¾·log σ(−1)
    assert logistic_loss(tensor(1.0), tensor(0.25)).item() == pytest.approx(0.25 * 0.313262 + 0.75 * 1.313262)
    # x = 0, thresholds −1 and 1: P = σ(−1), σ(1) − σ(−1), σ(−1) = 0.268941, 0.462117, 0.268941
    thresholds = tensor(-1.0, 1.0)
    chances = level_logprobs(tensor(0.0), thresholds).exp()
    assert chances[0].tolist() == pytest.approx([0.268941, 0.462117, 0.268941], abs=1e-6)
    x = tensor(0.0)
    assert cumulative_logit_loss(x, tensor(1.0), thresholds).item() == pytest.approx(0.771937, abs=1e-5)
    between = 0.5 * (-math.log(0.462117) - math.log(0.268941))
    assert cumulative_logit_loss(x, tensor(1.5), thresholds).item() == pytest.approx(between, abs=1e-5)
    assert expected_level(tensor(0.0), thresholds).item() == pytest.approx(1.0)


def test_probabilities_of_levels_add_up_to_one_far_out() -> None:
    chances = level_logprobs(tensor(-40.0, 0.3, 40.0), tensor(-2.0, 0.1, 0.2, 3.0))
    assert torch.isfinite(chances).all()
    assert torch.allclose(chances.exp().sum(-1), torch.ones(3, dtype=torch.float64))


def test_gradients_of_score_losses_are_those_of_finite_differences() -> None:
    x = torch.tensor([-1.0, 0.4, 2.0], dtype=torch.float64, requires_grad=True)
    thresholds = torch.tensor([-0.7, 0.2, 1.5], dtype=torch.float64, requires_grad=True)
    levels = tensor(0.0, 2.5, 3.0)
    assert torch.autograd.gradcheck(lambda a, b: cumulative_logit_loss(a, levels, b), (x, thresholds))
    shares = tensor(0.0, 0.3, 1.0)
    assert torch.autograd.gradcheck(lambda a: logistic_loss(a, shares), (x,))
    assert torch.autograd.gradcheck(lambda a: squared_loss(a, shares), (x,))


def test_a_head_starts_at_the_data() -> None:
    """Squared: the mean; logistic: the mean share; ordinal: the share of each level, ½ added to each."""
    state = torch.ones(1, 4)
    squared, logistic, ordinal = (NamedHead(4, HEADS[name]) for name in ("help", "safe", "style"))
    squared.start_from([1.0, 3.0, 3.0, 1.0])
    assert (squared.center.item(), squared.deviation.item()) == (2.0, 1.0)
    logistic.start_from([0.0, 1.0, 1.0, 1.0])
    assert logistic.on_scale(logistic(state)).item() == pytest.approx(0.75)
    ordinal.start_from([1.0, 1.0, 2.0, 3.0])
    levels = level_logprobs(ordinal(state), ordinal.thresholds()).exp()[0]
    assert levels.tolist() == pytest.approx([2.5 / 5.5, 1.5 / 5.5, 1.5 / 5.5], abs=1e-5)
    assert ordinal.on_scale(ordinal(state)).item() == pytest.approx(1 + 1.5 / 5.5 + 2 * 1.5 / 5.5, abs=1e-5)
    with torch.no_grad():
        ordinal.moved.fill_(-9 / GAIN)
    assert (ordinal.thresholds().diff() > 0).all()


def judge(**more: Any) -> TrainedModels:
    model = tiny_reward_model(trainable=Trainable(rank=2))
    add_parts(model.network, PartSettings(scores=HEADS, **more), "tiny")
    assert model.parts is not None
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parts.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) / (GAIN if parameter.dim() < 2 else 1))
    for name, values in {"help": [1.0, 3.0], "safe": [0.0, 1.0], "style": [1.0, 2.0, 3.0]}.items():
        model.parts.head(name).start_from(values)
    rating = RatingScale(mean=3.0, deviation=0.5)
    model.parts.settings = model.parts.settings.model_copy(update={"rating": rating})
    return TrainedModels(model)


def test_a_step_is_the_sum_over_its_judgements() -> None:
    """Two pairs, a ranking and two scored completions: five judgements, each with its own loss and weight."""
    models = judge()
    algorithm = RewardModeling(
        scores=HEADS, center_rewards_coef=0.0, pair_weight=3.0, ranking_weight=0.25, rating_weight=0.5
    )
    with torch.no_grad():
        loss, metrics = algorithm.loss(models, collate_judgements(EXAMPLES, totals_of(EXAMPLES)))
        out = models.reward.outputs(collate_judgements(EXAMPLES, totals_of(EXAMPLES)).tokens)
    s, named = out.score.double(), {name: value.double() for name, value in out.named.items()}
    soft = torch.nn.functional.softplus
    of_pair = (2.0 * (0.75 * soft(s[b] - s[a]) + 0.25 * soft(s[a] - s[b])) for a, b in ((0, 1), (7, 8)))
    pairs = sum(of_pair, torch.tensor(0.0))
    order = [4, 2, 3]
    ranking = sum((torch.logsumexp(s[order[k:]], 0) - s[order[k]] for k in range(3)), torch.tensor(0.0))
    rating = 0.5 * (s[5] - (4.0 - 3.0) / 0.5) ** 2
    helpful = 2.0 * 0.5 * (named["help"][5] - (3.0 - 2.0) / 1.0) ** 2
    safe = soft(-named["safe"][6])
    assert models.reward.parts is not None
    thresholds = models.reward.parts.head("style").thresholds().detach().double()
    style = cumulative_logit_loss(named["style"][6:7], tensor(0.5), thresholds)[0]
    total = 3.0 * pairs + 0.25 * ranking + 0.5 * rating + helpful + 2.0 * safe + 0.5 * style
    assert loss.item() == pytest.approx(total.item() / 5, rel=1e-5)
    assert metrics["loss_rankings"].item() == pytest.approx(ranking.item(), rel=1e-5)
    assert metrics["error_rating"].item() == pytest.approx(abs(3.0 + 0.5 * s[5].item() - 4.0), rel=1e-4)
    assert metrics["error_help"].item() == pytest.approx(abs(2.0 + named["help"][5].item() - 3.0), rel=1e-4)


@pytest.mark.parametrize(
    "settings", [{}, {"per_prompt": True, "pair_loss": "davidson"}, {"gate": True, "center_rewards_coef": 0.0}]
)
def test_micro_batches_add_up(settings: dict[str, Any]) -> None:
    """Loss, metrics and gradient of the whole are the sums of those of its parts, however it is cut."""
    algorithm = RewardModeling(scores=HEADS, **settings)
    models = judge(gate=algorithm.gate, tie="davidson")
    totals = totals_of(EXAMPLES)

    def gradient(cuts: list[list[Example]]) -> tuple[dict[str, float], list[Tensor]]:
        models.reward.network.zero_grad()
        sums: dict[str, float] = {}
        for part in cuts:
            loss, metrics = algorithm.loss(models, collate_judgements(part, totals))
            loss.backward()  # type: ignore[no-untyped-call]
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums, [p.grad.clone() for p in models.reward.network.parameters() if p.grad is not None]

    whole, cut = gradient([EXAMPLES]), gradient([EXAMPLES[:1], EXAMPLES[1:3], [EXAMPLES[4]], [EXAMPLES[3]]])
    assert whole[0] == pytest.approx(cut[0], rel=1e-4, abs=1e-6)
    assert len(whole[1]) == len(cut[1])
    for a, b in zip(whole[1], cut[1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)


def test_a_name_that_no_head_learns_and_a_score_that_is_missing_add_nothing() -> None:
    models, algorithm = judge(), RewardModeling(scores={"help": HEADS["help"]})
    with_more = collate_judgements(EXAMPLES[2:4], totals_of(EXAMPLES[2:4]))
    loss, metrics = algorithm.loss(models, with_more)
    assert {name for name in metrics if name.startswith("loss_")} == {"loss_rating", "loss_help"}
    loss.backward()  # type: ignore[no-untyped-call]
    loss, metrics = algorithm.loss(models, collate_judgements(EXAMPLES[3:4], totals_of(EXAMPLES[3:4])))
    loss.backward()  # type: ignore[no-untyped-call]
    assert (loss.item(), set(metrics)) == (0.0, {"loss"})


def test_what_is_counted() -> None:
    assert judged_of(EXAMPLES) == {
        "pairs": 2,
        "paired_examples": 2,
        "rankings": 1,
        "scored": 2,
        **{f"score {name}": 1 for name in (OVERALL, "help", "safe", "style")},
    }


def test_pairs_alone_give_what_they_gave_as_preferences() -> None:
    """A batch of `Judgements` with pairs alone is a batch of preferences, but that totals name the pairs."""
    pairs = [EXAMPLES[0], EXAMPLES[4]]
    batch = collate_judgements(pairs, totals_of(pairs))
    assert batch.pairs is not None
    models: Any = SimpleNamespace(reward=judge().reward)
    algorithm = RewardModeling()
    bare = replace(batch.pairs, totals=StepTotals(2, 6, examples=2))
    assert algorithm.loss(models, batch)[0].item() == pytest.approx(algorithm.loss(models, bare)[0].item())
