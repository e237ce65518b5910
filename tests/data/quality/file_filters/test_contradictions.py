"""Contradicting preferences and cycles."""

from __future__ import annotations

from pathlib import Path

from quality_rows import cleaned, pair


def prefers(chosen: str, rejected: str, prompt: str = "Which?", **more: float) -> dict[str, object]:
    return pair(prompt, chosen, rejected, **more)


def test_reversed_preferences_and_cycles_are_found_within_a_prompt(tmp_path: Path) -> None:
    rows = [
        prefers("a", "b"),
        prefers("b", "a"),
        prefers("b", "a", prompt="Who?"),
        prefers("x", "y"),
        prefers("y", "z"),
        prefers("z", "x"),
        prefers("z", "w"),
    ]
    result = cleaned(tmp_path, rows, {"contradictions": "drop"})
    assert result.why("contradictions") == {
        "line 1": "line 2 prefers the other side",
        "line 2": "line 1 prefers the other side",
        "line 4": "it is part of a cycle",
        "line 5": "it is part of a cycle",
        "line 6": "it is part of a cycle",
    }
    assert result.report.filters["contradictions"].figures == {"contradictions": 2, "in_cycles": 3}


def test_a_probability_below_one_half_turns_a_preference_around_and_an_even_one_is_none(
    tmp_path: Path,
) -> None:
    rows = [prefers("a", "b"), prefers("a", "b", probability=0.2), prefers("b", "a", probability=0.5)]
    result = cleaned(tmp_path, rows, {"duplicates": "off", "near_duplicates": "off"})
    assert result.why("contradictions").keys() == {"line 1", "line 2"}
