"""Payment list of crowd platforms: each worker's judgements, time, quality and completion code."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from gnomon.feedback.quality.monitor import load_votes
from gnomon.feedback.quality.reliability import AnnotatorReliability
from gnomon.feedback.store.schema import (
    AnnotatorRow,
    CrowdLinkRow,
    CrowdVisitRow,
    CrowdWorkerRow,
    ItemRow,
    JudgementRow,
)
from gnomon.feedback.store.store import Store
from gnomon.feedback.task_types import vote_label
from gnomon.feedback.tasks.crowd_progress import SKIPPED


@dataclass(frozen=True)
class Payment:
    """Work of one worker for one link of a crowd platform.

    Attributes:
        platform: name of the platform.
        worker: the worker's id on the platform.
        link: key of the link.
        annotator: id of the annotator in the store.
        judgements: judged items, gold items and surplus judgements included; a corrected judgement counts once.
        skipped: items skipped since the first visit.
        gold_items: judged gold items.
        gold_correct: correct judgements of gold items.
        active_seconds: time spent on all judgements and corrections, without idle time.
        reliability: the annotator's reliability in the project; `None` if nothing measures it yet.
        state: `active`, `paused` or `withdrawn`.
        code: completion code; `None` if the worker has not finished.
        started: time of the first visit, in seconds since 1970.
        finished: time at which the worker got the code.
        details: the platform's own values, such as the study.
    """

    platform: str
    worker: str
    link: int
    annotator: str
    judgements: int
    skipped: int
    gold_items: int
    gold_correct: int
    active_seconds: float
    reliability: float | None
    state: str
    code: str | None
    started: float
    finished: float | None
    details: dict[str, str]


@dataclass
class _Work:
    """Sums over the judgements of one visit."""

    judgements: int = 0
    gold_items: int = 0
    gold_correct: int = 0
    active_seconds: float = 0.0


def payments(store: Store, project: str) -> list[Payment]:
    """Return the payment list of a project, by link and in order of the first visit.

    Raises:
        DataError: there is no such project.
    """
    loaded = load_votes(store, project)
    reliability = {record.annotator: record for record in loaded.annotator_reliability()}
    with store.reading() as session:
        visits = session.execute(
            select(CrowdVisitRow, CrowdWorkerRow, AnnotatorRow.state, SKIPPED)
            .join(CrowdLinkRow, CrowdLinkRow.key == CrowdVisitRow.link)
            .join(CrowdWorkerRow, CrowdWorkerRow.annotator == CrowdVisitRow.annotator)
            .join(AnnotatorRow, AnnotatorRow.id == CrowdVisitRow.annotator)
            .where(CrowdLinkRow.project == project)
            .order_by(CrowdVisitRow.link, CrowdVisitRow.created, CrowdVisitRow.invite)
        ).all()
        rows = session.execute(
            select(
                JudgementRow.id,
                JudgementRow.invite,
                JudgementRow.item,
                JudgementRow.answer,
                JudgementRow.shown,
                JudgementRow.seconds,
                JudgementRow.supersedes,
            )
            .join(ItemRow, ItemRow.key == JudgementRow.item)
            .join(CrowdVisitRow, CrowdVisitRow.invite == JudgementRow.invite)
            .where(ItemRow.project == project)
        ).all()
    corrected = {row.supersedes for row in rows if row.supersedes is not None}
    work: dict[str, _Work] = defaultdict(_Work)
    for row in rows:
        own = work[row.invite]
        own.active_seconds += float((row.seconds or {}).get("active") or 0.0)
        if row.id in corrected:
            continue
        own.judgements += 1
        if row.item in loaded.gold:
            own.gold_items += 1
            own.gold_correct += loaded.gold[row.item] == vote_label(
                row.answer, row.shown, loaded.completion_ids[row.item]
            )
    return [
        Payment(
            platform=worker.platform,
            worker=worker.worker,
            link=visit.link,
            annotator=visit.annotator,
            judgements=work[visit.invite].judgements,
            skipped=skipped,
            gold_items=work[visit.invite].gold_items,
            gold_correct=work[visit.invite].gold_correct,
            active_seconds=round(work[visit.invite].active_seconds, 1),
            reliability=_score(reliability.get(visit.annotator)),
            state=state,
            code=visit.code,
            started=visit.created,
            finished=visit.finished,
            details=visit.details,
        )
        for visit, worker, state, skipped in visits
    ]


def payment_rows(listed: list[Payment]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns and rows of a payment list as a table; each value of the platform is a column."""
    details = sorted({name for payment in listed for name in payment.details})
    fields = [name for name in Payment.__dataclass_fields__ if name != "details"]
    rows = [
        {name: getattr(payment, name) for name in fields}
        | {name: payment.details.get(name, "") for name in details}
        for payment in listed
    ]
    return [*fields, *details], rows


def _score(record: AnnotatorReliability | None) -> float | None:
    return None if record is None else record.score
