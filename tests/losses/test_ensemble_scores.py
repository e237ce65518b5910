"""Combination and uncertainty of an ensemble's scores, against numbers derived by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gnomon.losses.ensembles import (
    gated_score,
    mean_score,
    median_score,
    minimum_score,
    penalized_score,
    preference_entropy,
    score_std,
    trimmed_mean_score,
    variance_ratio,
    weighted_score,
)

# Four members, two rows. Row 0: mean 3, deviations −2, −1, 1, 2, variance 10/4. Row 1: all 5.
SCORES = torch.tensor([[1.0, 5.0], [5.0, 5.0], [2.0, 5.0], [4.0, 5.0]])


def test_the_rules_by_hand() -> None:
    torch.testing.assert_close(mean_score(SCORES), torch.tensor([3.0, 5.0]))
    torch.testing.assert_close(median_score(SCORES), torch.tensor([3.0, 5.0]))  # (2 + 4) / 2
    torch.testing.assert_close(median_score(SCORES[:3]), torch.tensor([2.0, 5.0]))
    torch.testing.assert_close(trimmed_mean_score(SCORES, 0.25), torch.tensor([3.0, 5.0]))  # of 2 and 4
    torch.testing.assert_close(minimum_score(SCORES), torch.tensor([1.0, 5.0]))
    torch.testing.assert_close(score_std(SCORES), torch.tensor([math.sqrt(2.5), 0.0]))
    torch.testing.assert_close(penalized_score(SCORES, 2.0), torch.tensor([3 - 2 * math.sqrt(2.5), 5.0]))
    weights = torch.tensor([0.5, 0.25, 0.0, 1.0])  # 0.5 + 1.25 + 4
    torch.testing.assert_close(weighted_score(SCORES, weights), torch.tensor([5.75, 8.75]))


def test_a_trimmed_mean_cuts_both_ends() -> None:
    scores = torch.tensor([[100.0], [1.0], [2.0], [3.0], [-50.0]])
    torch.testing.assert_close(trimmed_mean_score(scores, 0.2), torch.tensor([2.0]))
    torch.testing.assert_close(trimmed_mean_score(scores, 0.19), torch.tensor([56 / 5]))  # cuts nobody
    torch.testing.assert_close(trimmed_mean_score(scores, 0.0), scores.mean(0))


def test_a_gate_by_hand() -> None:
    """With A = 0 and b = (log 3, 0) the gate is (¾, ¼); with A = log 2 · I and s = (1, 0) it is (⅔, ⅓)."""
    scores = torch.tensor([[1.0, 4.0], [0.0, 8.0]])
    bias = torch.tensor([math.log(3.0), 0.0])
    torch.testing.assert_close(gated_score(scores, torch.zeros(2, 2), bias), torch.tensor([0.75, 5.0]))
    gate = gated_score(scores[:, :1], math.log(2.0) * torch.eye(2), torch.zeros(2))
    torch.testing.assert_close(gate, torch.tensor([2 / 3]))


@pytest.mark.parametrize(
    "rule",
    [
        mean_score,
        median_score,
        minimum_score,
        lambda s: trimmed_mean_score(s, 0.25),
        lambda s: penalized_score(s, 1.0),
        lambda s: weighted_score(s, torch.tensor([1.0, 0.0, 1.0, 1.0])),
        lambda s: gated_score(s, torch.zeros(4, 4), torch.zeros(4)),
        score_std,
    ],
)
def test_a_row_without_a_members_score_has_none(rule: Callable[[Tensor], Tensor]) -> None:
    """Member 1 has no score for row 0: neither sorting nor a weight of 0 may hide that."""
    scores = SCORES.clone()
    scores[1, 0] = math.nan
    assert rule(scores).isnan().tolist() == [True, False]


def test_every_rule_keeps_scores_on_which_all_agree_and_ignores_the_members_order() -> None:
    scores = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    rules: list[Callable[[Tensor], Tensor]] = [mean_score, median_score, minimum_score]
    rules += [lambda s: trimmed_mean_score(s, 0.2), lambda s: penalized_score(s, 1.5)]
    for rule in rules:
        torch.testing.assert_close(rule(scores[:1].repeat(5, 1)), scores[0])
        torch.testing.assert_close(rule(scores[[3, 0, 4, 1, 2]]), rule(scores))
        torch.testing.assert_close(rule(scores + 2), rule(scores) + 2)


def test_entropy_by_hand() -> None:
    """Members sure of opposite sides: total log 2, all of it disagreement. All at ½: log 2, none of it.

    With p = ¾ and ¼ the mean is ½: total log 2, own entropy H(¾) = log 4 − ¾·log 3.
    """
    margins = torch.tensor([[60.0, 0.0, math.log(3.0)], [-60.0, 0.0, -math.log(3.0)]])
    total, disagreement = preference_entropy(margins)
    torch.testing.assert_close(total, torch.full((3,), math.log(2.0)))
    own = math.log(4.0) - 0.75 * math.log(3.0)
    torch.testing.assert_close(disagreement, torch.tensor([math.log(2.0), 0.0, math.log(2.0) - own]))


def test_entropy_is_of_the_preference_and_not_of_a_distribution_over_members() -> None:
    """A softmax over members would give log 5 for five members that agree; agreement is certainty here."""
    total, disagreement = preference_entropy(torch.full((5, 1), 20.0))
    assert float(total) < 1e-6
    assert float(disagreement) == pytest.approx(0.0, abs=1e-7)


def test_entropy_does_not_depend_on_which_completion_is_first() -> None:
    margins = torch.randn(4, 30, generator=torch.Generator().manual_seed(1))
    for one, other in zip(preference_entropy(margins), preference_entropy(-margins), strict=True):
        torch.testing.assert_close(one, other)
        assert (one >= 0).all()
        assert (one <= math.log(2.0) + 1e-6).all()


def test_the_variance_ratio_by_hand() -> None:
    """Means 3 and 5: variance 1 over rows. Variance over members 2.5 and 0. Equal rows take the floor."""
    torch.testing.assert_close(variance_ratio(SCORES), torch.tensor([2.5, 0.0]))
    torch.testing.assert_close(variance_ratio(SCORES[:, :1], floor=0.5), torch.tensor([5.0]))
