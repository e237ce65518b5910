"""A broken file of the corpus, and its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Broken:
    """A file of demonstrations.

    Attributes:
        what: in words, for the name of the test.
        name: of the file.
        content: its bytes, or a function that makes them.
        good: the prompts of the good rows, in order.
        bad: position of each rejected row → a pattern of its reason.
        refused: a pattern of the sentence that refuses the whole file; "" if it is read.
    """

    what: str
    name: str
    content: bytes | Callable[[], bytes]
    good: Sequence[str] = ()
    bad: dict[str, str] = field(default_factory=dict)
    refused: str = ""

    def data(self) -> bytes:
        """The bytes of the file."""
        return self.content if isinstance(self.content, bytes) else self.content()


def row(prompt: str, completion: Any = "Yes.", **more: Any) -> str:
    """A row as one line of JSON, without its end."""
    return json.dumps({"prompt": prompt, "completion": completion, **more}, ensure_ascii=False)


def lines(*rows: str, end: str = "\n", encoding: str = "utf-8") -> bytes:
    """Rows as lines, each with its end."""
    return "".join(one + end for one in rows).encode(encoding)


PAIR = [{"prompt": "a", "completion": "Yes."}, {"prompt": "b", "completion": "Yes."}]
TWO = lines(row("a"), row("b"))
GOOD = ("a", "b")
