"""Completions that end in the middle of something."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from gnomon.core.ranges import Range
from gnomon.data.quality.contract import Part, RecordFilter
from gnomon.data.quality.texts import named_texts

OPEN_SIGNS = ",;:、，；：(（[【{「『“‘-–/"
LAST_LINE_IS_PROSE = 60  # characters from which on a line is no title, entry of a list or line of a poem


class Truncated(RecordFilter):
    """Finds completions that end inside a sentence or a block of code.

    Attributes:
        min_length: shorter texts often end without a full stop, as an answer of one word does.
    """

    name: ClassVar[str] = "truncated"
    part: ClassVar[Part] = "sound"
    min_length: Annotated[int, Range("it counts characters", ge=1, le=10**6)] = 200

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Look at the end of each completion, and of a rated text."""
        for name, text in named_texts(record):
            if len(text) >= self.min_length and (reason := _cut(text.rstrip())):
                yield f"{name} {reason}"


def _cut(text: str) -> str:
    if text.count("```") % 2:
        return "ends inside a block of code"
    last_line = text.rpartition("\n")[2].strip()
    if not text or text.endswith("```") or "```" in last_line:
        return ""
    if text[-1] in OPEN_SIGNS:
        return f"ends with {text[-1]}"
    prose = len(last_line) >= (LAST_LINE_IS_PROSE // 2 if _is_wide(text[-1]) else LAST_LINE_IS_PROSE)
    if prose and unicodedata.category(text[-1])[0] == "L":
        return "ends inside a sentence"
    return ""


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"
