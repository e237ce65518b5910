"""Resolution of items: the state of an item follows from its counted judgements, or from a reviewer's decision.

`open` (needs more judgements), `done` (consensus or decision) or `disputed` (waits for a reviewer).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Sequence

from sqlalchemy.orm import Session

from gnomon.feedback.store import queries
from gnomon.feedback.store.schema import DecisionRow, ItemRow, JudgementRow, ProjectRow
from gnomon.feedback.store.written_work import Work, open_work, written_progress
from gnomon.feedback.task_types import setup_of, vote_label
from gnomon.feedback.written_answers import without_unmatched_reviews, written_label


def consensus(labels: Sequence[Hashable], threshold: float) -> Hashable | None:
    """Return the most frequent label if its share of the votes is larger; a tie is a label like others."""
    if not labels:
        return None
    label, count = Counter(labels).most_common(1)[0]
    return label if count > threshold * len(labels) else None


def resolve_item(session: Session, item: ItemRow, project: ProjectRow, now: float | None = None) -> None:
    """Update an item's state from its judgements. The caller has locked the item and flushed its changes.

    An item with fewer judgements than its target stays open. At the target it is done if there is a consensus, or
    a reviewer's decision; otherwise the target rises by one, up to the project's `max_votes`, and then the item
    is disputed. A surplus judgement fills a free slot before the item is assigned to anybody else.

    An item whose answer is written is done when it has as many accepted texts as it needs, and disputed when too
    many of the project's `max_votes` texts were rejected.

    Args:
        session: a transaction.
        item: the item; changed in place.
        project: the item's project.
        now: time in seconds since 1970; leases that end later fill a slot. By default the current time.
    """
    if item.state in ("gold", "closed"):
        return
    rows = session.execute(queries.RESOLUTION_CONTEXT, {"item": item.key}).all()
    if rows[0].decided:
        item.state = "done"
        return
    judgements = [judgement for _, judgement in rows if judgement is not None]
    _update_state(item, project, judgements)
    now = time.time() if now is None else now
    while item.state == "open" and _count_surplus(session, item, project, judgements, now):
        _update_state(item, project, judgements)


def _update_state(item: ItemRow, project: ProjectRow, judgements: Sequence[JudgementRow]) -> None:
    """Set an item's state and target from its counted judgements."""
    if not item.completions:
        _update_written(item, project, [row for row in judgements if not row.surplus])
        return
    # All judgements are of the same completions, so any order that is the same for all makes labels comparable.
    counted = [vote_label(row.answer, row.shown, sorted(row.shown)) for row in judgements if not row.surplus]
    item.vote_count = len(counted)
    threshold = setup_of(project.settings).consensus_threshold
    if len(counted) >= project.votes_per_item and consensus(counted, threshold) is not None:
        # The target falls where dissenters corrected their judgements, or withdrew.
        item.state, item.target_votes = "done", min(item.target_votes, len(counted))
    elif len(counted) < item.target_votes:
        item.state = "open"
    elif len(counted) >= max(project.max_votes, item.target_votes):
        item.state = "disputed"
    else:
        item.state, item.target_votes = "open", len(counted) + 1


def _update_written(item: ItemRow, project: ProjectRow, counted: Sequence[JudgementRow]) -> None:
    """Set the state and target of an item whose answer is written; the target is the number of judgements."""
    progress = written_progress(project, counted)
    item.vote_count, item.target_votes = len(counted), max(1, len(counted) + progress.missing)
    if progress.missing:
        item.state = "open"
    else:
        item.state = "done" if progress.accepted >= project.votes_per_item else "disputed"


def _count_surplus(
    session: Session, item: ItemRow, project: ProjectRow, judgements: Sequence[JudgementRow], now: float
) -> bool:
    """Count the oldest surplus judgement for which the item has a free slot; return whether one was counted."""
    surplus = [row for row in judgements if row.surplus]
    if not surplus:
        return False
    if item.completions:
        filled = int(session.scalar(queries.FILLED_SLOTS, {"item": item.key, "now": now}) or 0)
        oldest = surplus[0] if filled < item.target_votes else None
    else:
        work = open_work(session, project, item, now)
        oldest = next((row for row in surplus if work.has(Work(row.answer.get("reviews")))), None)
    if oldest is None:
        return False
    oldest.surplus = False
    session.flush()
    return True


def counted_labels(session: Session, item: ItemRow) -> list[Hashable]:
    """Return the label of each counted judgement of an item, in the item's own order.

    A review counts only with the written text that it reviews.
    """
    if not item.completions:
        counted = session.scalars(queries.COUNTED_JUDGEMENTS, {"item": item.key}).all()
        return [written_label(row.answer) for row in without_unmatched_reviews(counted)]
    ids = completion_ids(session, item)
    rows = session.execute(queries.COUNTED_ANSWERS, {"item": item.key}).all()
    return [vote_label(answer, shown, ids) for answer, shown in rows]


def completion_ids(session: Session, item: ItemRow) -> list[str]:
    """Return the ids of an item's completions, in the item's own order."""
    rows = session.execute(queries.COMPLETION_IDS, {"completions": item.completions})
    ids = {row.key: row.id for row in rows}
    return [ids[key] for key in item.completions]


def effective_decision(session: Session, item: int) -> DecisionRow | None:
    """Return the last decision on an item by a reviewer who has not withdrawn."""
    row: DecisionRow | None = session.scalars(queries.EFFECTIVE_DECISION, {"item": item}).first()
    return row
