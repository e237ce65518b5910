"""A file of JSON values, read in pieces: only the value in hand is in memory, however long the file is."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from gnomon.core.errors import DataError
from gnomon.data.reading.content import Content
from gnomon.data.reading.rows import RowDecoder

_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{},\]]')
_CUT_NUMBER = re.compile(r"(?:\.|[eE][+-]?)?\Z")  # what follows a number that the end of what is read may cut
_CHUNK = 1 << 18  # characters that are read at least
_PIECE = 16  # characters of the longest literal or escape, which the end of what is read may cut


class JsonFault(ValueError):
    """Text that is no JSON, with the line of the fault."""


class JsonStream:
    """Reads JSON values from a file's content one by one.

    Attributes:
        decoder: of the values.
        damage: why the rest of the file cannot be read; `None` if it can.
        indent: after `peek`, the white space before the next value, if that is the first of its line.
    """

    def __init__(self, content: Content):
        self.decoder = RowDecoder()
        self.damage: DataError | None = None
        self.indent: str | None = ""
        self._content = content
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at, self._line, self._ended = "", 0, 1, False

    def _more(self) -> bool:
        """Read on, at least as much again as is not used yet; false at the end."""
        if self._ended:
            return False
        wanted, data = max(_CHUNK, len(self._text) - self._at), bytearray()
        while len(data) < wanted and not self._ended:
            try:
                piece = self._content.read(wanted - len(data))
            except DataError as error:
                self.damage, piece = error, b""
            data += piece
            self._ended = not piece
        self._line += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + self._decoder.decode(bytes(data), final=self._ended)
        self._at = 0
        return bool(data)

    def peek(self) -> str:
        """Skip white space, and return the next character; "" at the end."""
        gap = ""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None  # it matches nothing, too
            gap, self._at = gap + match.group(), match.end()
            if self._at < len(self._text):
                break
            if not self._more():
                return ""
        if "\n" in gap:
            self.indent = gap.rpartition("\n")[2]
        elif self.indent is not None:
            self.indent += gap
        return self._text[self._at]

    def skip(self, character: str) -> bool:
        """Skip a character if it is the next one."""
        if self.peek() != character:
            return False
        self._at, self.indent = self._at + 1, None
        return True

    def line(self, longest: int) -> str:
        """Return the rest of the line, or at least its first `longest` characters; it stays the next text."""
        while (end := self._text.find("\n", self._at)) < 0:
            if len(self._text) - self._at > longest or not self._more():
                return self._text[self._at :]
        return self._text[self._at : end]

    def value(self) -> tuple[Any, str]:
        """Read the next value; returns it with its text.

        Raises:
            JsonFault: it is not valid; it stays the next text.
        """
        self.peek()
        while True:
            try:
                value, end = self.decoder.value(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self._text) - _PIECE
                if cut and self._more():
                    continue
                raise JsonFault(self._reason(error.msg, error.pos, cut)) from None
            except RecursionError:
                raise JsonFault(self._reason("nested too deeply", self._at, False)) from None
            except ValueError as error:
                raise JsonFault(self._reason(str(error), self._at, False)) from None
            plain = not isinstance(value, dict | list | str)
            if plain and _CUT_NUMBER.match(self._text, end) and self._more():
                continue  # the number may go on
            text = self._text[self._at : end]
            self._at, self.indent = end, None
            return value, text

    def _reason(self, message: str, position: int, cut: bool) -> str:
        if cut and self.damage is not None:
            return str(self.damage).rstrip(".")
        if cut and (message.startswith("Unterminated") or position >= len(self._text.rstrip())):
            return "the file ends inside it"
        return f"{message}, in line {self._line + self._text.count(chr(10), 0, position)}"

    def skip_broken(self, indent: str | None) -> bool:
        """Skip a value that is not valid, up to the next that may be; false if none is found.

        Args:
            indent: of the line that the value starts; the next value starts a line with the same. `None`: the
                value starts no line, and ends with the brace that closes its first.
        """
        return self._skip_braces() if indent is None else self._skip_to_line(f"\n{indent}{{")

    def _skip_to_line(self, mark: str) -> bool:
        searched = self._at
        while (start := self._text.find(mark, searched)) < 0:
            searched = max(0, len(self._text) - len(mark) - self._at)  # `_more` drops what is before `_at`
            if not self._more():
                return False
        self._at, self.indent = start, None
        return True

    def _skip_braces(self) -> bool:
        is_object = self._text.startswith("{", self._at)
        while True:
            depth = 0
            for token in _TOKEN.finditer(self._text, self._at + (not is_object)):
                depth += {"{": 1, "}": -1}.get(token.group(), 0)
                if is_object and depth <= 0 and token.group() == "}":
                    self._at, self.indent = token.end(), None
                    return True
                if not is_object and token.group() in (",", "]"):
                    self._at, self.indent = token.start(), None
                    return True
            if not self._more():
                return False
