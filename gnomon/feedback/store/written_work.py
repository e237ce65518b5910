"""Work left on an item whose answer is written: texts to write, and texts to review.

The caller holds the item's lock, so that two annotators never get the same work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from gnomon.feedback.store import queries
from gnomon.feedback.store.schema import AssignmentRow, ItemRow, JudgementRow, ProjectRow
from gnomon.feedback.task_types import setup_of
from gnomon.feedback.written_answers import written_texts


@dataclass(frozen=True)
class WrittenProgress:
    """Progress of an item.

    Attributes:
        unwritten: number of texts that are still needed.
        unreviewed: ids of the judgements whose texts need a review.
        accepted: number of texts that need nothing more.
        ids: ids of all judgements with a text.
    """

    unwritten: int
    unreviewed: tuple[str, ...]
    accepted: int
    ids: tuple[str, ...]

    @property
    def missing(self) -> int:
        """Number of judgements that are still needed."""
        return self.unwritten + len(self.unreviewed)


def written_progress(project: ProjectRow, counted: Sequence[JudgementRow]) -> WrittenProgress:
    """Return the progress of an item from its counted judgements.

    A rejected text is replaced by another one, up to `max_votes` texts in all.
    """
    approval = setup_of(project.settings).approval
    texts = written_texts(counted)
    outcomes = [one.outcome(approval) for one in texts]
    usable = len(texts) - outcomes.count("rejected")
    return WrittenProgress(
        max(0, min(project.votes_per_item - usable, project.max_votes - len(texts))),
        tuple(one.written.id for one, what in zip(texts, outcomes, strict=True) if what == "unreviewed"),
        outcomes.count("accepted"),
        tuple(one.written.id for one in texts),
    )


@dataclass(frozen=True)
class Work:
    """What an annotator does on an item: write a text, or review that of the judgement `reviews`."""

    reviews: str | None


@dataclass(frozen=True)
class OpenWork:
    """Work that nobody has leased.

    Attributes:
        progress: the item's progress.
        leases: leases that have not expired, other than the annotator's own.
    """

    progress: WrittenProgress
    leases: tuple[AssignmentRow, ...]

    def next(self) -> Work | None:
        """Return the work of the next annotator: a review before another text; `None` if there is none."""
        for reviews in self.progress.unreviewed:
            if self.has(Work(reviews)):
                return Work(reviews)
        return Work(None) if self.has(Work(None)) else None

    def has(self, work: Work) -> bool:
        """Return whether some work is left."""
        leased = sum(lease.reviews == work.reviews for lease in self.leases)
        if work.reviews is not None:
            return work.reviews in self.progress.unreviewed and not leased
        return self.progress.unwritten > leased


def open_work(
    session: Session, project: ProjectRow, item: ItemRow, now: float, own: AssignmentRow | None = None
) -> OpenWork:
    """Return the work on a locked item that nobody has leased.

    Args:
        session: a transaction.
        project: the item's project.
        item: an item whose answer is written.
        now: time in seconds since 1970.
        own: the annotator's own assignment, which does not count.
    """
    counted = session.scalars(queries.COUNTED_JUDGEMENTS, {"item": item.key}).all()
    leases = session.scalars(queries.LIVE_LEASES, {"item": item.key, "now": now}).all()
    return OpenWork(
        written_progress(project, counted),
        tuple(lease for lease in leases if own is None or lease.key != own.key),
    )
