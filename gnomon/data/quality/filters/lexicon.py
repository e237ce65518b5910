"""Harmful words, by lists that the user gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from gnomon.core.errors import DataError
from gnomon.data.quality.contract import Part, RecordFilter
from gnomon.data.quality.texts import named_texts, nfc, prompt_text
from gnomon.data.records import prompt_of_record

Where = Literal["prompt", "completion", "both"]


class Lexicon(RecordFilter):
    """Finds texts that hold an entry of a lexicon, without regard to case; without files it finds nothing.

    An entry of letters with spaces between words matches whole words; one in a script without spaces, such as
    Chinese, matches anywhere.

    Attributes:
        files: UTF-8 files with one entry a line; lines that start with # are comments.
        where: texts to search.
    """

    name: ClassVar[str] = "lexicon"
    part: ClassVar[Part] = "harmless"
    files: list[str] = Field(default_factory=list)
    where: Where = "both"

    @property
    def idle(self) -> bool:
        """Without files."""
        return not self.files

    def prepare(self) -> None:
        """Read the files.

        Raises:
            DataError: one cannot be read, or holds no entry.
        """
        lexicon_pattern(tuple(self.files))

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Search the texts."""
        expression = lexicon_pattern(tuple(self.files))
        texts: list[tuple[str, str]] = []
        prompt = prompt_of_record(record)
        if prompt is not None and self.where != "completion":
            texts.append(("prompt", prompt_text(prompt)))
        if self.where != "prompt":
            texts += named_texts(record)
        for name, text in texts:
            if match := expression.search(nfc(text)):
                yield f"{name} holds “{match[0]}” of the lexicon"


@cache
def lexicon_pattern(files: tuple[str, ...]) -> re.Pattern[str]:
    """Return an expression that matches every entry of some files, the longest first.

    Raises:
        DataError: a file cannot be read, or holds no entry.
    """
    entries: set[str] = set()
    for file in files:
        try:
            lines = Path(file).expanduser().read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise DataError(f"the lexicon {file} cannot be read ({reason}); give a text file in UTF-8.") from None
        own = {nfc(line.strip()) for line in lines if line.strip() and not line.startswith("#")}
        if not own:
            raise DataError(f"the lexicon {file} holds no entry; write one a line.")
        entries |= own
    ordered = sorted(entries, key=lambda entry: (-len(entry), entry))
    return re.compile("|".join(map(_entry, ordered)), re.IGNORECASE)


def _entry(text: str) -> str:
    """An entry as an expression: whole words where its script has spaces."""
    start = r"(?<!\w)" if _has_spaces(text[0]) else ""
    end = r"(?!\w)" if _has_spaces(text[-1]) else ""
    return start + re.escape(text) + end


def _has_spaces(character: str) -> bool:
    """Whether a letter's script separates words: not Thai, Lao, Burmese, Khmer, Chinese or Japanese."""
    code = ord(character)
    without = 0x0E00 <= code <= 0x0EFF or 0x1000 <= code <= 0x109F or 0x1780 <= code <= 0x17FF
    wide = 0x2E80 <= code <= 0x31FF or 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or code >= 0x20000
    return character.isalnum() and not without and not wide
