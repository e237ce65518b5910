"""Checks of some rows of a file alone: what a worker process does, or a worker of another engine.

checks = RowChecks(Preference, build_filters({"length": {"max_characters": 4000}}))
for row in checks([("row 1", {"prompt": "…", "chosen": "…", "rejected": "…"})]):
    if row.rejected is None:
        print(row.line)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.storage.files import to_json
from gnomon.data.formats.contract import UnusedRow
from gnomon.data.quality.contract import Filter
from gnomon.data.quality.registry import split_filters
from gnomon.data.quality.texts import digest, map_texts, map_values, media_key, parts_of
from gnomon.data.reading.media.columns import MEDIA_COLUMNS
from gnomon.data.reading.row_fields import KeysRead, TrackedRow
from gnomon.data.record_rows import record_row
from gnomon.data.records import parse_record, prompt_of_record

UNREADABLE = "unreadable"  # in place of a filter's name: the row is damaged
UNUSED = "unused"  # likewise: the row is valid, and holds no record of the kind
# Keys of a row that its record holds; all others stay in the written row.
OF_RECORDS = frozenset(
    {
        "prompt", "system", "messages", "completion", "chosen", "rejected", "completions", "label", "good",
        "text", "tools", "chat_template_kwargs", "ratings", "rating", "value", "rater", "raters",
        "weight", "margin", "probability", "tie", "turns", *MEDIA_COLUMNS,
    }
)  # fmt: skip
Positioned = tuple[str, Mapping[str, Any] | DataError]


@dataclass(frozen=True)
class Rejection:
    """Why a row is not in the cleaned file.

    Attributes:
        filter: name of the filter, `UNREADABLE` or `UNUSED`.
        reason: a clause.
    """

    filter: str
    reason: str


@dataclass(frozen=True)
class CheckedRow:
    """A row after the checks.

    Attributes:
        where: its position.
        line: the row in Gnomon's own layout as JSON, masked if that was asked for; of a rejected row the row as
            it was, `null` if it could not be read.
        rejected: why it is not used, or `None`.
        findings: filter and reason of each finding, up to the one that rejects the row.
        features: digests of the prompt's id and of the prompt, then the numbers of the filters that compare
            records, `[width]`; zeros if rejected.
    """

    where: str
    line: bytes
    rejected: Rejection | None = None
    findings: tuple[tuple[str, str], ...] = ()
    features: tuple[int, ...] = ()


class RowChecks:
    """Parses rows and applies the filters that check each record alone.

    Args:
        kind: of the records.
        active: the filters; those that do not apply to the kind are left out.
        tokenizer: for filters that count tokens.
    """

    def __init__(self, kind: type, active: Sequence[Filter], tokenizer: Any = None):
        applied = [one for one in active if one.applies_to(kind)]
        self.kind, self.tokenizer = kind, tokenizer
        self.singles, self.files = split_filters(applied)
        self.masking = [one for one in self.singles if one.action == "mask"]

    @property
    def width(self) -> int:
        """Numbers of a row's features."""
        return 2 + sum(one.width for one in self.files)

    def __call__(self, rows: Iterable[Positioned], keys: KeysRead | None = None) -> list[CheckedRow]:
        """Check rows in Gnomon's own layout.

        Args:
            rows: position and content of each; or the error of an unreadable one.
            keys: collects which keys were read.
        """
        keys = KeysRead() if keys is None else keys
        return [self._check(where, row, keys) for where, row in rows]

    def _check(self, where: str, row: Mapping[str, Any] | DataError, keys: KeysRead) -> CheckedRow:
        if isinstance(row, DataError):
            why = UNUSED if isinstance(row, UnusedRow) else UNREADABLE
            return CheckedRow(where, b"null", Rejection(why, str(row)))
        try:
            record: Any = parse_record(self.kind, TrackedRow(row, keys))
            findings, dropped = self._findings(record)
        except DataError as error:  # a chat template may refuse a record too
            return CheckedRow(where, _json(row), Rejection(UNREADABLE, str(error).rstrip(".")))
        if dropped is not None:
            return CheckedRow(where, _json(row), dropped, (*findings, (dropped.filter, dropped.reason)))
        prompt = prompt_of_record(record)
        identity = (
            (0, 0)
            if prompt is None
            else (digest(prompt.id), digest(prompt.answer or "", *parts_of(prompt), media_key(prompt)))
        )
        numbers = (number for one in self.files for number in one.features(record, row))
        return CheckedRow(where, _json(self._written(record, row)), None, findings, (*identity, *numbers))

    def _findings(self, record: Any) -> tuple[tuple[tuple[str, str], ...], Rejection | None]:
        """The findings of all filters up to the first one that drops the record."""
        findings: list[tuple[str, str]] = []
        for one in self.singles:
            for reason in one.check(record, self.tokenizer):
                if one.action == "drop":
                    return tuple(findings), Rejection(one.name, reason)
                findings.append((one.name, reason))
        return tuple(findings), None

    def _written(self, record: Any, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row to write: the record, and the row's other columns."""
        for one in self.masking:
            record = map_texts(record, one.mask)
            row = map_values(row, one.mask)
        written = record_row(record)
        others = {key: value for key, value in row.items() if key not in OF_RECORDS and key not in written}
        return {**others, **written}


def _json(row: Mapping[str, Any]) -> bytes:
    return json.dumps(to_json(row), ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
