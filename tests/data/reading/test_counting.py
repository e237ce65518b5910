"""Counts with their nouns."""

from __future__ import annotations

from gnomon.data.reading.counting import counted, verb


def test_one_thing_is_singular_and_none_or_several_are_plural() -> None:
    assert [counted(n, "rated texts") for n in (0, 1, 2000)] == [
        "0 rated texts",
        "1 rated text",
        "2,000 rated texts",
    ]


def test_the_verb_follows_the_count() -> None:
    assert [verb(n, "are") for n in (0, 1, 2)] == ["are", "is", "are"]
    assert (verb(1, "have"), verb(1, "share"), verb(3, "share")) == ("has", "shares", "share")
    assert (verb(1, "do"), verb(2, "do")) == ("does", "do")
