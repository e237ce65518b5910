"""The report of a cleaned file: counts, what each filter found, a quality score with its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from gnomon.core.types import UNWRITTEN
from gnomon.data.quality.contract import Action, Part
from gnomon.data.reading.counting import counted

ROWS_NAMED = 20  # positions of found rows in the report; `flagged.jsonl` and `rejected.jsonl` have all
PARTS: tuple[str, ...] = ("readable", *get_args(Part))


@dataclass
class FilterCount:
    """What a filter found.

    Attributes:
        action: what was done with the records.
        part: the part of the quality score to which they count.
        records: number of records with a finding.
        last: index of the last of them.
        rows: positions of the first of them.
        reasons: reason of each of these.
        figures: what the filter measured of the file.
    """

    action: Action
    part: Part
    records: int = 0
    last: int = field(default=-1, metadata=UNWRITTEN)
    rows: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    figures: dict[str, float | str | None] = field(default_factory=dict)

    def add(self, index: int, where: str, reason: str) -> None:
        """Count a record; of several findings in it the first.

        Args:
            index: of the record; those of one record follow each other.
            where: its position.
            reason: of the finding.
        """
        if index == self.last:
            return
        self.last = index
        self.records += 1
        if len(self.rows) < ROWS_NAMED:
            self.rows.append(where)
            self.reasons.append(reason)


@dataclass(frozen=True)
class CleanReport:
    """The result of cleaning a file.

    Attributes:
        source: the file.
        kind: name of the kind of its records.
        rows: number of its rows that are not blank.
        clean: number of rows written.
        rejected: number of rows not used; `rows` = `clean` + `rejected`.
        unreadable: number of rejected rows that hold no record.
        filters: what each filter found, by name.
        quality: product of the parts.
        parts: shares in [0, 1]: `readable` of the rows, each other part of the records without a finding of its
            filters; `unbiased` is lowered by what length predicts.
        unread: keys of the rows that records of this kind do not use.
        files: the written files by what they hold.
        seconds: time that it took; after an interruption that of the last start.
        joined: number of further rows that are part of the record at another row's position.
    """

    source: str
    kind: str
    rows: int
    clean: int
    rejected: int
    unreadable: int
    filters: Mapping[str, FilterCount]
    quality: float
    parts: Mapping[str, float]
    unread: Sequence[str]
    files: Mapping[str, str]
    seconds: float
    joined: int = 0

    def as_text(self) -> str:
        """Format the report for reading."""
        lines = [
            f"{self.source}: {self.kind}",
            f"{counted(self.rows, 'rows')} = {self.clean:,} clean + {self.rejected:,} rejected",
            "quality: " + f"{self.quality:.2f} = " + " × ".join(f"{n} {v:.2f}" for n, v in self.parts.items()),
        ]
        if self.joined:
            lines.append(f"rows that are part of another row's record: {self.joined:,}")
        if self.unreadable:
            lines.append(f"not readable as {self.kind}: {self.unreadable:,}")
        table = [("filter", "action", "found", "first rows, or figures")]
        table += [
            (name, count.action, f"{count.records:,}", _details(count)) for name, count in self.filters.items()
        ]
        widths = [max(len(row[column]) for row in table) for column in range(3)]
        lines += ["", *(_line(row, widths) for row in table), ""]
        for name, count in self.filters.items():
            if count.rows:
                lines.append(f"{name}: {count.rows[0]}: {count.reasons[0]}")
        if self.unread:
            lines.append(f"columns that are no part of {self.kind}, left as they are: {', '.join(self.unread)}")
        lines += [f"{name}: {file}" for name, file in self.files.items()]
        return "\n".join(lines) + "\n"


def _line(row: tuple[str, str, str, str], widths: Sequence[int]) -> str:
    cells = [f"{row[0]:<{widths[0]}}", f"{row[1]:<{widths[1]}}", f"{row[2]:>{widths[2]}}", row[3]]
    return "  ".join(cells).rstrip()


def _details(count: FilterCount) -> str:
    figures = [f"{name} {_shown(value)}" for name, value in list(count.figures.items())[:6]]
    named = ", ".join(count.rows[:3]) + (" …" if count.records > 3 else "")
    return "; ".join(filter(None, (named, ", ".join(figures))))


def _shown(value: float | str | None) -> str:
    if value is None:
        return "—"
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def output_files(out: Path) -> dict[str, Path]:
    """Return the files of a cleaning: `rejected.jsonl` beside `clean.jsonl`, else `NAME.rejected.jsonl`."""
    stem = out.name.removesuffix(".jsonl")
    start = "" if stem == "clean" else f"{stem}."
    names = {
        "rejected": "rejected.jsonl",
        "flagged": "flagged.jsonl",
        "report": "report.json",
        "text": "report.txt",
    }
    return {"clean": out, **{key: out.with_name(start + name) for key, name in names.items()}}
