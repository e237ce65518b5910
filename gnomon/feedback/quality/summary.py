"""How everybody does: agreement, reliability and minority views of one project, in one piece.

People agree on an item if their answers come down to the same (`answers.verdict`). Of rankings and scores there
is more to say: of rankings how far they agree on each two completions, of scores on each criterion.
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
from gnomon.feedback.quality.score_agreement import Intraclass, intraclass, order_agreement
from gnomon.feedback.store.schema import AnnotatorRow, InviteRow, ItemRow, JudgementRow, superseded
from gnomon.feedback.store.store import Store
from gnomon.feedback.task_types import label
from gnomon.stats.agreement import Level, cohen_kappa, percent_agreement
from gnomon.stats.dawid_skene import dawid_skene
from gnomon.stats.intervals import Estimate
from gnomon.stats.minority_opinions import MinorityView, minority_views
from gnomon.stats.panel_agreement import PairAgreement, PanelAgreement, agreement_by_category, panel_agreement
from gnomon.stats.votes import Vote

PAIRS = 200  # of annotators, of whom there may be thousands
STEPS = 100  # of Dawid and Skene's EM, which a page waits for
LEVELS: dict[str, Level] = {"rating": "interval", "likert": "ordinal"}
PAIR_LABELS = ("a", "b", "tie", "bad")


@dataclass(frozen=True)
class AnnotatorQuality:
    """An annotator, and how they do.

    Attributes:
        about: their id, name, kind, state, judgements and when the last came.
        record: what they did, and the reliability made of it; None before their first judgement.
        likely: expected share of their voices that are right by Dawid and Skene; None where these say nothing.
    """

    about: dict[str, Any]
    record: AnnotatorReliability | None
    likely: float | None


@dataclass(frozen=True)
class QualityReport:
    """All that the agreement and annotator pages show.

    Attributes:
        task: the project's.
        votes: on items that test nobody; `gold` are the others.
        overall: everybody together.
        aspects: the same for each criterion of scores, or for pairs of a ranking.
        order: mean Kendall's τ-b of two annotators on one item, of rankings.
        intraclass: intraclass correlations by criterion, of scores.
        categories: of prompts that have one.
        pairs: each two annotators with an item in common, those with most in common first; `PAIRS` at most.
        people: whoever was invited or judged.
        minority: views that a majority would hide.
        when: seconds since 1970.
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

    def names(self) -> dict[str, str]:
        """What annotators are called, by id."""
        return {person.about["id"]: str(person.about["name"]) for person in self.people}

    def to_json(self) -> dict[str, Any]:
        """The same in dictionaries and lists."""
        found = asdict(self)
        for person, plain in zip(self.people, found["people"], strict=True):
            if person.record is not None:
                plain["record"]["metrics"] |= {
                    name: share
                    | {"value": getattr(person.record.metrics, name).value}
                    | {"interval": getattr(person.record.metrics, name).interval}
                    for name, share in plain["record"]["metrics"].items()
                    if isinstance(share, dict) and "hits" in share
                }
        return found


def quality_report(store: Store, project: str) -> QualityReport:
    """Read a project's judgements, and say how everybody does.

    Raises:
        DataError: there is no such project.
    """
    heard = load_votes(store, project)
    plain = [vote for vote, _, _ in non_gold_votes(heard)]
    known = {item: name for item, name in heard.categories.items() if name}
    labels = PAIR_LABELS if heard.task == "pair" else None
    reliability = {record.annotator: record for record in heard.annotator_reliability()}
    of_people = heard.of_people(plain)
    likely = _likely(of_people)
    parts = _aspects(heard)
    return QualityReport(
        task=heard.task,
        votes=len(plain),
        gold=len(heard.votes) - len(plain),
        overall=panel_agreement(plain, labels=labels),
        aspects=_panels(heard, parts),
        order=order_agreement(heard),
        intraclass={
            name: intraclass(heard.of_people(votes)) for name, votes in parts.items() if heard.task in LEVELS
        },
        categories=agreement_by_category(plain, known, labels=labels),
        pairs=_pairs(of_people),
        people=[
            AnnotatorQuality(about, reliability.get(about["id"]), likely.get(about["id"]))
            for about in annotator_table(store, project)
        ],
        minority=minority_views(_sides(of_people, heard)),
        when=time.time(),
    )


