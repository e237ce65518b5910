"""Power analysis: figures by hand, and against simulated annotators who judge one item after the other.

The tolerance of a simulated share is four standard deviations of a binomial share, √(p(1 − p)/n).
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from gnomon.core.errors import ConfigError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.feedback.annotators.simulated import SimulatedAnnotator
from gnomon.feedback.planning.annotation_plan import PowerSettings, plan_annotation, simulate
from gnomon.feedback.planning.power import (
    AnnotatorNoise,
    accuracy_from_kappa,
    annotators_for,
    half_width,
    items_for_power,
    items_for_width,
    majority_accuracy,
    power_of_items,
    votes_for_accuracy,
)
from gnomon.feedback.task_types import Setup
from gnomon.feedback.tasks.queue import AnnotationTask

PROMPT = Prompt("p", (Message("user", "Which?"),))
ONE_BETTER = {"better": 0.5, "worse": -0.5}


def near(observed: float, expected: float, n: int) -> bool:
    return abs(observed - expected) <= 4 * math.sqrt(expected * (1 - expected) / n)


def simulated_votes(noise: AnnotatorNoise, better: np.ndarray, votes: int, name: str) -> np.ndarray:
    """Votes of simulated annotators, 1 for A, 0 for B, 1/2 for a tie: [items, votes].

    A is displayed first in every other item, so that the order favors neither side.
    """
    utilities: dict[str, float] = {
        f"{side}{i}": 0.5 if (side == "a") == bool(best) else -0.5
        for i, best in enumerate(better)
        for side in "ab"
    }
    values = np.empty((len(better), votes))
    for vote in range(votes):
        rater = SimulatedAnnotator(
            noise.simulated_behavior(), lambda _, one: utilities[one.id], seed=vote, utility_name=name
        )
        for i in range(len(better)):
            sides = "ab" if (i + vote) % 2 == 0 else "ba"
            shown = tuple(Completion(f"{side}{i}", "same length") for side in sides)
            answer = rater.judge(AnnotationTask(i, "p", "pair", PROMPT, shown, 0.0), Setup(), i).answer
            assert answer is not None
            worth = {"first": 1.0, "second": 0.0, "tie": 0.5}[answer["choice"]]
            values[i, vote] = worth if sides == "ab" else 1 - worth
    return values


def kappa_from_accuracy(accuracy: float, prevalence: float = 0.5) -> float:
    """κ of two annotators with this accuracy: the inverse of `accuracy_from_kappa`."""
    signal = 2 * accuracy - 1
    share = 0.5 + (prevalence - 0.5) * signal
    return signal**2 * prevalence * (1 - prevalence) / (share * (1 - share))


def test_accuracy_from_kappa_by_hand() -> None:
    """(2a − 1)² = κ: 0.6² is 0.36. At a prevalence of 0.2 with a = 0.9, q = 0.26: κ = 0.64·0.16/(0.26·0.74)."""
    assert accuracy_from_kappa(0.36) == pytest.approx(0.8)
    assert accuracy_from_kappa(0.25) == pytest.approx(0.75)
    assert (accuracy_from_kappa(0), accuracy_from_kappa(1)) == (0.5, 1.0)
    assert kappa_from_accuracy(0.9, 0.2) == pytest.approx(0.1024 / 0.1924)
    for prevalence in (0.05, 0.3, 0.5, 0.8):
        for accuracy in (0.5, 0.7, 0.99):
            kappa = kappa_from_accuracy(accuracy, prevalence)
            assert accuracy_from_kappa(kappa, prevalence) == pytest.approx(accuracy)


@pytest.mark.parametrize("prevalence", [0.5, 0.2])
def test_simulated_annotators_have_the_expected_kappa(prevalence: float) -> None:
    """Cohen's κ by scikit-learn, of 4000 items; its standard error is below 0.016 here."""
    better = np.random.default_rng(5).random(4000) < prevalence
    votes = simulated_votes(AnnotatorNoise(0.85), better, 2, f"kappa {prevalence}")
    assert cohen_kappa_score(votes[:, 0], votes[:, 1]) == pytest.approx(
        kappa_from_accuracy(0.85, prevalence), abs=0.05
    )


def test_items_for_power_and_width_by_hand() -> None:
    """Without noise: ((1.95996·0.5 + 0.84162·√0.24) / 0.1)² = 193.85. With a = 0.8, so w = 0.56:
    ((0.97998 + 0.84162·√(0.56·0.44)) / 0.06)² = 542.7. A half-width of 0.05 is 1.95996²·0.25/0.0025 = 384.1.
    """
    assert items_for_power(0.6, AnnotatorNoise(1.0)) == 194
    assert items_for_power(0.6, AnnotatorNoise(0.8)) == 543
    assert items_for_power(0.4, AnnotatorNoise(0.8)) == 543
    assert items_for_width(0.05, AnnotatorNoise(1.0)) == 385
    assert half_width(385, AnnotatorNoise(1.0)) == pytest.approx(1.959964 * 0.5 / math.sqrt(385))


