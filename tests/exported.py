"""What a store exports, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gnomon.core.types import Preference
from gnomon.data.reading.records import parse_record
from gnomon.feedback.export.exporter import Wanted, begin, made_rows
from gnomon.feedback.store.store import Store


@dataclass(frozen=True)
class DataSet:
    """The preferences of a project, and the manifest of their export."""

    rows: list[Preference]
    manifest: dict[str, Any]


def pair_preferences(store: Store, project: str) -> DataSet:
    """All preferences of a project by majority."""
    tally = begin(store.project(project), Wanted(kinds=("preferences",)))
    rows = [parse_record(Preference, row) for kind, row in made_rows(store, tally) if kind == "preferences"]
    return DataSet(rows, tally.manifest)
