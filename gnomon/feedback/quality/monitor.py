"""Quality monitor: loads a project's judgements as votes, and pauses annotators with a low reliability.

A judgement is effective if it is not superseded by a correction and its annotator has not withdrawn. It becomes
a vote whose label is `task_types.vote_label`: the answer reduced to what agreement compares, in the item's own
order of completions, so that displayed orders do not matter. Gold items measure annotators, and are excluded
from agreement. So are written answers: no two of them are the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select

from gnomon.feedback.quality.reliability import (
    WRITTEN_WEIGHTS,
    AnnotatorReliability,
    annotator_reliability,
    annotators_to_pause,
)
from gnomon.feedback.quality.written_quality import CheckedText, checked_texts
from gnomon.feedback.store.schema import (
    AnnotatorRow,
    CompletionRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    PromptRow,
    effective_judgements,
)
from gnomon.feedback.store.store import Store, require
from gnomon.feedback.task_types import DEMONSTRATION, Setup, limits_of, setup_of
from gnomon.feedback.tasks.gold_items import gold_labels
from gnomon.feedback.tasks.judgements import judgement_vote, snapshot, stored_judgement
from gnomon.stats.votes import Vote

CHECK_INTERVAL = 5  # judgements of an annotator between two checks
REST_FACTOR = (
    100.0  # after a check, none starts for this many times its duration: at most 1% of the time is spent
)


@dataclass(frozen=True)
class ProjectVotes:
    """The votes of a project's annotators.

    Attributes:
        votes: one per counted judgement, and per effective judgement of gold items; `Vote.item` is the item's
            key, or of written answers the judgement's id.
        gold: correct label of each gold item.
        categories: category of each item's prompt.
        answers: for each vote, the judgement's answer and its displayed order of completion ids.
        completion_ids: ids of each item's completions, in the item's own order.
        setup: the project's settings.
        task: the project's task.
        anonymous: placeholder ids for imported ratings without annotator names. Id k is the k-th rating of each
            item, so it is excluded from statistics per annotator.
    """

    votes: list[Vote]
    gold: dict[int, Hashable]
    categories: dict[int, str]
    answers: list[tuple[dict[str, Any], list[str]]]
    completion_ids: dict[int, list[str]]
    setup: Setup
    task: str
    anonymous: frozenset[str] = frozenset()

    def without_anonymous(self, votes: Iterable[Vote]) -> list[Vote]:
        """Return the votes whose annotator is the same person on all items."""
        return [vote for vote in votes if vote.annotator not in self.anonymous]

    def annotator_reliability(self) -> list[AnnotatorReliability]:
        """Return the reliability of each annotator, sorted by id."""
        weights = WRITTEN_WEIGHTS if self.task == DEMONSTRATION else None
        votes = self.without_anonymous(self.votes)
        return annotator_reliability(votes, self.gold, limits_of(self.setup), weights=weights)


def load_votes(store: Store, project: str) -> ProjectVotes:
    """Load a project's counted judgements, and all effective judgements of its gold items, as votes.

    Raises:
        DataError: there is no such project.
    """
    with snapshot(store) as session:
        project_row = require(session.get(ProjectRow, project), "project", project)
        setup = setup_of(project_row.settings)
        lengths_query = select(
            CompletionRow.key, CompletionRow.id, func.length(CompletionRow.text).label("length")
        )
        texts = session.execute(lengths_query.where(CompletionRow.project == project)).all()
        ids, lengths = {row.key: row.id for row in texts}, {row.id: row.length for row in texts}
        items = session.execute(
            select(ItemRow.key, ItemRow.completions, PromptRow.category)
            .join(PromptRow, PromptRow.key == ItemRow.prompt)
            .where(ItemRow.project == project)
        ).all()
        completion_ids = {row.key: [ids[key] for key in row.completions] for row in items}
        gold = gold_labels(session, project, ids)
        votes: list[Vote] = []
        answers: list[tuple[dict[str, Any], list[str]]] = []
        written = checked_texts(session, project) if project_row.task == DEMONSTRATION else {}
        statement = effective_judgements(JudgementRow).join(ItemRow, ItemRow.key == JudgementRow.item)
        for row in session.scalars(statement.where(ItemRow.project == project).order_by(JudgementRow.sequence)):
            if row.surplus and row.item not in gold:
                continue
            vote = judgement_vote(stored_judgement(row), row.item, completion_ids[row.item], lengths)
            votes.append(
                vote if project_row.task != DEMONSTRATION else _of_text(vote, row.id, written.get(row.id))
            )
            answers.append((row.answer, row.shown))
        anonymous = frozenset(session.scalars(select(AnnotatorRow.id).where(AnnotatorRow.kind == "anonymous")))
    categories = {row.key: row.category for row in items}
    return ProjectVotes(votes, gold, categories, answers, completion_ids, setup, project_row.task, anonymous)


def _of_text(vote: Vote, judgement: str, checked: CheckedText | None) -> Vote:
    """Return the vote of a written text or a review: of an item of its own, so that it agrees with no other."""
    if checked is None:
        return replace(vote, item=judgement)
    accepted = None if checked.text.review is None else checked.outcome == "accepted"
    return replace(vote, item=judgement, flagged=bool(checked.flags), accepted=accepted)


class QualityMonitor:
    """Checks a project's annotators from time to time, and pauses those with a low reliability.

    Args:
        store: the feedback store.
        project: id of the project.
        clock: monotonic clock in seconds, to measure the duration of a check.
    """

    def __init__(self, store: Store, project: str, *, clock: Callable[[], float] = time.perf_counter):
        self.store = store
        self.project = project
        self.clock = clock
        self._counts: dict[str, int] = {}
        self._running = threading.Lock()
        self._not_before = 0.0

    def record_judgement(self, annotator: str) -> bool:
        """Count a judgement of an annotator; return whether a check is due."""
        self._counts[annotator] = (self._counts.get(annotator, 0) + 1) % CHECK_INTERVAL
        return self._counts[annotator] == 0 and self.clock() >= self._not_before

    def check(self) -> list[str]:
        """Pause annotators below the project's `min_reliability` and return their ids.

        Checks never overlap: during a check another call returns at once.
        """
        if not self._running.acquire(blocking=False):
            return []
        start = self.clock()
        try:
            return self._pause_unreliable()
        finally:
            end = self.clock()
            self._not_before = end + REST_FACTOR * (end - start)
            self._running.release()

    def _pause_unreliable(self) -> list[str]:
        if setup_of(self.store.project(self.project).settings).min_reliability is None:
            return []
        loaded = load_votes(self.store, self.project)
        min_reliability, min_votes = loaded.setup.min_reliability, loaded.setup.min_votes_before_pause
        assert min_reliability is not None
        records = {record.annotator: record for record in loaded.annotator_reliability()}
        low = set(annotators_to_pause(records.values(), min_reliability, min_votes))
        paused = []
        with self.store.writing() as session:
            active = select(AnnotatorRow).where(AnnotatorRow.id.in_(low), AnnotatorRow.state == "active")
            for row in session.scalars(active.order_by(AnnotatorRow.id).with_for_update(key_share=True)).all():
                # An annotator whom a person has activated again is checked after `min_votes` new judgements.
                since = sum(v.annotator == row.id and v.when > (row.resumed or 0.0) for v in loaded.votes)
                if since >= min_votes:
                    # The column `below` holds the reliability at which they were paused.
                    row.state, row.below = "paused", records[row.id].score
                    paused.append(row.id)
        return paused


def non_gold_votes(loaded: ProjectVotes) -> Iterator[tuple[Vote, dict[str, Any], list[str]]]:
    """Yield the votes on items that are not gold, each with its answer and its displayed order of ids."""
    for vote, (answer, shown) in zip(loaded.votes, loaded.answers, strict=True):
        if vote.item not in loaded.gold:
            yield vote, answer, shown
