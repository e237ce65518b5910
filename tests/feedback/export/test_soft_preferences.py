"""From judgements to soft labels, margins and weights."""

from __future__ import annotations

import math

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.feedback.export.soft_preferences import (
    preferences_by_strength,
)
from gnomon.stats.bradley_terry import strengths

PROMPT = Prompt("p", (Message("user", "Say something."),))
A, B, C, D = (Completion(name, f"text {name}") for name in "abcd")
FOR_A, FOR_B, TIE = {"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}, {"a": 0.5, "b": 0.5}


def test_pairs_by_strength() -> None:
    """One ranking of three and a pair: weights 2/3 for each pair of the ranking, and 1 more for the pair."""
    values = [{"a": 2.0, "b": 1.0, "c": 0.0}, {"b": 1.0, "c": 0.0}]
    preferences = preferences_by_strength(PROMPT, [C, B, A], values)
    assert [(one.chosen.id, one.rejected.id) for one in preferences] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [one.weight for one in preferences] == pytest.approx([2 / 3, 2 / 3, 5 / 3])
    fitted = dict(zip("abc", strengths(values).values.tolist(), strict=True))
    for one in preferences:
        assert one.margin == pytest.approx(fitted[one.chosen.id] - fitted[one.rejected.id])
        assert one.probability == pytest.approx(1 / (1 + math.exp(-one.margin)))
    assert preferences[1].probability > max(preferences[0].probability, 0.5)


def test_only_judged_pairs_become_preferences() -> None:
    """a beats b, b beats c: a and c were never compared. d's judgement has weight 0."""
    values = [{"a": 1.0, "b": 0.0}, {"b": 1.0, "c": 0.0}, {"d": 1.0, "c": 0.0}]
    preferences = preferences_by_strength(PROMPT, [A, B, C, D], values, [1.0, 1.0, 0.0])
    assert [(one.chosen.id, one.rejected.id) for one in preferences] == [("a", "b"), ("b", "c")]
    [tie] = preferences_by_strength(PROMPT, [A, B], [TIE])
    assert (tie.probability, tie.margin, tie.weight) == (0.5, 0.0, 1.0)
    with pytest.raises(DataError, match="unknown completion 'b'"):
        preferences_by_strength(PROMPT, [A], [FOR_A])
