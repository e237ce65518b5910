"""What a store exports, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gnomon.core.types import Preference
from gnomon.data.records import parse_record
from gnomon.feedback.export.exporter import ExportSpec, export_rows, start_export
from gnomon.feedback.store.store import Store


@dataclass(frozen=True)
class DataSet:
    """The preferences of a project, and the manifest of their export."""

    rows: list[Preference]
    manifest: dict[str, Any]


def pair_preferences(store: Store, project: str) -> DataSet:
    """All preferences of a project by majority."""
    tally = start_export(store.project(project), ExportSpec(kinds=("preferences",)))
    rows = [parse_record(Preference, row) for kind, row in export_rows(store, tally) if kind == "preferences"]
    return DataSet(rows, tally.to_json())
