"""Texts of pages and reports: each language has every text, with the same values in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter
from typing import Any

from gnomon.core.translations import LANGUAGES, texts_in


def leaves(texts: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each text below `texts`, with its path."""
    if isinstance(texts, str):
        yield key, texts
    else:
        for name, below in texts.items() if isinstance(texts, dict) else enumerate(texts):
            yield from leaves(below, f"{key}/{name}")


def test_each_language_has_the_same_texts_with_the_same_values() -> None:
    every = {language: dict(leaves(texts_in(language))) for language in LANGUAGES}
    assert len(every["en"]) > 600
    assert every["en"].keys() == every["zh"].keys()
    for key, english in every["en"].items():
        fields = [{name for _, name, _, _ in Formatter().parse(every[language][key])} for language in LANGUAGES]
        assert fields[0] - {None} == fields[1] - {None}, key
        assert bool(english.strip()) == bool(every["zh"][key].strip()), key


def test_texts_have_no_markup() -> None:
    for language in LANGUAGES:
        for key, text in leaves(texts_in(language)["reports"]):
            assert not re.search("[<>&]", text), key
