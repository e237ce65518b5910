"""Training of an ensemble: the bootstrap, the joint loss beside its plain twin, each member's best weights."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from loops import LORA, examples_for
from tiny import ragged_groups, tiny_reward_model

from gnomon.algorithms.reward_model import RewardModeling
from gnomon.core.errors import ConfigError
from gnomon.core.progress import StopSignal
from gnomon.data.batching import COLLATE, collate_judgements, totals_of
from gnomon.data.encoding import Example, PairIndices, RankedIndices, ScoreIndices
from gnomon.models.reward_ensemble import RewardEnsemble, head_ensemble
from gnomon.models.roles import RewardModel
from gnomon.models.settings import PLAIN_HEAD, Combination, HeadSettings, Trainable
from gnomon.training.offline.best_members import BestMembers
from gnomon.training.offline.bootstrap import (
    KEPT,
    MemberLoss,
    MembersLoss,
    bootstrap_weights,
    member_seed,
    poisson_weight,
    weighted,
)
from gnomon.training.offline.loop import OfflineLoop
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import OfflineSettings, Validation

HEADS = Trainable(adapter="none", layers=0)


def ensemble(trainable: Trainable = LORA, head: HeadSettings = PLAIN_HEAD, count: int = 3) -> RewardEnsemble:
    model = tiny_reward_model(trainable=trainable)
    model.network.score.requires_grad_(True)
    return head_ensemble(model, head, [member_seed(0, n) for n in range(count)], Combination())


def preferences() -> Any:
    examples = examples_for(RewardModeling())
    return COLLATE[RewardModeling.consumes](examples, totals_of(examples))


def test_weights_of_the_bootstrap_are_poisson_of_rate_1() -> None:
    """Shares 1/e, 1/e, 1/2e, 1/6e of 20,000 draws, ± 5 standard errors (below 0.0035 each)."""
    draws = Counter(poisson_weight(7, member, f"prompt {n}") for n in range(4_000) for member in range(5))
    for count, share in enumerate((1, 1, 1 / 2, 1 / 6)):
        assert draws[count] / 20_000 == pytest.approx(share / math.e, abs=0.0175)
    assert pytest.approx(1 - 1 / math.e) == KEPT


def test_a_weight_depends_on_seed_member_and_prompt_alone() -> None:
    batch = preferences()
    weights = [bootstrap_weights(batch, 3, member) for member in range(8)]
    assert len({tuple(w.tolist()) for w in weights}) > 4
    for w in weights:  # all pairs of a prompt have one weight
        for group in range(len(batch.tokens.prompts)):
            of_group = w[batch.tokens.group[batch.chosen] == group]
            assert len(set(of_group.tolist())) <= 1
    torch.testing.assert_close(bootstrap_weights(preferences(), 3, 2), weights[2])
    fewer = examples_for(RewardModeling())[5:]  # weights depend neither on the order nor on the other prompts
    own = COLLATE[RewardModeling.consumes](fewer, totals_of(fewer))
    torch.testing.assert_close(bootstrap_weights(own, 3, 2), weights[2][-len(own.chosen) :])
    assert any(not torch.equal(bootstrap_weights(batch, 4, n), w) for n, w in enumerate(weights))


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_heads_on_one_pass_score_as_each_would_alone(pooling: Any) -> None:
    model, groups = ensemble(head=HeadSettings(pooling=pooling, head="mlp")), ragged_groups()
    together = model.member_scores(groups)
    assert together.std(dim=0).min() > 0
    for member, head in enumerate(model.network.score.heads):
        alone = RewardModel(tiny_reward_model().network, None, model.compute)
        alone.network.score = head
        torch.testing.assert_close(alone.scores(groups), together[member])


def test_the_joint_loss_is_the_mean_of_the_members_own() -> None:
    """Beside the plain twin: each member's scores through the algorithm, on its own weights."""
    model, batch, algorithm = ensemble(), preferences(), RewardModeling()
    loss, metrics = MembersLoss(algorithm, 5).loss(TrainedModels(model), batch)
    scores = model.member_scores(batch.tokens)
    own = []
    for member, row in enumerate(scores):
        weight = batch.weight * bootstrap_weights(batch, 5, member)
        margin = row[batch.chosen] - row[batch.rejected]
        p = batch.probability
        pairs = -p * margin.sigmoid().log() - (1 - p) * (-margin).sigmoid().log()
        pairs = pairs + algorithm.center_rewards_coef * (row[batch.chosen] + row[batch.rejected]).square()
        own.append((weight * pairs).sum() / batch.totals.rows)
        torch.testing.assert_close(metrics[f"member_{member}_loss"], own[-1].detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(loss, torch.stack(own).mean(), atol=1e-5, rtol=0)
    assert len({round(one.item(), 5) for one in own}) == 3
    gradient = torch.autograd.grad(loss, list(model.network.score.parameters()))
    assert all(g.abs().sum() > 0 for g in gradient)


def test_validation_counts_each_prompt_once() -> None:
    model, batch = ensemble(), preferences()
    with torch.no_grad():
        bagged, _ = MembersLoss(RewardModeling(), 5).loss(TrainedModels(model), batch)
        plain, _ = MembersLoss(RewardModeling(), None).loss(TrainedModels(model), batch)
        alone, _ = MemberLoss(RewardModeling(), 5, 0).loss(TrainedModels(model), batch)
        single, _ = RewardModeling().loss(TrainedModels(model), batch)
    torch.testing.assert_close(bagged, plain)
    torch.testing.assert_close(alone, single)


def test_a_member_alone_has_its_weights_divided_by_their_mean() -> None:
    model, batch = ensemble(), preferences()
    loss, _ = MemberLoss(RewardModeling(), 5, 1).loss(TrainedModels(model), batch)
    weight = KEPT * batch.weight * bootstrap_weights(batch, 5, 1)
    expected, _ = RewardModeling().loss(TrainedModels(model), replace(batch, weight=weight))
    torch.testing.assert_close(loss, expected)


def test_each_member_keeps_its_own_best_weights() -> None:
    """Member 0 is best at the first evaluation, member 1 at the second; patience counts for each."""
    live = {f"score.heads.{n}.out.weight": torch.nn.Parameter(torch.zeros(1)) for n in (0, 1)}
    best = BestMembers(Validation(patience=2), live, 2)

    def evaluate(step: float, *losses: float) -> None:
        for parameter in live.values():
            parameter.data.fill_(step)
        best.update({"loss": 0.0, **{f"member_{n}_loss": loss for n, loss in enumerate(losses)}})

    evaluate(1, 0.3, 0.9)
    evaluate(2, 0.4, 0.5)
    evaluate(3, 0.5, math.nan)
    assert not best.exhausted  # member 1 has waited once
    evaluate(4, 0.5, 0.6)
    assert best.exhausted
    again = BestMembers(Validation(patience=2), live, 2)
    again.restore(best.state(), dict(best.weights or {}))
    for one in (best, again):
        for parameter in live.values():
            parameter.data.fill_(9)
        one.restore_weights()
        assert [float(p.detach()) for p in live.values()] == [1, 2]
    with pytest.raises(ConfigError, match="it is loss or accuracy"):
        BestMembers(Validation(metric="reward_margin"), live, 2).update({"reward_margin": 1.0})


@pytest.mark.parametrize(("trainable", "kind"), [(HEADS, BestMembers), (LORA, None)])
def test_members_whose_trunk_learns_have_one_best_step(tmp_path: Path, trainable: Any, kind: Any) -> None:
    """A head of one step does not fit the trunk of another."""
    settings = OfflineSettings(
        epochs=6, batch_size=4, learning_rate=0.05, validation=Validation(share=0.3, every=2)
    )
    model = ensemble(trainable)
    loop = OfflineLoop(
        algorithm=cast(Any, MembersLoss(RewardModeling(), 0)),
        models=TrainedModels(model),
        examples=examples_for(RewardModeling()),
        settings=settings,
        folder=tmp_path,
        seed=0,
        stop=StopSignal(),
        label="judge",
    )
    assert isinstance(loop.best, BestMembers) == (kind is BestMembers)
    metrics = loop.run()
    assert {"member_0_loss", "member_2_accuracy", "validation_member_1_loss"} <= metrics.keys()
    if kind is BestMembers:
        final = loop.evaluate()
        for member, value in enumerate(loop.best.values):  # type: ignore[attr-defined]
            assert final[f"member_{member}_loss"] == pytest.approx(value, abs=1e-6)


def test_the_bootstrap_weighs_judgements_of_every_kind_by_their_prompt() -> None:
    examples = [
        Example("p", (1,), ((2,), (3,)), pairs=(PairIndices(0, 1, 1.0, 0.0, 2.0),)),
        Example("q", (4, 5), ((6,), (7,)), rankings=(RankedIndices((1, 0), 1.0),)),
        Example("r", (8,), ((9,),), scores=(ScoreIndices(0, "help", 3.0, 0.5),)),
    ]
    batch = collate_judgements(examples, totals_of(examples))
    for member in range(4):
        own = weighted(batch, 5, member, scale=3.0)
        draws = [3.0 * poisson_weight(5, member, example.prompt_id) for example in examples]
        assert own.pairs.weight.tolist() == [2.0 * draws[0]]
        assert own.rankings.weight.tolist() == [draws[1]]
        assert own.scores["help"].weight.tolist() == [0.5 * draws[2]]
    with torch.no_grad():
        assert weighted(batch, 5, 0) is batch
