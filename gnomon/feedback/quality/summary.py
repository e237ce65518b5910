"""Quality report of a project: agreement, reliability of annotators, and minority views.

Annotators agree on an item if their labels are equal (`task_types.vote_label`). Rankings are also compared on
each pair of completions, and scores on each criterion.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from sqlalchemy import case, exists, func, or_, select

from gnomon.feedback.quality.monitor import ProjectVotes, load_votes, non_gold_votes
from gnomon.feedback.quality.reliability import AnnotatorReliability
from gnomon.feedback.quality.score_agreement import Intraclass, intraclass, ranking_agreement
from gnomon.feedback.quality.written_quality import WrittenCounts, count_texts, load_checked_texts
from gnomon.feedback.requirements import stored_profile
from gnomon.feedback.store.schema import AnnotatorRow, InviteRow, ItemRow, JudgementRow, superseded
from gnomon.feedback.store.store import Store
from gnomon.feedback.task_types import DEMONSTRATION, full_label
from gnomon.feedback.tasks.qualification import Qualification
from gnomon.stats.agreement import Level, cohen_kappa, percent_agreement
from gnomon.stats.confidence import ConfidenceCalibration, confidence_calibration
from gnomon.stats.dawid_skene import dawid_skene
from gnomon.stats.intervals import Estimate
from gnomon.stats.minority_opinions import MinorityView, minority_views
from gnomon.stats.panel_agreement import PairAgreement, PanelAgreement, agreement_by_category, panel_agreement
from gnomon.stats.votes import Vote

MAX_PAIRS = 200  # pairs of annotators in a report
MAX_STEPS = 100  # of Dawid and Skene's EM; a web page waits for it
LEVELS: dict[str, Level] = {"rating": "interval", "likert": "ordinal"}
PAIR_LABELS = ("a", "b", "tie", "bad")


@dataclass(frozen=True)
class AnnotatorQuality:
    """Metrics and reliability of one annotator.

    Attributes:
        about: their row of `annotator_table`.
        record: metrics and reliability; None before their first judgement.
        likely: expected accuracy of their votes by Dawid and Skene; None without votes.
    """

    about: dict[str, Any]
    record: AnnotatorReliability | None
    likely: float | None


@dataclass(frozen=True)
class QualityReport:
    """Agreement and reliability of a project's annotators.

    Attributes:
        task: the project's task.
        votes: number of votes on items that are not gold.
        gold: number of votes on gold items.
        overall: agreement of all annotators.
        aspects: the same for each criterion of scores, or for the pairs of a ranking.
        order: mean Kendall's τ-b of two annotators on one item, of rankings and scores.
        intraclass: intraclass correlations of scores, by criterion.
        categories: agreement by category of the prompt.
        pairs: agreement of each pair of annotators with common items; the `MAX_PAIRS` pairs with most of them.
        people: annotators who were invited or have judged.
        minority: items on which a consistent minority disagrees.
        when: time of the report, in seconds since 1970.
        confidence: calibration of stated confidence; None if no vote has one that can be checked.
        written: numbers of written texts; None for tasks in which annotators compare or score completions. With
            them no agreement is defined, and its figures have no cases.
    """

    task: str
    votes: int
    gold: int
    overall: PanelAgreement
    aspects: dict[str, PanelAgreement]
    order: Estimate
    intraclass: dict[str, Intraclass]
    categories: dict[str, PanelAgreement]
    pairs: list[tuple[str, str, PairAgreement]]
    people: list[AnnotatorQuality]
    minority: list[MinorityView]
    when: float
    confidence: ConfidenceCalibration | None = None
    written: WrittenCounts | None = None

    def names(self) -> dict[str, str]:
        """Return the names of the annotators, by id."""
        return {person.about["id"]: str(person.about["name"]) for person in self.people}

    def to_json(self) -> dict[str, Any]:
        """Return the report as dictionaries and lists."""
        report = asdict(self)
        for person, plain in zip(self.people, report["people"], strict=True):
            if person.record is not None:
                plain["record"]["metrics"] |= {
                    name: share
                    | {"value": getattr(person.record.metrics, name).value}
                    | {"interval": getattr(person.record.metrics, name).interval}
                    for name, share in plain["record"]["metrics"].items()
                    if isinstance(share, dict) and "hits" in share
                }
        return report


def quality_report(store: Store, project: str) -> QualityReport:
    """Compute the quality report of a project from its judgements.

    Raises:
        DataError: there is no such project.
    """
    loaded = load_votes(store, project)
    if loaded.task == DEMONSTRATION:
        return _written_report(store, project, loaded)
    plain = [vote for vote, _, _ in non_gold_votes(loaded)]
    categories = {item: name for item, name in loaded.categories.items() if name}
    labels = PAIR_LABELS if loaded.task == "pair" else None
    reliability = {record.annotator: record for record in loaded.annotator_reliability()}
    named = loaded.without_anonymous(plain)
    accuracy = _expected_accuracy(named)
    aspects = _aspects(loaded)
    calibration = confidence_calibration(loaded.without_anonymous(loaded.votes), loaded.gold)
    return QualityReport(
        task=loaded.task,
        votes=len(plain),
        gold=len(loaded.votes) - len(plain),
        overall=panel_agreement(plain, labels=labels),
        aspects=_panels(loaded, aspects),
        order=ranking_agreement(loaded),
        intraclass={
            name: intraclass(loaded.without_anonymous(votes))
            for name, votes in aspects.items()
            if loaded.task in LEVELS
        },
        categories=agreement_by_category(plain, categories, labels=labels),
        pairs=_pairs(named),
        people=[
            AnnotatorQuality(about, reliability.get(about["id"]), accuracy.get(about["id"]))
            for about in annotator_table(store, project)
        ],
        minority=minority_views(_coarse_votes(named, loaded)),
        when=time.time(),
        confidence=calibration if calibration.votes else None,
    )


def _written_report(store: Store, project: str, loaded: ProjectVotes) -> QualityReport:
    """Compute the quality report of written answers, which have no agreement."""
    reliability = {record.annotator: record for record in loaded.annotator_reliability()}
    return QualityReport(
        task=loaded.task,
        votes=len(loaded.votes),
        gold=0,
        overall=panel_agreement([]),
        aspects={},
        order=Estimate(None, None, None),
        intraclass={},
        categories={},
        pairs=[],
        people=[
            AnnotatorQuality(about, reliability.get(about["id"]), None)
            for about in annotator_table(store, project)
        ],
        minority=[],
        when=time.time(),
        written=count_texts(load_checked_texts(store, project)),
    )


def _coarse_votes(votes: list[Vote], loaded: ProjectVotes) -> list[Vote]:
    """Replace scores of a single completion by the third of the scale they are in, to detect minority views.

    A score of 2 where most give 9 is a different view; a score of 8 is not.
    """
    low, high = loaded.setup.whole_scale_of(loaded.task)
    if high <= low:
        return votes
    thirds = ("low", "middle", "high")
    return [
        replace(vote, label=thirds[min(2, max(0, int(3 * (vote.label - low + 0.5) / (high - low + 1))))])
        if isinstance(vote.label, int)
        else vote
        for vote in votes
    ]


def _aspects(loaded: ProjectVotes) -> dict[str, list[Vote]]:
    """Split rankings into votes on each pair of completions, and scores into votes by criterion."""
    aspects: dict[str, list[Vote]] = {}
    for vote, answer, shown in non_gold_votes(loaded):
        whole: Any = full_label(answer, shown, loaded.completion_ids[vote.item])  # type: ignore[index]
        if "order" in answer:
            for one, other in combinations(range(len(whole)), 2):
                first = whole.index(one) < whole.index(other)
                part = replace(vote, item=(vote.item, one, other), label="a" if first else "b")
                aspects.setdefault("order", []).append(part)
        elif "scores" in answer:
            for index, scores in enumerate(whole):
                for criterion, score in scores:
                    part = replace(vote, item=(vote.item, index), label=score)
                    aspects.setdefault(criterion, []).append(part)
    return aspects


def _panels(loaded: ProjectVotes, aspects: dict[str, list[Vote]]) -> dict[str, PanelAgreement]:
    """Compute the agreement on each aspect."""
    level = LEVELS.get(loaded.task, "nominal")
    low, high = loaded.setup.whole_scale_of(loaded.task)
    labels: Sequence[Any] | None = range(low, high + 1) if high > low else ("a", "b")
    return {name: panel_agreement(votes, level, labels=labels) for name, votes in aspects.items()}


def _pairs(votes: list[Vote]) -> list[tuple[str, str, PairAgreement]]:
    """Compute the agreement of each pair of annotators, for the `MAX_PAIRS` pairs with most common items."""
    by_item: dict[Hashable, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote.item].append(vote)
    shared: dict[tuple[str, str], list[tuple[Hashable, Hashable]]] = defaultdict(list)
    for item_votes in by_item.values():
        for one, other in combinations(sorted(item_votes, key=lambda vote: vote.annotator), 2):
            shared[one.annotator, other.annotator].append((one.label, other.label))
    pairs = sorted(shared, key=lambda names: (-len(shared[names]), names))[:MAX_PAIRS]
    return [
        (*names, PairAgreement(percent_agreement(shared[names]), cohen_kappa(shared[names]))) for names in pairs
    ]


def _expected_accuracy(votes: list[Vote]) -> dict[str, float]:
    """Estimate the share of each annotator's votes that are correct, by Dawid and Skene."""
    if not votes:
        return {}
    consensus = dawid_skene(votes, tolerance=1e-8, max_steps=MAX_STEPS)
    correct = np.diagonal(consensus.confusion, axis1=1, axis2=2)  # [A, L]
    accuracy = np.nansum(consensus.expected_votes * correct, axis=1) / consensus.expected_votes.sum(axis=1)  # [A]
    return dict(zip(consensus.annotators, accuracy.tolist(), strict=True))


