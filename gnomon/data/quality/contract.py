"""The contract of a filter: settings, and a check of each record alone or of all records of a file together.

A filter is one class in one file of `record_filters/` or `file_filters/`; its fields are its settings. It changes
a text only to mask it, where the user asked for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, field_validator

from gnomon.core.config import Settings
from gnomon.core.types import Completion, Prompt

Action = Literal["off", "report", "drop", "mask"]
Part = Literal["unique", "sound", "private", "harmless", "consistent", "unbiased"]
Digests = NDArray[np.uint64]
Row = Mapping[str, Any]


def _action(value: Any) -> Any:
    """YAML reads `off` and `on` as false and true."""
    return {False: "off", True: "drop"}.get(value, value) if isinstance(value, bool) else value


@dataclass(frozen=True)
class Tools:
    """Models that filters use; `None` where no filter needs one.

    Attributes:
        tokenizer: counts tokens.
        score: scores completions of prompts, NaN where there is no score.
        embed: embeds N texts as unit vectors, `[N, dimension]`.
    """

    tokenizer: Any = None
    score: Callable[[Sequence[Prompt], Sequence[Completion]], Sequence[float]] | None = None
    embed: Callable[[Sequence[str]], NDArray[np.float32]] | None = None


class Filter(Settings):
    """Base class of filters.

    Attributes:
        name: name in settings and reports.
        part: the part of the quality score to which its findings count.
        kinds: kinds of records that it applies to; empty: all.
        actions: what may be done with records that it finds.
        default: the action where the user names neither the filter nor an action.
        when_named: the action where the user gives settings without an action.
        action: `off`, `report` (count and list), `drop`, or `mask`.
    """

    name: ClassVar[str]
    part: ClassVar[Part]
    kinds: ClassVar[tuple[type, ...]] = ()
    actions: ClassVar[tuple[Action, ...]] = ("off", "report", "drop")
    default: ClassVar[Action] = "report"
    when_named: ClassVar[Action] = "drop"
    action: Annotated[Action, BeforeValidator(_action)] = "report"

    @field_validator("action")
    @classmethod
    def _is_possible(cls, value: Action) -> Action:
        if value not in cls.actions:
            raise ValueError(f"must be one of {', '.join(cls.actions)}, not {value}")
        return value

    def applies_to(self, kind: type) -> bool:
        """Return whether the filter is on for records of a kind."""
        return self.action != "off" and not self.idle and (not self.kinds or kind in self.kinds)

    @property
    def idle(self) -> bool:
        """Whether the filter lacks a setting without which it finds nothing."""
        return False

    def prepare(self) -> None:
        """Check what the settings name, such as files, before any record is read.

        Raises:
            DataError: something is missing.
        """

    def files_of_checks(self) -> tuple[str, ...]:
        """Return the files that the checks of single records read: changed ones count as changed settings."""
        return ()

    def needs(self) -> tuple[str, ...]:
        """Return the names of the `Tools` that the filter cannot work without, with its settings."""
        return ()


class RecordFilter(Filter):
    """A filter that checks each record alone."""

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Yield each reason why a record is found, as a clause.

        Args:
            record: a record of one of `kinds`.
            tokenizer: of `Tools`, perhaps `None`.
        """
        raise NotImplementedError

    def mask(self, text: str) -> str:
        """Return a text with what the filter finds replaced; called for all texts of a record if it masks."""
        raise NotImplementedError


@dataclass(frozen=True)
class Decision:
    """What a `FileFilter` finds in a file.

    Attributes:
        reasons: index of a record → why it is found, as a clause.
        weights: index of a record → factor of its weight.
        figures: numbers and texts for the report.
        bias: how far the labels follow something else than quality, in [0, 1]; for the part `unbiased`.
    """

    reasons: Mapping[int, str] = field(default_factory=dict)
    weights: Mapping[int, float] = field(default_factory=dict)
    figures: Mapping[str, float | str | None] = field(default_factory=dict)
    bias: float = 0.0


class Candidates:
    """The records of a file that earlier filters did not drop, as a `FileFilter` sees them.

    Attributes:
        kind: kind of the records.
        features: of each record of the file, `[N, width]`.
        remaining: whether no earlier filter dropped a record, `[N]`.
        tools: models that filters use.
    """

    kind: type
    features: Digests
    remaining: NDArray[np.bool_]
    tools: Tools

    def where(self, index: int) -> str:
        """Return the position of a record in its file."""
        raise NotImplementedError

    def record(self, index: int) -> Any:
        """Read a record again."""
        raise NotImplementedError

    def row(self, index: int) -> Row:
        """Read a record's row again."""
        raise NotImplementedError


class FileFilter(Filter):
    """A filter that compares the records of a file.

    Attributes:
        turn: filters run in the order of `turn`; each sees what the earlier ones did not drop.
    """

    turn: ClassVar[int]

    @property
    def width(self) -> int:
        """Numbers of a record that are held in memory."""
        return 1

    def features(self, record: Any, row: Row) -> Sequence[int]:
        """Return `width` numbers of a record, each an unsigned integer of 64 bits; by default nothing of use.

        Args:
            record: a record of one of `kinds`.
            row: its row in Gnomon's own layout.
        """
        return (0,) * self.width

    def decide(self, candidates: Candidates) -> Decision:
        """Find records, from the features of all."""
        raise NotImplementedError