def _sides(votes: list[Vote], heard: ProjectVotes) -> list[Vote]:
    """Votes as views can be told apart: scores of a single completion by the third of the scale they are in.

    Who gives 2 where most give 9 sees it otherwise; who gives 8 does not.
    """
    low, high = heard.setup.whole_scale_of(heard.task)
    if high <= low:
        return votes
    thirds = ("low", "middle", "high")
    return [
        replace(vote, label=thirds[min(2, max(0, int(3 * (vote.label - low + 0.5) / (high - low + 1))))])
        if isinstance(vote.label, int)
        else vote
        for vote in votes
    ]


def _aspects(heard: ProjectVotes) -> dict[str, list[Vote]]:
    """What a verdict leaves out, as votes: on each two of a ranking, by criterion on each completion."""
    found: dict[str, list[Vote]] = {}
    for vote, answer, shown in non_gold_votes(heard):
        said: Any = label(answer, shown, heard.names[vote.item])  # type: ignore[index]
        if "order" in answer:
            for one, other in combinations(range(len(said)), 2):
                first = said.index(one) < said.index(other)
                part = replace(vote, item=(vote.item, one, other), label="a" if first else "b")
                found.setdefault("order", []).append(part)
        elif "scores" in answer:
            for place, scores in enumerate(said):
                for criterion, score in scores:
                    part = replace(vote, item=(vote.item, place), label=score)
                    found.setdefault(criterion, []).append(part)
    return found


def _panels(heard: ProjectVotes, aspects: dict[str, list[Vote]]) -> dict[str, PanelAgreement]:
    """Agreement on each aspect."""
    level = LEVELS.get(heard.task, "nominal")
    low, high = heard.setup.whole_scale_of(heard.task)
    labels: Sequence[Any] | None = range(low, high + 1) if high > low else ("a", "b")
    return {name: panel_agreement(votes, level, labels=labels) for name, votes in aspects.items()}


def _pairs(votes: list[Vote]) -> list[tuple[str, str, PairAgreement]]:
    """Each two annotators by themselves."""
    by_item: dict[Hashable, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_item[vote.item].append(vote)
    shared: dict[tuple[str, str], list[tuple[Hashable, Hashable]]] = defaultdict(list)
    for voices in by_item.values():
        for one, other in combinations(sorted(voices, key=lambda vote: vote.annotator), 2):
            shared[one.annotator, other.annotator].append((one.label, other.label))
    most = sorted(shared, key=lambda names: (-len(shared[names]), names))[:PAIRS]
    return [
        (*names, PairAgreement(percent_agreement(shared[names]), cohen_kappa(shared[names]))) for names in most
    ]


def _likely(votes: list[Vote]) -> dict[str, float]:
    """The share of each annotator's voices that are right if Dawid and Skene's estimate is."""
    if not votes:
        return {}
    found = dawid_skene(votes, tolerance=1e-8, max_steps=STEPS)
    right = np.nansum(found.expected_votes * np.diagonal(found.confusion, axis1=1, axis2=2), axis=1)  # [A]
    return dict(zip(found.annotators, (right / found.expected_votes.sum(axis=1)).tolist(), strict=True))


def annotator_table(store: Store, project: str) -> list[dict[str, Any]]:
    """A row for whoever was invited or has judged: who they are, how many items they judged, and when last.

    `judgements` are those that count, or would if they had not withdrawn; `surplus` ones and those of `gold`
    items have numbers of their own. Of all who did not withdraw they add up to what `Queue.progress` says.
    `role` is None without a link that is valid, `invited` says whether there ever was one; `below` and
    `resumed` are as in `AnnotatorRow`.
    """
    plain = ItemRow.gold.is_(None)
    mine = (
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
    wanted = (
        select(AnnotatorRow, mine)
        .outerjoin(mine, mine.c.annotator == AnnotatorRow.id)
        .where(
            or_(
                mine.c.judgements.is_not(None),
                exists().where(InviteRow.annotator == AnnotatorRow.id, InviteRow.project == project),
            )
        )
        .order_by(mine.c.judgements.desc().nulls_last(), AnnotatorRow.name)
    )
    with store.reading() as session:
        found: Sequence[Any] = session.execute(wanted).all()
        links = session.execute(
            select(InviteRow.annotator, InviteRow.role, InviteRow.revoked).where(InviteRow.project == project)
        ).all()
        roles = {row.annotator: row.role for row in links if not row.revoked}
        invited = {row.annotator for row in links}
        return [
            {
                "id": who.id,
                "name": who.name,
                "kind": who.kind,
                "state": who.state,
                "role": roles.get(who.id),
                "invited": who.id in invited,
                "below": who.below,
                "resumed": who.resumed,
                "judgements": row.judgements or 0,
                "surplus": row.surplus or 0,
                "gold": row.gold or 0,
                "last": row.last,
            }
            for row in found
            for who in [row[0]]
        ]
