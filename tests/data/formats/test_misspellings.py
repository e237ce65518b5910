"""Misspelled names are told from other names."""

from __future__ import annotations

import pytest

from gnomon.data.formats.misspellings import is_misspelling


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("wieght", "weight"),
        ("lable", "label"),
        ("labl", "label"),
        ("Label", "label"),
        ("weight ", "weight"),
        ("margn", "margin"),
        ("systen", "system"),
        ("completon", "completion"),
        ("complection", "completion"),
        ("probabilty", "probability"),
    ],
)
def test_slips_of_the_keyboard(name: str, word: str) -> None:
    assert is_misspelling(name, word)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("label", "label"),
        ("labels", "label"),
        ("rating", "ratings"),
        ("message_id", "messages"),
        ("prompt_id", "prompt"),
        ("height", "weight"),
        ("test", "text"),
        ("date", "rater"),
        ("rated", "rater"),
        ("redacted", "rejected"),
        ("context", "text"),
        ("completion_tokens", "completion"),
        ("", "id"),
    ],
)
def test_other_names(name: str, word: str) -> None:
    assert not is_misspelling(name, word)
