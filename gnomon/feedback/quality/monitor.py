"""Keeping watch: what the store's judgements say of those who made them, and who is paused for it.

One vote is made of each judgement that stands: its `answers.verdict`, so that orders as shown do not matter. Gold
items test annotators and are no part of how far people agree.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from gnomon.feedback.quality.reliability import AnnotatorReliability, annotator_reliability, paused
from gnomon.feedback.store.schema import (
    AnnotatorRow,
    CompletionRow,
    ItemRow,
    JudgementRow,
    ProjectRow,
    PromptRow,
    effective_judgements,
)
from gnomon.feedback.store.store import Store, existing
from gnomon.feedback.task_types import Setup, limits_of, setup_of
from gnomon.feedback.tasks.gold_items import gold_verdicts
from gnomon.feedback.tasks.judgements import judgement_vote, snapshot, stored_judgement
from gnomon.stats.votes import Vote

EVERY = 5  # judgements of an annotator between two looks
REST = (
    100.0  # a look is not repeated before so many times its own length has passed: it costs one percent at most
)


@dataclass(frozen=True)
class ProjectVotes:
    """What a project's annotators said.

    Attributes:
        votes: of all judgements that stand, of gold items too; an item's name is its number.
        gold: what is right of each gold item.
        categories: of each item's prompt.
        answers: for each vote the answer and what was shown, to see more of it than its verdict.
        names: ids of each item's completions, in the item's own order.
        setup: the project's.
        task: the project's.
        nameless: annotators that are places in lists of ratings without names: the same place is another person
            on each item, so nothing may be said of it as of a person.
    """

    votes: list[Vote]
    gold: dict[int, Hashable]
    categories: dict[int, str]
    answers: list[tuple[dict[str, Any], list[str]]]
    names: dict[int, list[str]]
    setup: Setup
    task: str
    nameless: frozenset[str] = frozenset()

    def of_people(self, votes: Iterable[Vote]) -> list[Vote]:
        """Those of annotators that are the same from item to item."""
        return [vote for vote in votes if vote.annotator not in self.nameless]

    def annotator_reliability(self) -> list[AnnotatorReliability]:
        """How far each annotator can be relied on, by id."""
        return annotator_reliability(self.of_people(self.votes), self.gold, limits_of(self.setup))


def load_votes(store: Store, project: str) -> ProjectVotes:
    """Read all judgements that count, and on gold items, which want as many as come, all that stand."""
    with snapshot(store) as session:
        asked = existing(session.get(ProjectRow, project), "project", project)
        setup = setup_of(asked.settings)
        about = select(CompletionRow.key, CompletionRow.id, func.length(CompletionRow.text).label("length"))
        texts = session.execute(about.where(CompletionRow.project == project)).all()
        ids, lengths = {row.key: row.id for row in texts}, {row.id: row.length for row in texts}
        items = session.execute(
            select(ItemRow.key, ItemRow.completions, PromptRow.category)
            .join(PromptRow, PromptRow.key == ItemRow.prompt)
            .where(ItemRow.project == project)
        ).all()
        names = {row.key: [ids[key] for key in row.completions] for row in items}
        gold = gold_verdicts(session, project, ids)
        votes: list[Vote] = []
        answers: list[tuple[dict[str, Any], list[str]]] = []
        wanted = effective_judgements(JudgementRow).join(ItemRow, ItemRow.key == JudgementRow.item)
        for row in session.scalars(wanted.where(ItemRow.project == project).order_by(JudgementRow.sequence)):
            if row.surplus and row.item not in gold:
                continue
            votes.append(judgement_vote(stored_judgement(row), row.item, names[row.item], lengths))
            answers.append((row.answer, row.shown))
        nameless = frozenset(session.scalars(select(AnnotatorRow.id).where(AnnotatorRow.kind == "anonymous")))
    categories = {row.key: row.category for row in items}
    return ProjectVotes(votes, gold, categories, answers, names, setup, asked.task, nameless)


class QualityMonitor:
    """Looks at a project's annotators now and then, and pauses those on whom it cannot rely.

    Args:
        store: where everything is.
        project: whose annotators.
        clock: seconds that only grow; what a look costs is measured with it.
    """

    def __init__(self, store: Store, project: str, *, clock: Callable[[], float] = time.perf_counter):
        self.store = store
        self.project = project
        self.clock = clock
        self._counts: dict[str, int] = {}
        self._alone = threading.Lock()
        self._not_before = 0.0

    def due(self, annotator: str) -> bool:
        """Count a judgement of an annotator; whether it is time to look."""
        self._counts[annotator] = (self._counts.get(annotator, 0) + 1) % EVERY
        return self._counts[annotator] == 0 and self.clock() >= self._not_before

    def check(self) -> list[str]:
        """Pause annotators below the project's `min_reliability`; returns their ids. Checks never overlap."""
        if not self._alone.acquire(blocking=False):
            return []
        began = self.clock()
        try:
            return self._look()
        finally:
            now = self.clock()
            self._not_before = now + REST * (now - began)
            self._alone.release()

    def _look(self) -> list[str]:
        if setup_of(self.store.project(self.project).settings).min_reliability is None:
            return []
        heard = load_votes(self.store, self.project)
        min_reliability, least = heard.setup.min_reliability, heard.setup.min_votes_before_pause
        assert min_reliability is not None
        found = {record.annotator: record for record in heard.annotator_reliability()}
        low = set(paused(found.values(), min_reliability, least))
        stopped = []
        with self.store.writing() as session:
            wanted = select(AnnotatorRow).where(AnnotatorRow.id.in_(low), AnnotatorRow.state == "active")
            for who in session.scalars(wanted.order_by(AnnotatorRow.id).with_for_update(key_share=True)).all():
                # Whom a person let go on is given as many judgements as anybody before they are looked at again.
                since = sum(v.annotator == who.id and v.when > (who.resumed or 0.0) for v in heard.votes)
                if since >= least:
                    who.state, who.below = "paused", found[who.id].score
                    stopped.append(who.id)
        return stopped


def non_gold_votes(heard: ProjectVotes) -> Iterator[tuple[Vote, dict[str, Any], list[str]]]:
    """The votes on items that test nobody, each with its answer and what was shown."""
    for vote, (answer, shown) in zip(heard.votes, heard.answers, strict=True):
        if vote.item not in heard.gold:
            yield vote, answer, shown
