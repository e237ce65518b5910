"""Reliability: scores by hand, shrinkage, and the annotators to pause."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gnomon.core.errors import ConfigError
from gnomon.feedback.quality.reliability import (
    WEIGHTS,
    AnnotatorReliability,
    ReliabilityPart,
    annotator_reliability,
    annotators_to_pause,
)
from gnomon.feedback.task_types import Limits
from gnomon.stats.votes import Vote

LIMITS = Limits(min_seconds=3.0, max_seconds=60.0, min_reason_chars=4)


def two() -> list[Vote]:
    """A has 8 of 10 correct, is too fast once and too slow once; B has 15 of 30. They share no item."""
    seconds = [1.0, 99.0, *[10.0] * 8]
    a = [Vote("A", f"a{n}", "a" if n < 8 else "b", seconds=seconds[n]) for n in range(10)]
    return a + [Vote("B", f"b{n}", "a" if n < 15 else "b") for n in range(30)]


def rounded(record: AnnotatorReliability) -> list[ReliabilityPart]:
    return [replace(part, value=round(part.value, 9)) for part in record.parts]


def test_score_by_hand() -> None:
    """With k = 10 the credibility of A is 10/20, of B 30/40.

    The group's mean of gold is (0.5 * 0.8 + 0.75 * 0.5) / 1.25 = 0.62. So A has 0.5 * 0.8 + 0.5 * 0.62 = 0.71
    and B 0.75 * 0.5 + 0.25 * 0.62 = 0.53. Only A has times, with a pace of 0.8: 3/4 * 0.71 + 1/4 * 0.8 = 0.7325.
    """
    gold = {vote.item: "a" for vote in two()}
    a, b = annotator_reliability(two(), gold, LIMITS, weights={"gold": 3.0, "pace": 1.0}, shrinkage=10.0)
    assert a.score == pytest.approx(0.7325)
    assert rounded(a) == [
        ReliabilityPart("gold", 0.8, 10, 0.71, 0.75),
        ReliabilityPart("pace", 0.8, 10, 0.8, 0.25),
    ]
    assert rounded(b) == [ReliabilityPart("gold", 0.5, 30, 0.53, 1.0)]
    assert b.score == pytest.approx(0.53)
    measured = annotator_reliability(two(), gold, LIMITS, weights={"gold": 3.0, "pace": 1.0}, shrinkage=0.0)
    assert [record.score for record in measured] == pytest.approx([0.8, 0.5])


def test_position_length_reasons_and_agreement_by_hand() -> None:
    """First 81 of 263: the interval ends at 0.3662, 0.1338 from 1/2. One reason of four is short.

    The same votes are for the longer 81 times of 263. Agreement of A and B is below chance, which counts as 0.
    """
    a = [
        Vote(
            "A",
            n,
            "ab"[n % 2],
            0.0,
            None,
            n < 81,
            2 if n < 81 else 1,
            1 if n < 81 else 2,
            "good" if n % 4 else "",
        )
        for n in range(264)
        if n != 263
    ]
    b = [Vote("B", n, "ba"[n % 2]) for n in range(263)]
    weights = {"position": 1.0, "length": 1.0, "reasons": 1.0, "agreement": 1.0}
    records = annotator_reliability(a + b, None, LIMITS, weights=weights)
    parts = {part.name: part for part in records[0].parts}
    assert parts["position"].measured == pytest.approx(1 - 2 * 0.1338, abs=1e-4)
    assert parts["length"].measured == parts["position"].measured
    assert parts["reasons"].measured == pytest.approx(1 - 66 / 263)
    assert records[0].metrics.agreement.kappa == pytest.approx(-1.0, abs=0.01)
    assert parts["agreement"].measured == 0.0
    assert [part.weight for part in records[0].parts] == [0.25] * 4
    assert [part.name for part in records[1].parts] == ["agreement"]
    # By default the length has no weight, but is among the metrics.
    plain = annotator_reliability(a + b)[0]
    assert "length" not in [part.name for part in plain.parts]
    assert plain.metrics.longer.biased


def test_a_deviation_within_chance_does_not_lower_the_score() -> None:
    """12 of 20 for the first: 0.6, and 1/2 lies within the interval."""
    votes = [Vote("A", n, "a", chosen_first=n < 12) for n in range(20)]
    assert annotator_reliability(votes)[0].score == 1.0


def test_with_few_votes_the_score_is_near_the_groups_mean() -> None:
    gold = dict.fromkeys(range(100), "a")
    many = [Vote(who, n, "a" if n < 80 else "b") for who in "ABC" for n in range(100)]
    lucky = [Vote("new", n, "a") for n in range(2)]
    records = {r.annotator: r.score for r in annotator_reliability(many + lucky, gold, weights={"gold": 1.0})}
    assert records["A"] is not None
    assert records["new"] is not None
    assert 0.8 < records["new"] < 0.85
    assert records["A"] == pytest.approx(0.8, abs=0.01)


def test_without_cases_there_is_no_score_and_nobody_to_pause() -> None:
    (record,) = annotator_reliability([Vote("A", 1, "a")])
    assert (record.parts, record.score) == ((), None)
    assert annotators_to_pause([record], min_reliability=1.0, min_votes_before_pause=1) == []
    assert annotator_reliability([]) == []


def test_annotators_to_pause_have_a_low_score_and_enough_votes() -> None:
    gold = {vote.item: "a" for vote in two()}
    records = annotator_reliability(two(), gold, weights={"gold": 1.0}, shrinkage=0.0)  # A 0.8 of 10, B 0.5 of 30
    assert annotators_to_pause(records, min_reliability=0.6, min_votes_before_pause=30) == ["B"]
    assert annotators_to_pause(records, min_reliability=0.6, min_votes_before_pause=31) == []
    assert annotators_to_pause(records, min_reliability=0.5, min_votes_before_pause=1) == []
    assert annotators_to_pause(records, min_reliability=0.9, min_votes_before_pause=1) == ["A", "B"]


def raters(seed: int, order: list[int]) -> list[AnnotatorReliability]:
    """Eight with 90% correct votes, one who guesses, one who always chooses the first; 150 items, 30 gold."""
    rng = random.Random(seed)
    votes, truth = [], {}
    for item in range(150):
        truth[item] = rng.choice("ab")
        for who in range(10):
            shown = rng.choice("ab")
            wrong = "ab".replace(truth[item], "")
            label = truth[item] if rng.random() < 0.9 else wrong
            label = {8: rng.choice("ab"), 9: shown}.get(who, label)
            slow = 1.0 if who == 8 else rng.uniform(5, 30)
            votes.append(Vote(f"r{order[who]}", item, label, 0.0, slow, label == shown))
    rng.shuffle(votes)
    return annotator_reliability(votes, {n: truth[n] for n in range(30)}, LIMITS)


def test_guessing_and_always_choosing_the_first_give_low_scores() -> None:
    for seed in range(3):
        records = {record.annotator: record for record in raters(seed, list(range(10)))}
        scores = {name: record.score for name, record in records.items() if record.score is not None}
        assert all(0 <= score <= 1 for score in scores.values())
        careful = [scores[f"r{n}"] for n in range(8)]
        assert max(scores["r8"], scores["r9"]) < min(careful) - 0.2
        assert records["r9"].metrics.first.value == 1.0
        assert annotators_to_pause(records.values(), min_reliability=0.6, min_votes_before_pause=100) == [
            "r8",
            "r9",
        ]
        for record in records.values():
            assert sum(part.weight for part in record.parts) == pytest.approx(1.0)
            assert record.score == pytest.approx(sum(part.weight * part.value for part in record.parts))


def test_scores_do_not_depend_on_names() -> None:
    order = [3, 9, 1, 0, 4, 8, 2, 7, 5, 6]
    plain = {record.annotator: record.score for record in raters(0, list(range(10)))}
    renamed = {record.annotator: record.score for record in raters(0, order)}
    for who in range(10):
        assert plain[f"r{who}"] == pytest.approx(renamed[f"r{order[who]}"])


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="no part 'speed'; choose among gold, agreement"):
        annotator_reliability([], weights={"speed": 1.0})
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="weight of 'gold'"):
            annotator_reliability([], weights={"gold": wrong})
        with pytest.raises(ConfigError, match="shrinkage"):
            annotator_reliability([], shrinkage=wrong)
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)
