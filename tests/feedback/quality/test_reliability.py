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
    paused,
)
from gnomon.feedback.task_types import Limits
from gnomon.stats.votes import Vote

LIMITS = Limits(min_seconds=3.0, max_seconds=60.0, min_reason_chars=4)


def two() -> list[Vote]:
    """A is right on 8 of 10, too fast once and too slow once; B is right on 15 of 30. They never meet."""
    seconds = [1.0, 99.0, *[10.0] * 8]
    a = [Vote("A", f"a{n}", "a" if n < 8 else "b", seconds=seconds[n]) for n in range(10)]
    return a + [Vote("B", f"b{n}", "a" if n < 15 else "b") for n in range(30)]


def rounded(record: AnnotatorReliability) -> list[ReliabilityPart]:
    return [replace(part, value=round(part.value, 9)) for part in record.parts]


def test_score_by_hand() -> None:
    """With k = 10 A's own record counts 10/20, B's 30/40.

    The group's mean of gold is (0.5 * 0.8 + 0.75 * 0.5) / 1.25 = 0.62. So A has 0.5 * 0.8 + 0.5 * 0.62 = 0.71
    and B 0.75 * 0.5 + 0.25 * 0.62 = 0.53. Only A's pace is known: 0.8. A: 3/4 * 0.71 + 1/4 * 0.8 = 0.7325.
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


def test_the_other_parts_by_hand() -> None:
    """First 81 of 263: the interval ends at 0.3662, 0.1338 from 1/2. One reason of four is short.

    The same votes have the longer 81 times of 263. Together A and B agree worse than by chance: not below 0.
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
    found = annotator_reliability(a + b, None, LIMITS, weights=weights)
    parts = {part.name: part for part in found[0].parts}
    assert parts["position"].measured == pytest.approx(1 - 2 * 0.1338, abs=1e-4)
    assert parts["length"].measured == parts["position"].measured
    assert parts["reasons"].measured == pytest.approx(1 - 66 / 263)
    assert found[0].metrics.agreement.kappa == pytest.approx(-1.0, abs=0.01)
    assert parts["agreement"].measured == 0.0
    assert [part.weight for part in found[0].parts] == [0.25] * 4
    assert [part.name for part in found[1].parts] == ["agreement"]
    # By default the length has no weight, and is in the record all the same.
    plain = annotator_reliability(a + b)[0]
    assert "length" not in [part.name for part in plain.parts]
    assert plain.metrics.longer.biased


def test_chance_alone_costs_nothing() -> None:
    """12 of 20 shown first: 0.6, and 1/2 lies within the interval."""
    votes = [Vote("A", n, "a", chosen_first=n < 12) for n in range(20)]
    assert annotator_reliability(votes)[0].score == 1.0


def test_few_votes_stay_near_the_group() -> None:
    gold = dict.fromkeys(range(100), "a")
    many = [Vote(who, n, "a" if n < 80 else "b") for who in "ABC" for n in range(100)]
    lucky = [Vote("new", n, "a") for n in range(2)]
    found = {r.annotator: r.score for r in annotator_reliability(many + lucky, gold, weights={"gold": 1.0})}
    assert found["A"] is not None
    assert found["new"] is not None
    assert 0.8 < found["new"] < 0.85
    assert found["A"] == pytest.approx(0.8, abs=0.01)


def test_without_data_there_is_no_score_and_nobody_is_paused() -> None:
    (record,) = annotator_reliability([Vote("A", 1, "a")])
    assert (record.parts, record.score) == ((), None)
    assert paused([record], min_reliability=1.0, min_votes_before_pause=1) == []
    assert annotator_reliability([]) == []


def test_paused_are_those_below_with_enough_votes() -> None:
    gold = {vote.item: "a" for vote in two()}
    found = annotator_reliability(two(), gold, weights={"gold": 1.0}, shrinkage=0.0)  # A 0.8 of 10, B 0.5 of 30
    assert paused(found, min_reliability=0.6, min_votes_before_pause=30) == ["B"]
    assert paused(found, min_reliability=0.6, min_votes_before_pause=31) == []
    assert paused(found, min_reliability=0.5, min_votes_before_pause=1) == []
    assert paused(found, min_reliability=0.9, min_votes_before_pause=1) == ["A", "B"]


def raters(seed: int, order: list[int]) -> list[AnnotatorReliability]:
    """Eight careful (right 90%), one who guesses, one who always takes the first; 150 items, gold on 30."""
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


def test_who_guesses_and_who_takes_the_first_stand_out() -> None:
    for seed in range(3):
        found = {record.annotator: record for record in raters(seed, list(range(10)))}
        scores = {name: record.score for name, record in found.items() if record.score is not None}
        assert all(0 <= score <= 1 for score in scores.values())
        careful = [scores[f"r{n}"] for n in range(8)]
        assert max(scores["r8"], scores["r9"]) < min(careful) - 0.2
        assert found["r9"].metrics.first.value == 1.0
        assert paused(found.values(), min_reliability=0.6, min_votes_before_pause=100) == ["r8", "r9"]
        for record in found.values():
            assert sum(part.weight for part in record.parts) == pytest.approx(1.0)
            assert record.score == pytest.approx(sum(part.weight * part.value for part in record.parts))


def test_names_change_nothing() -> None:
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