def annotator_table(store: Store, project: str) -> list[dict[str, Any]]:
    """Return a row for each annotator who was invited or has judged.

    `judgements` counts those that are not surplus, including those of withdrawn annotators; `surplus` judgements
    and those of `gold` items have counts of their own. Over annotators who have not withdrawn they add up to the
    numbers of `Queue.progress`. `role` is None without a valid link; `invited` is true if there ever was a link;
    `below` and `resumed` are columns of `AnnotatorRow`; `profile` is the text of their profile;
    `qualification` is a `QualificationRecord`, or None without an attempt.
    """
    plain = ItemRow.gold.is_(None)
    counts = (
        select(
            JudgementRow.annotator,
            func.sum(case((plain & ~JudgementRow.surplus, 1), else_=0)).label("judgements"),
            func.sum(case((plain & JudgementRow.surplus, 1), else_=0)).label("surplus"),
            func.sum(case((plain, 0), else_=1)).label("gold"),
            func.max(JudgementRow.created).label("last"),
        )
        .join(ItemRow, ItemRow.key == JudgementRow.item)
        .where(ItemRow.project == project, ~superseded())
        .group_by(JudgementRow.annotator)
        .subquery()
    )
    statement = (
        select(AnnotatorRow, counts)
        .outerjoin(counts, counts.c.annotator == AnnotatorRow.id)
        .where(
            or_(
                counts.c.judgements.is_not(None),
                exists().where(InviteRow.annotator == AnnotatorRow.id, InviteRow.project == project),
            )
        )
        .order_by(counts.c.judgements.desc().nulls_last(), AnnotatorRow.name)
    )
    with store.reading() as session:
        rows: Sequence[Any] = session.execute(statement).all()
        links = session.execute(
            select(InviteRow.annotator, InviteRow.role, InviteRow.revoked).where(InviteRow.project == project)
        ).all()
        roles = {row.annotator: row.role for row in links if not row.revoked}
        invited = {row.annotator for row in links}
        qualifications = Qualification(store, project).records()
        return [
            {
                "id": annotator.id,
                "name": annotator.name,
                "kind": annotator.kind,
                "state": annotator.state,
                "role": roles.get(annotator.id),
                "invited": annotator.id in invited,
                "below": annotator.below,
                "resumed": annotator.resumed,
                "profile": str(stored_profile(annotator.profile)),
                "qualification": qualifications.get(annotator.id),
                "judgements": row.judgements or 0,
                "surplus": row.surplus or 0,
                "gold": row.gold or 0,
                "last": row.last,
            }
            for row in rows
            for annotator in [row[0]]
        ]