def test_item_variance_by_hand() -> None:
    """a = 0.8, effect 0.5: c = 0.6²·0.25 = 0.09, s² = 0.25; of three votes 0.09 + 0.16/3.

    With a fifth of ties, effect 0.7: the signal is 0.8·0.6 = 0.48, w = 0.596, s² = 0.2 − 0.096², c = 0.48²·0.21.
    """
    assert AnnotatorNoise(0.8).item_variance(0.5, 3) == pytest.approx(0.09 + 0.16 / 3)
    tied = AnnotatorNoise(0.8, 0.2)
    assert tied.win_rate(0.7) == pytest.approx(0.596)
    one, shared = 0.2 - 0.096**2, 0.48**2 * 0.21
    assert tied.item_variance(0.7, 2) == pytest.approx(shared + (one - shared) / 2)


def test_majority_accuracy_by_hand() -> None:
    """0.8³ + 3·0.8²·0.2 = 0.896; four votes are as accurate as three; sums for half of the votes ties."""
    assert majority_accuracy(1, AnnotatorNoise(0.8)) == pytest.approx(0.8)
    assert majority_accuracy(3, AnnotatorNoise(0.8)) == pytest.approx(0.896)
    assert majority_accuracy(4, AnnotatorNoise(0.8)) == pytest.approx(0.896)
    assert majority_accuracy(5, AnnotatorNoise(0.8)) == pytest.approx(0.94208)
    assert majority_accuracy(1, AnnotatorNoise(0.8, 0.5)) == pytest.approx(0.5 * 0.8 + 0.5 * 0.5)
    assert majority_accuracy(2, AnnotatorNoise(0.8, 0.5)) == pytest.approx(
        0.25 * 0.5 + 0.5 * 0.8 + 0.25 * (0.64 + 0.16)
    )


def test_votes_for_accuracy_is_the_smallest_odd_number() -> None:
    assert votes_for_accuracy(0.8, AnnotatorNoise(0.8)) == 1
    assert votes_for_accuracy(0.9, AnnotatorNoise(0.8)) == 5
    assert votes_for_accuracy(0.9, AnnotatorNoise(0.5)) is None
    assert votes_for_accuracy(0.999, AnnotatorNoise(0.501)) is None
    for noise in (AnnotatorNoise(0.62), AnnotatorNoise(0.62, 0.4)):
        plain = [votes for votes in range(1, 100, 2) if majority_accuracy(votes, noise) >= 0.9]
        assert votes_for_accuracy(0.9, noise) == plain[0]


@pytest.mark.parametrize("noise", [AnnotatorNoise(0.8), AnnotatorNoise(0.7, 0.3)], ids=["no ties", "ties"])
def test_votes_of_simulated_annotators_have_the_expected_mean_and_variance(noise: AnnotatorNoise) -> None:
    """3000 items of 3 votes: the mean, the variance of an item's mean, the ties, the majority."""
    better = np.random.default_rng(6).random(3000) < 0.7
    votes = simulated_votes(noise, better, 3, f"moments {noise.ties}")
    means = votes.mean(axis=1)
    variance = noise.item_variance(0.7, 3)
    assert abs(means.mean() - noise.win_rate(0.7)) < 4 * math.sqrt(variance / 3000)
    assert means.var() == pytest.approx(variance, rel=0.1)  # its own deviation is about √(2/3000), 2.6%
    assert near(float((votes == 0.5).mean()), noise.ties, 9000) or noise.ties == 0
    for_truth = np.where(better[:, None], votes, 1 - votes).mean(axis=1)
    right = float(((for_truth > 0.5) + 0.5 * (for_truth == 0.5)).mean())
    assert near(right, majority_accuracy(3, noise), 3000)


@pytest.mark.parametrize(
    ("noise", "votes"), [(AnnotatorNoise(0.8), 1), (AnnotatorNoise(0.75, 0.2), 3)], ids=["one", "three, ties"]
)
def test_studies_of_simulated_annotators_have_the_expected_power(noise: AnnotatorNoise, votes: int) -> None:
    """The items computed for a power of 0.8 give it in 150 simulated studies."""
    items, rounds, chance = items_for_power(0.72, noise, votes=votes), 150, np.random.default_rng(7)
    assert power_of_items(0.72, noise, items, votes=votes) == pytest.approx(0.8, abs=0.01)
    detected = covered = 0
    for number in range(rounds):
        means = simulated_votes(noise, chance.random(items) < 0.72, votes, f"round {number}").mean(axis=1)
        detected += (means.mean() - 0.5) / (means.std(ddof=1) / math.sqrt(items)) > 1.959964
        reach = half_width(items, noise, effect=0.72, votes=votes)
        covered += abs(means.mean() - noise.win_rate(0.72)) <= reach
    assert near(detected / rounds, 0.8, rounds)
    assert near(covered / rounds, 0.95, rounds)


