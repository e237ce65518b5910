"""Harmful words, by lists that the user gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from gnomon.core.errors import DataError
from gnomon.data.quality.contract import Part, RecordFilter
from gnomon.data.quality.texts import named_texts, nfc, prompt_text
from gnomon.data.records import prompt_of_record

START = 2  # characters by which entries are looked up
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
        read_lexicons(tuple(self.files))

    def files_of_checks(self) -> tuple[str, ...]:
        """The lexicons."""
        return tuple(self.files)

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Search the texts."""
        entries = read_lexicons(tuple(self.files))
        texts: list[tuple[str, str]] = []
        prompt = prompt_of_record(record)
        if prompt is not None and self.where != "completion":
            texts.append(("prompt", prompt_text(prompt)))
        if self.where != "prompt":
            texts += named_texts(record, calls=True)
        for name, text in texts:
            if (entry := entries.first(text)) is not None:
                yield f"{name} holds “{entry}” of the lexicon"


class LexiconEntries:
    """Entries of lexicons, found in a text by their first characters.

    Args:
        entries: in normal form and case-folded.
    """

    def __init__(self, entries: Iterable[str]):
        self.index: dict[str, list[str]] = {}
        for entry in sorted(entries, key=lambda one: (-len(one), one)):
            self.index.setdefault(entry[:START], []).append(entry)

    def first(self, text: str) -> str | None:
        """Return the first entry in a text, or `None`."""
        folded = nfc(text).casefold()
        for start in range(len(folded)):
            for length in range(START, 0, -1):
                for entry in self.index.get(folded[start : start + length], ()):
                    if folded.startswith(entry, start) and _is_whole(folded, start, start + len(entry)):
                        return entry
        return None


@cache
def read_lexicons(files: tuple[str, ...]) -> LexiconEntries:
    """Read the entries of some files.

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
        own = {nfc(line.strip()).casefold() for line in lines if line.strip() and not line.startswith("#")}
        if not own:
            raise DataError(f"the lexicon {file} holds no entry; write one a line.")
        entries |= own
    return LexiconEntries(entries)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether a part of a text is no part of a longer word; scripts without spaces have no longer words."""
    before = start > 0 and _has_spaces(text[start]) and _has_spaces(text[start - 1])
    after = end < len(text) and _has_spaces(text[end - 1]) and _has_spaces(text[end])
    return not before and not after


@cache
def _has_spaces(character: str) -> bool:
    """Whether a letter's script separates words: not Thai, Lao, Burmese, Khmer, Chinese or Japanese."""
    code = ord(character)
    without = 0x0E00 <= code <= 0x0EFF or 0x1000 <= code <= 0x109F or 0x1780 <= code <= 0x17FF
    wide = 0x2E80 <= code <= 0x31FF or 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or code >= 0x20000
    return character.isalnum() and not without and not wide
