"""Rows and records for tests of data quality, and a file cleaned by the command's function."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from project import write_rows

from gnomon.core.types import Preference
from gnomon.data.quality.clean import clean_file
from gnomon.data.quality.contract import RecordFilter, Tools
from gnomon.data.quality.registry import build_filters
from gnomon.data.quality.report import CleanReport
from gnomon.data.records import parse_record


def pair(prompt: str = "Why?", chosen: str = "Because.", rejected: str = "No.", **more: Any) -> dict[str, Any]:
    """A row of a preference."""
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def reasons(
    name: str, row: dict[str, Any], kind: type = Preference, tokenizer: Any = None, **settings: Any
) -> list[str]:
    """The reasons that a filter of single records gives for a row."""
    one = next(one for one in build_filters({name: {"action": "report", **settings}}) if one.name == name)
    assert isinstance(one, RecordFilter)
    one.prepare()
    return list(one.check(parse_record(kind, row), tokenizer))


@dataclass(frozen=True)
class Cleaned:
    """A cleaned file: its rows, the rejected and flagged ones, the report."""

    clean: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    flagged: list[dict[str, Any]]
    report: CleanReport

    def why(self, filter: str) -> dict[str, str]:
        """Position → reason of the rows that a filter rejected or flagged."""
        return {row["where"]: row["reason"] for row in (*self.rejected, *self.flagged) if row["filter"] == filter}


def lines(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, none if it does not exist."""
    return [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]] if file.exists() else []


def cleaned(
    folder: Path,
    rows: list[Any],
    filters: dict[str, Any] | None = None,
    tools: Tools | None = None,
    jobs: int = 1,
) -> Cleaned:
    """Write rows to a file and clean it."""
    source = folder / "rows.jsonl"
    write_rows(source, rows)
    report = clean_file(source, folder / "clean.jsonl", filters, tools=tools, jobs=jobs, overwrite=True)
    clean, rejected, flagged = (lines(folder / f"{name}.jsonl") for name in ("clean", "rejected", "flagged"))
    return Cleaned(clean, rejected, flagged, report)
