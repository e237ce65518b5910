"""What a stage's steps had to teach, from its metrics."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.training.outcome import Outcome, outcome, why_nothing_learned


def a_round(**changed: Any) -> dict[str, Any]:
    return {
        "step": 1,
        "score_mean": 0.4,
        "score_std": 0.2,
        "frac_zero_std_groups": 0.5,
        "frac_truncated": 0.1,
        "grad_norm": 0.3,
    } | changed


def counts(steps: int, with_gradient: int, cut_off: int, without_variance: int, nothing: str) -> Outcome:
    return Outcome(
        steps=steps,
        with_gradient=with_gradient,
        cut_off=cut_off,
        without_variance=without_variance,
        nothing=nothing,
    )


ALIKE = {"score_std": 0.2, "frac_zero_std_groups": 1.0}
FLAT = {"score_std": 0.0, "frac_zero_std_groups": 1.0}


@pytest.mark.parametrize(
    ("rows", "min_group_size", "expected"),
    [
        ([a_round(), a_round()], 2, counts(2, 2, 0, 0, "")),
        # Scores differ between prompts alone: nothing for a method that compares within them.
        ([a_round(**ALIKE), a_round(**ALIKE)], 2, counts(2, 2, 0, 2, "groups_alike")),
        ([a_round(**ALIKE), a_round(**ALIKE)], 1, counts(2, 2, 0, 0, "")),
        ([a_round(**ALIKE), a_round()], 2, counts(2, 2, 0, 1, "")),
        ([a_round(**FLAT), a_round(**FLAT)], 1, counts(2, 2, 0, 2, "scores_alike")),
        # One score a round: a baseline of former rounds tells them apart.
        ([a_round(**FLAT), a_round(**FLAT, score_mean=0.9)], 1, counts(2, 2, 0, 2, "")),
        ([a_round(grad_norm=0.0), a_round(grad_norm=None)], 2, counts(2, 0, 0, 0, "no_gradient")),
        ([a_round(frac_truncated=1.0), a_round()], 2, counts(2, 2, 1, 0, "")),
        ([{"step": 1, "loss": 2.0, "grad_norm": 0.1}], 1, counts(1, 1, 0, 0, "")),
        ([{"step": 1, "loss": 2.0, "grad_norm": 0.0}], 1, counts(1, 0, 0, 0, "no_gradient")),
        ([], 2, counts(0, 0, 0, 0, "")),
    ],
)
def test_outcomes(rows: list[dict[str, Any]], min_group_size: int, expected: Outcome) -> None:
    assert outcome(rows, min_group_size=min_group_size) == expected


def test_the_reason_in_words() -> None:
    assert why_nothing_learned(Outcome()) == why_nothing_learned(Outcome(nothing="")) == ""
    assert why_nothing_learned(Outcome(nothing="no_gradient", steps=3, cut_off=1)) == "no step had a gradient"
    assert why_nothing_learned(Outcome(nothing="groups_alike", steps=3, cut_off=3)) == (
        "the scores of no group ever differed, and every answer was cut off at the length limit"
    )
