"""State of a collection: valid preferences, counted by the code of the export, and the numbers of items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import func, select

from gnomon.feedback.collection.round_size import PreferenceYield
from gnomon.feedback.export.exporter import ExportSpec, export_rows, start_export
from gnomon.feedback.store.schema import ItemRow, JudgementRow
from gnomon.feedback.store.store import Store


@dataclass(frozen=True)
class CollectionState:
    """Counts of a project, without gold items.

    Attributes:
        valid: valid preferences: the rows of an export with `valid_only`.
        left_out: number of things that give no valid preference, by the reasons of the export's manifest.
        judgements: all judgements, also of gold items and surplus ones, without corrections.
        open_items: items that need judgements.
        disputed_items: items that wait for a reviewer.
        votes_per_item: judgements that an item needs.
        so_far: what items gave that were not imported with their judgements.
    """

    valid: int
    left_out: Mapping[str, int]
    judgements: int
    open_items: int
    disputed_items: int
    votes_per_item: int
    so_far: PreferenceYield


def valid_spec(spec: ExportSpec) -> ExportSpec:
    """Return the export that writes valid preferences alone."""
    return replace(spec, kinds=("preferences",), valid_only=True)


def read_state(store: Store, project: str, spec: ExportSpec) -> CollectionState:
    """Count a project's valid preferences and items.

    Args:
        store: the feedback store.
        project: id of the project.
        spec: aggregation, excluded annotators and filters of the export.

    Raises:
        ConfigError: the project has no preferences, or not this aggregation.
        DataError: there is no such project, or no annotator has a reliability above 0.
    """
    about = store.project(project)
    export = start_export(about, valid_spec(spec))
    in_project = (ItemRow.project == project, ItemRow.gold.is_(None))
    with store.reading() as session:
        closed = set(session.scalars(select(ItemRow.key).where(*in_project, ItemRow.state == "closed")))
        enough = ItemRow.vote_count >= about.votes_per_item
        groups = session.execute(
            select(ItemRow.state, enough, func.count())
            .where(*in_project, ItemRow.state != "closed")
            .group_by(ItemRow.state, enough)
        ).all()
        prompts = session.scalar(
            select(func.count(ItemRow.prompt.distinct())).where(*in_project, ItemRow.state != "closed")
        )
        judgements = session.scalar(
            select(func.count())
            .select_from(JudgementRow)
            .join(ItemRow, ItemRow.key == JudgementRow.item)
            .where(ItemRow.project == project, JudgementRow.supersedes.is_(None))
        )
    collected = sum(
        closed.isdisjoint(row["items"]) for kind, row in export_rows(store, export) if kind == "preferences"
    )
    by_state: dict[str, int] = {}
    for state, _, count in groups:
        by_state[state] = by_state.get(state, 0) + count
    judged = sum(count for state, has_enough, count in groups if state != "open" or has_enough)
    return CollectionState(
        valid=export.rows["preferences"],
        left_out={reason: count for reason, count in export.left_out.items() if count},
        judgements=int(judgements or 0),
        open_items=by_state.get("open", 0),
        disputed_items=by_state.get("disputed", 0),
        votes_per_item=about.votes_per_item,
        so_far=PreferenceYield(collected, judged, sum(by_state.values()), int(prompts or 0)),
    )