def test_the_false_positive_rate_is_alpha() -> None:
    """Where both are equally good, one study in forty detects each of the two as better: alpha / 2."""
    settings = PowerSettings(effect=0.5 + 1e-9, kappa=0.4)
    trial = simulate(settings, 300, 1, trials=4000, seed=1)[0]
    assert near(trial.observed, 0.025, 4000)


@pytest.mark.parametrize("ties", [0.0, 0.25])
@pytest.mark.parametrize("votes", [1, 3])
def test_the_simulation_of_a_plan_agrees_with_its_closed_forms(ties: float, votes: int) -> None:
    settings = PowerSettings(effect=0.62, kappa=0.5, ties=ties, votes=votes)
    row = plan_annotation(settings).rows[1 if votes > 1 else 0]
    for trial in simulate(settings, row.items, votes, trials=2000, seed=2):
        n = 2000 if "majorities" not in trial.name else 2000 * row.items
        assert (
            abs(trial.observed - trial.expected)
            <= 4 * math.sqrt(trial.expected * (1 - trial.expected) / n) + 0.005
        ), trial
        assert trial.low <= trial.observed <= trial.high


def test_a_plan_has_sample_sizes_and_advice() -> None:
    plan = plan_annotation(PowerSettings(effect=0.6, kappa=0.36, votes=5, per_annotator=100))
    assert [(row.votes, row.items, row.judgements) for row in plan.rows] == [
        (1, 543, 543),
        (
            5,
            items_for_power(0.6, AnnotatorNoise(0.8), votes=5),
            5 * items_for_power(0.6, AnnotatorNoise(0.8), votes=5),
        ),
        (
            1,
            items_for_width(0.05, AnnotatorNoise(0.8), effect=0.6),
            items_for_width(0.05, AnnotatorNoise(0.8), effect=0.6),
        ),
        (5, plan.rows[3].items, 5 * plan.rows[3].items),
    ]
    assert plan.rows[0].annotators == 6
    assert "a win rate of 60%, measured as 56% by these annotators, judge 543 items once each" in plan.advice
    assert plan.advice.endswith("for 90% correct labels collect 5 votes per item.")
    assert plan_annotation(PowerSettings(kappa=0.36, accuracy=0.8)).advice.endswith("collect 1 vote per item.")
    assert plan_annotation(PowerSettings(kappa=1e-6, accuracy=0.99)).advice.endswith("so train the annotators.")


def test_annotators_for_a_study_by_hand() -> None:
    assert annotators_for(489, 1, 200) == 3
    assert annotators_for(10, 3, 200) == 3  # nobody judges an item twice
    assert annotators_for(100, 3, 200) == 3
    assert annotators_for(1000, 3, 200) == 15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plan_annotation(PowerSettings(effect=0.5)), "cannot be distinguished from 0.5"),
        (lambda: plan_annotation(PowerSettings(kappa=0.0)), "are chance"),
        (lambda: accuracy_from_kappa(-0.1), "pass κ in"),
        (lambda: AnnotatorNoise(0.4), "pass an accuracy in"),
        (lambda: AnnotatorNoise(0.8, 1.0), "ties in"),
        (lambda: items_for_power(0.6, AnnotatorNoise(0.8), power=1.0), "power is 1.0"),
        (lambda: items_for_power(0.6, AnnotatorNoise(0.8), alpha=0.0), "alpha is 0.0"),
        (lambda: items_for_width(0.0, AnnotatorNoise(0.8)), "half_width is 0.0"),
        (lambda: majority_accuracy(0, AnnotatorNoise(0.8)), "have no majority"),
        (lambda: annotators_for(0, 1, 1), "at least 1 of each"),
        (lambda: simulate(PowerSettings(kappa=1.0), 10, 1), "cannot be simulated"),
        (lambda: simulate(PowerSettings(), 1, 1), "simulate at least 2"),
    ],
)
def test_impossible_plans_are_refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ConfigError, match=message):
        call()


def test_simulated_votes_have_three_values() -> None:
    """Checks the helper of these tests: every item has its votes, with the three values alone."""
    votes = simulated_votes(AnnotatorNoise(0.8, 0.3), np.ones(50, dtype=bool), 2, "helper")
    assert set(Counter(votes.ravel().tolist())) <= {0.0, 0.5, 1.0}
    assert votes.shape == (50, 2)
