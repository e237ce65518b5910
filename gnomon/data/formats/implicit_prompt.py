"""Pairs of two plain texts that start alike, `{"chosen": "The sky is blue.", "rejected": "The sky is green."}`.

TRL calls it a preference with an implicit prompt, and cuts at the first character that differs, perhaps inside
a word. Here the cut is between words, so that each answer starts with a whole one.
https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Preference
from gnomon.data.formats.contract import Format, UnusedRow, carried, has_value
from gnomon.data.formats.prompt_response import QUESTIONS
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import required, text

# A word with the white space before it, as tokenizers cut texts; a character of a script without spaces, with its
# marks; or a sign. Letters outside the basic scripts and combining marks are part of their word.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
MARKS = (
    "\u0300-\u036f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3"
    "\u3099\u309a"
)
SIGNS = r"!-/:-@\[-\^`{-~¡-¿×÷\u2010-\u2027\u2030-\u205e\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff65"
WORD = re.compile(rf"\s*(?:[{UNSPACED}][{MARKS}]*|[^\s{UNSPACED}{SIGNS}]+|[{SIGNS}])|\s+")


class ImplicitPrompt(Format):
    """Pairs of texts without a column for the prompt, which is the words that both start with."""

    name = "implicit-prompt"
    title = "pairs of texts that start with their prompt"
    kinds = (Preference,)
    general = True

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Two texts, and no prompt beside them."""
        sides = (row.get("chosen"), row.get("rejected"))
        if not all(isinstance(side, str) for side in sides) or has_value(row, "messages", "conversations"):
            return None
        if any(name in row for name in (*QUESTIONS, "instruction", "context_messages")):
            return None  # where the prompt is null, the row is damaged
        return "chosen and rejected are texts without a prompt beside them"

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Split both texts after the words that they share at the start."""
        chosen, rejected = (text(required(row, side), side) for side in ("chosen", "rejected"))
        if chosen == rejected:
            raise UnusedRow("chosen and rejected are the same text")
        shared = shared_words(chosen, rejected)
        if not shared.strip():
            raise DataError("chosen and rejected share no words at the start that could be their prompt")
        cut = len(shared)
        yield {
            **carried(row, kind, {"chosen", "rejected"}),
            "prompt": shared,
            "chosen": chosen[cut:],
            "rejected": rejected[cut:],
        }


def shared_words(first: str, second: str) -> str:
    """Return the whole words that two texts share at the start; white space belongs to the word after it."""
    words = ((match.group() for match in WORD.finditer(text)) for text in (first, second))
    pairs = zip(*words, strict=False)
    return "".join(word for word, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
