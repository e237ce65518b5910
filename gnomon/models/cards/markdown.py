"""Markdown in which values are shown as they are, whatever characters they hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from gnomon.core.redaction import redact

LONGEST = 300  # characters of a value in a line
_BACKTICKS = re.compile("`+")
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def code(value: object) -> str:
    """A value as a code span of one line, in which nothing is markup; also in a cell of a table.

    Passwords and tokens are redacted; control characters, which could break the line, become blanks.
    """
    text = " ".join(_printable(redact(str(value)), keep="").split())
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    if not text:
        return ""
    marks = "`" * (_longest_run(text) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{marks}{space}{text}{space}{marks}".replace("|", "\\|")


def fence(text: str, language: str) -> str:
    """A text of several lines as a code block that none of its own lines can close."""
    marks = "`" * max(3, _longest_run(text) + 1)
    return f"{marks}{language}\n{_printable(text, keep=chr(10)).strip(chr(10))}\n{marks}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown themselves."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)


def _printable(text: str, keep: str) -> str:
    """The text with blanks for control characters, lone surrogates, and marks that turn the writing direction."""
    return "".join(
        c if c in keep or not (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _DIRECTIONS) else " "
        for c in text
    )
