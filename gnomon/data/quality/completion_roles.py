"""Roles of a record's completions, by which previews, rendered rows and reasons name them."""

from __future__ import annotations

from typing import Any, NamedTuple

from gnomon.core.types import Label, Preference, Ranking
from gnomon.data.records import completions_of


class CompletionRole(NamedTuple):
    """The role of a completion in its record.

    Attributes:
        role: `chosen`, `rejected`, `good`, `bad`, `rank` or `completion`.
        rank: position in a ranking, from 1; 0 otherwise.
    """

    role: str
    rank: int = 0

    @property
    def name(self) -> str:
        """The role, with the rank if there is one."""
        return f"{self.role} {self.rank}" if self.rank else self.role


def completion_roles(record: Any) -> list[CompletionRole]:
    """Return the role of each completion of a record, in the order of `completions_of`."""
    if isinstance(record, Preference):
        return [CompletionRole("chosen"), CompletionRole("rejected")]
    if isinstance(record, Ranking):
        return [CompletionRole("rank", rank) for rank in range(1, len(record.completions) + 1)]
    if isinstance(record, Label):
        return [CompletionRole("good" if record.good else "bad")]
    return [CompletionRole("completion") for _ in completions_of(record)]
