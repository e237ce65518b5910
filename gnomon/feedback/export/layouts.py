"""Exported rows in the layouts of other tools, such as TRL's, as JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gnomon.core.errors import ConfigError
from gnomon.core.types import Demonstration, Preference, Ranking
from gnomon.data.formats.registry import all_formats
from gnomon.data.records import parse_record
from gnomon.feedback.export.row_schema import Row, RowKind

RECORDS: dict[RowKind, type] = {
    "preferences": Preference,
    "rankings": Ranking,
    "demonstrations": Demonstration,
}


def layouts() -> list[str]:
    """Return the names of the layouts that exported rows can be written in, as JSON lines."""
    exported = set(RECORDS.values())
    lines = {name: form for name, form in all_formats().items() if form.written_as == "jsonl"}
    return [name for name, form in lines.items() if exported & set(form.writes)]


def kinds_of_layout(layout: str, possible: Sequence[RowKind], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of rows to export in a layout: those wanted, or all that it holds.

    Args:
        layout: name of a layout.
        possible: kinds of rows that the project has, besides judgements.
        wanted: kinds that are asked for; none for all.

    Raises:
        ConfigError: the layout does not hold a kind that is wanted, or none that the project has.
    """
    writes = all_formats()[layout].writes
    held = [kind for kind in possible if RECORDS[kind] in writes]
    lost = [kind for kind in wanted if kind in possible and kind not in held]
    if lost or not held:
        names = " or ".join(kind for kind, record in RECORDS.items() if record in writes)
        raise ConfigError(f"the format {layout} has no {' or '.join(lost or possible)}; it has {names}.")
    return tuple(wanted or held)


def row_writer(layout: str, kind: RowKind) -> Callable[[Row], Row]:
    """Return the function that converts an exported row of a kind to a layout; its items stay.

    Judgements stay as they are.

    Args:
        layout: name of a layout, or one of the export's own formats, whose rows stay as they are.
        kind: kind of the rows.
    """
    if layout not in layouts() or kind not in RECORDS:
        return lambda row: row
    write, record = all_formats()[layout].write, RECORDS[kind]
    return lambda row: {**write(parse_record(record, row)), "items": row["items"]}
