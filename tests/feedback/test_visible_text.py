"""Visible characters: what a reader sees of a text, in any script."""

from __future__ import annotations

import pytest

from gnomon.feedback.visible_text import has_control_characters, visible_length


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("\U0003fffd", 1),  # not assigned
        ("", 0),
        ("\u200b" * 6, 0),  # zero-width spaces
        ("\x01" * 7, 0),
        (" \u00a0\u2003\u3000\n\t", 0),
        ("\u3164\u115f\u1160\uffa0\u2800\ufe0f\u034f", 0),  # Hangul fillers, blank Braille, a variation selector
        ("a b", 3),
        (" a b ", 3),
        ("\u200b  a\u200b b", 3),
        ("a\n\tb", 2),
        ("蒸汽　机", 3),
        ("❤\ufe0f", 1),
        ("👨\u200d👩", 2),  # joined by a zero-width joiner
        ("e\u0301", 2),
    ],
    ids=ascii,
)
def test_only_visible_characters_and_spaces_between_them_count(text: str, length: int) -> None:
    assert visible_length(text) == length


@pytest.mark.parametrize(
    "text", ["a\x07b", "a\x7f", "\x85", "a\u202eb\u202c", "\u202a", "\u2066a\u2069"], ids=ascii
)
def test_controls_and_overrides_of_the_direction_are_recognized(text: str) -> None:
    assert has_control_characters(text)


@pytest.mark.parametrize("text", ["a\tb\nc", "\u05d0\u200fb", "a\u200db", "\u2065\u206a\u2029"], ids=ascii)
def test_tabs_line_feeds_and_marks_are_no_controls(text: str) -> None:
    assert not has_control_characters(text)
