"""Misspelled names are told from other names."""

from __future__ import annotations

import pytest

from gnomon.data.formats.common.misspellings import hint, is_misspelling


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


KNOWN = ["gnomon", "label-studio", "label-studio-min", "ratings", "hh", "helpsteer", "helpsteer-preference"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("labelstudio", "label-studio"),
        ("Label_Studio", "label-studio"),
        ("label-studio-csv", "label-studio"),
        ("helpsteer3", "helpsteer"),
        ("gnomno", "gnomon"),
        ("ranking", None),
        ("preferences", None),
        ("json", None),
    ],
)
def test_a_hint_names_what_an_unknown_name_stands_for_or_all(name: str, meant: str | None) -> None:
    every = "known: gnomon, helpsteer, helpsteer-preference, hh, label-studio, label-studio-min, ratings."
    assert hint(name, KNOWN) == (f"did you mean '{meant}'?" if meant else every)


def test_a_synonym_goes_before_similar_names() -> None:
    assert (
        hint("label-studios", KNOWN, {"label-studios": "label-studio-min"}) == "it is called 'label-studio-min'."
    )
