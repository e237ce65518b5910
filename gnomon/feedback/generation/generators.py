"""Whoever writes answers: what they are asked, what they give back, and a cache on disk between the two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest
from gnomon.core.storage.files import read_json, write_json
from gnomon.core.types import Prompt


@dataclass(frozen=True)
class Order:
    """One answer that is asked for; its own seed makes it another than the next.

    Attributes:
        prompt: as the author reads it, which may have a wording more than the bank's.
    """

    prompt: Prompt
    temperature: float
    top_p: float
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class Draft:
    """A text that an author wrote.

    Attributes:
        finished: whether it ended by itself, not at the limit of its length.
        facts: what else its author says of it, as the version that answered.
    """

    text: str
    finished: bool
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """Why there is no text."""

    reason: str


Keep = Callable[[Order, Draft], None]


class Author(Protocol):
    """Writes answers.

    Attributes:
        name: the source of its answers in the store; annotators never see it.
        identity: all that its answers depend on beside the order, as a digest of the weights.
    """

    name: str
    identity: dict[str, str]

    def write(self, orders: Sequence[Order], keep: Keep) -> Iterator[Draft | Refusal]:
        """An answer to each order, in their order; `keep` gets each as soon as it is there.

        Raises:
            GnomonError: no order can be answered.
        """

    def close(self) -> None:
        """Let go of what was loaded."""


class Cache:
    """Answers on disk, one file each, by everything that they depend on."""

    def __init__(self, folder: Path):
        self.folder = folder

    def find(self, author: Author, order: Order) -> Draft | None:
        """The answer that the author gave to this very order."""
        path = self._path(author, order)
        if not path.exists():
            return None
        found = read_json(path)
        try:
            return Draft(str(found["text"]), bool(found["finished"]), dict(found["facts"]))
        except (LookupError, TypeError, ValueError):
            raise DataError(f"{path} holds no answer; remove it to have it made again.") from None

    def keep(self, author: Author, order: Order, draft: Draft) -> None:
        """Write an answer down, whole or not at all."""
        write_json(self._path(author, order), asdict(draft))

    def _path(self, author: Author, order: Order) -> Path:
        mark = digest([author.identity, spoken(order.prompt), *settings_of(order).values(), order.seed])
        return self.folder / mark[:2] / f"{mark}.json"


def spoken(prompt: Prompt) -> list[list[str]]:
    """What a prompt says, by whom; its id is not part of it."""
    return [[m.role, m.content] for m in prompt.messages]


def settings_of(order: Order) -> dict[str, Any]:
    """How an answer is drawn."""
    return {"temperature": order.temperature, "top_p": order.top_p, "max_tokens": order.max_tokens}
