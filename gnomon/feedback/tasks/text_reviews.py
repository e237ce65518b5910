"""Reviews of written texts: checks of a submitted review, and of the correction of a text under review."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from gnomon.core.errors import DataError
from gnomon.feedback.store import queries
from gnomon.feedback.store.schema import AssignmentRow, ItemRow, JudgementRow, ProjectRow
from gnomon.feedback.store.written_work import written_progress
from gnomon.feedback.written_answers import verdict_of


def with_verdict(session: Session, item: int, answer: dict[str, Any]) -> dict[str, Any]:
    """Return a written answer, with the verdict if it reviews another one.

    Args:
        session: a transaction.
        item: key of the item.
        answer: the answer, as `check_answer` returns it.

    Raises:
        DataError: the item has no such text, or a text is rejected without a review.
    """
    reviews = answer.get("reviews")
    if reviews is None:
        if answer.get("rejected"):
            raise DataError("only the text of another annotator can be rejected; answer again.")
        return answer
    row = session.scalars(queries.JUDGEMENT_BY_ID, {"judgement": reviews}).first()
    if row is None or row.item != item or "reviews" in row.answer:
        raise DataError(f"item {item} has no written text '{reviews}' to review; answer again.")
    return {**answer, "verdict": verdict_of(answer, row.answer)}


def check_review(
    session: Session, project: ProjectRow, item: ItemRow, assignment: AssignmentRow, answer: dict[str, Any]
) -> None:
    """Check that an answer is for the work that the annotator leased, and that the reviewed text is still there.

    Args:
        session: a transaction that has locked the item.
        project: the item's project.
        item: an item whose answer is written.
        assignment: the annotator's assignment.
        answer: the answer, as `with_verdict` returns it.

    Raises:
        DataError: the author of the reviewed text changed or withdrew it, or the annotator leased other work.
    """
    reviews = answer.get("reviews")
    if reviews == assignment.reviews:
        if reviews is None:
            return
        counted = session.scalars(queries.COUNTED_JUDGEMENTS, {"item": item.key}).all()
        if reviews in written_progress(project, counted).ids:
            return
    raise DataError("its author changed or withdrew the text meanwhile; review the one that is shown next.")


def is_reviewed(session: Session, row: JudgementRow, now: float) -> bool:
    """Return whether somebody has reviewed a written text, or has leased its review.

    Args:
        session: a transaction that has locked the item.
        row: the judgement with the text.
        now: time in seconds since 1970.
    """
    leases = session.scalars(queries.LIVE_LEASES, {"item": row.item, "now": now}).all()
    counted = session.scalars(queries.COUNTED_JUDGEMENTS, {"item": row.item}).all()
    return any(lease.reviews == row.id for lease in leases) or any(
        other.answer.get("reviews") == row.id for other in counted
    )
