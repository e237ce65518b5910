"""Calibration of stated confidence: slopes by hand, what proves nothing, weights."""

from __future__ import annotations

import pytest

from gnomon.stats.confidence import MIN_WEIGHT, confidence_calibration
from gnomon.stats.votes import Vote


def vote(annotator: str, item: int, label: str, confidence: float | None = None) -> Vote:
    return Vote(annotator, item, label, confidence=confidence)


def gold_votes(annotator: str, rights: dict[float, list[bool]], start: int = 0) -> list[Vote]:
    """Votes on gold items whose answer is `a`: by confidence, whether each is right."""
    pairs = [(confidence, right) for confidence, rest in rights.items() for right in rest]
    return [vote(annotator, start + n, "a" if right else "b", level) for n, (level, right) in enumerate(pairs)]


def test_the_slope_by_hand() -> None:
    """Sure: 3 of 4 right, unsure: 1 of 4; the least squares line rises by 1/2."""
    votes = gold_votes("ann", {1.0: [True, True, True, False], 0.0: [True, False, False, False]})
    calibration = confidence_calibration(votes, dict.fromkeys(range(8), "a"))
    assert calibration.slope.value == pytest.approx(0.5)
    assert (calibration.votes, calibration.items, calibration.accuracy) == (8, 8, 0.5)
    assert [(level.confidence, level.votes, level.accuracy) for level in calibration.levels] == [
        (0.0, 4, 0.25),
        (1.0, 4, 0.75),
    ]
    assert not calibration.is_calibrated  # too few votes


def test_without_known_answers_the_others_decide() -> None:
    """Ann's vote equals one of two others' votes: half right. A vote on an item of its own is left out."""
    votes = [vote("ann", 0, "a", 0.5), vote("bob", 0, "a"), vote("cyd", 0, "b"), vote("ann", 1, "a", 0.5)]
    calibration = confidence_calibration(votes)
    assert (calibration.votes, calibration.accuracy) == (1, 0.5)


def test_many_votes_that_are_right_where_confident_are_calibrated() -> None:
    rights = {1.0: [True] * 27 + [False] * 3, 0.0: [True] * 12 + [False] * 18}
    calibration = confidence_calibration(gold_votes("ann", rights), dict.fromkeys(range(60), "a"))
    assert calibration.is_calibrated
    assert calibration.slope.value == pytest.approx(0.9 - 0.4)
    assert calibration.accuracy == pytest.approx(0.65)
    assert calibration.weight("ann", 1.0) == pytest.approx(1 + 0.5 * 0.5 / 0.65)
    assert calibration.weight("ann", 0.0) == pytest.approx(1 - 0.5 * 0.5 / 0.65)
    assert calibration.weight("ann", None) == 1.0
    assert calibration.weight("bob", 0.0) == 1.0


def test_a_confident_and_right_annotator_beside_an_unsure_and_wrong_one_proves_nothing() -> None:
    """Neither is right more often where they are more confident; their reliability weights them already."""
    votes = gold_votes("ann", {1.0: [True] * 40}) + gold_votes("bob", {0.0: [False] * 40}, start=40)
    calibration = confidence_calibration(votes, dict.fromkeys(range(80), "a"))
    assert (calibration.slope.value, calibration.is_calibrated) == (None, False)
    assert calibration.weight("ann", 1.0) == 1.0


@pytest.mark.parametrize("levels", [(1.0, 0.0), (0.0, 1.0)])
def test_confidence_without_or_against_right_votes_weights_nothing(levels: tuple[float, float]) -> None:
    """As often right at either level, or more often where less confident."""
    for right in (15, 5):
        rights = {levels[0]: [True] * 15 + [False] * 15, levels[1]: [True] * right + [False] * (30 - right)}
        calibration = confidence_calibration(gold_votes("ann", rights), dict.fromkeys(range(60), "a"))
        rises = right < 15 and levels == (1.0, 0.0)
        assert calibration.is_calibrated == rises


def test_no_vote_is_lost_for_its_confidence() -> None:
    rights = {1.0: [True] * 30 + [False] * 30, 0.0: [False] * 90}
    calibration = confidence_calibration(gold_votes("ann", rights), dict.fromkeys(range(150), "a"))
    assert calibration.slope.value == pytest.approx(0.5)
    assert calibration.weight("ann", 0.0) == MIN_WEIGHT  # 1 − 0.5·0.4 / 0.2 = 0


def test_votes_without_confidence_or_company_give_nothing() -> None:
    calibration = confidence_calibration([vote("ann", 0, "a"), vote("bob", 0, "a"), vote("cyd", 1, "a", 1.0)])
    assert (calibration.votes, calibration.levels, calibration.accuracy) == (0, (), None)
    assert not calibration.is_calibrated
    assert calibration.slope.value is None
