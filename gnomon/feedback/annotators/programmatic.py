"""Annotators that are programs: they take items and answer them through the same queue as people.

A program judges by scores, one for each completion: a rule's (`feedback.rule_raters`), a reward model's, or
what a simulated rater sees (`feedback.simulated`). What is said of scores depends on the project's task alone.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gnomon.core.errors import ConfigError
from gnomon.core.storage.digests import digest
from gnomon.feedback.generation.generate import Watching
from gnomon.feedback.store.store import Store
from gnomon.feedback.task_types import Setup, setup_of
from gnomon.feedback.tasks.queue import Queue, Said, Task
from gnomon.rewards.reward import Reward, numbers_of

Kind = Literal["rule", "judge", "simulated"]
NAMESPACE = uuid.UUID("5f1b7a52-0d8e-4f55-9c9d-2f0c5a0c9b11")  # of the ids of programs' judgements


@dataclass(frozen=True)
class Opinion:
    """What a program says of a task; without an answer it gives the item back."""

    answer: dict[str, Any] | None
    reason: str = ""
    confidence: float | None = None


class Rater(Protocol):
    """A program that judges.

    Attributes:
        name: what the store shows.
        kind: what it is in the store.
        identity: all that its judgements depend on, so that the same program is the same annotator.
    """

    name: str
    kind: Kind
    identity: dict[str, Any]

    def judge(self, task: Task, setup: Setup, number: int) -> Opinion:
        """What it says of a task, when it has judged `number` others before."""


@dataclass
class Worked:
    """How many items an annotator judged, and which it gave back, with the reason."""

    judged: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list)


def enrol(store: Store, rater: Rater) -> str:
    """The annotator that a program is in a store: made once, and the same for the same program."""
    return store.add_annotator(rater.name, kind=rater.kind, id=digest([rater.kind, rater.identity])[:16])


def work(
    store: Store,
    project: str,
    rater: Rater,
    *,
    most: int | None = None,
    lease: float | None = None,
    stop: object = False,
    watch: Watching | None = None,
) -> Worked:
    """Judge items until there is none for this program, or `most`, or `stop` becomes true.

    A judgement's id is made of the annotator and the item, so a run that is killed and begun again adds nothing
    twice. No time is noted: how fast a program is says nothing of its care.
    """
    queue = Queue(store, project) if lease is None else Queue(store, project, lease=lease)
    setup, annotator, done = setup_of(store.project(project).settings), enrol(store, rater), Worked()
    number = queue.judged_by(annotator)
    while not stop and (most is None or done.judged < most) and (task := queue.take(annotator)) is not None:
        opinion = rater.judge(task, setup, number + done.judged)
        if opinion.answer is None:
            queue.skip(annotator, task.item, opinion.reason)
            done.skipped.append((task.item, opinion.reason))
            continue
        name = str(uuid.uuid5(NAMESPACE, f"{annotator}/{project}/{task.item}"))
        queue.submit(Said(name, task.item, annotator, opinion.answer, opinion.reason, opinion.confidence))
        done.judged += 1
        if watch:
            watch.at(done.judged)
    return done


class ScoredRater:
    """A rule or a reward model as an annotator.

    Attributes:
        tie: two completions whose scores differ by no more are equally good.
    """

    def __init__(self, reward: Reward, kind: Kind, identity: dict[str, Any], *, tie: float = 0.0, name: str = ""):
        if not (math.isfinite(tie) and tie >= 0):
            raise ConfigError(f"scores that differ by {tie} cannot tie; give a number from 0.")
        self.reward = reward
        self.name = f"{kind}: {name or reward.name}"
        self.kind: Kind = kind
        self.identity = {**identity, "tie": tie}
        self.tie = tie

    def judge(self, task: Task, setup: Setup, number: int) -> Opinion:
        """By the scores; an item on which one of them failed is given back."""
        scores, failures = numbers_of(self.reward, [task.prompt] * len(task.completions), task.completions)
        if not all(math.isfinite(score) for score in scores):
            reasons = [reason for _, reason in failures] or ["a score is not a finite number"]
            return Opinion(None, reasons[0])
        return Opinion(answer_by(scores, task.kind, setup, tie=self.tie, unit=self.kind == "judge"))


def answer_by(
    scores: Sequence[float], task: str, setup: Setup, *, tie: float = 0.0, unit: bool = False
) -> dict[str, Any]:
    """What scores say of completions as they are shown, in the form of the project's task.

    Args:
        scores: one for each completion; higher is better.
        task: `pair`, `ranking`, `rating` or `likert`.
        setup: of the project.
        tie: the largest difference of two that are equally good; of no meaning where there is no tie to say.
        unit: whether scores are logits, which have a place on a scale of their own: σ(score) of the way from its
            lowest to its highest number. Others are spread over the scale from the worst to the best of the item,
            and an item of equal scores has the middle.
    """
    if task == "pair":
        first, second = scores
        if abs(first - second) <= tie:
            return {"choice": "tie"}
        return {"choice": "first" if first > second else "second"}
    if task == "ranking":
        return {"order": sorted(range(len(scores)), key=lambda place: -scores[place])}
    low, high = setup.whole_scale_of(task)
    worst, best = min(scores), max(scores)
    if unit:
        shares = [0.5 * (1 + math.tanh(score / 2)) for score in scores]
    else:
        shares = [(score - worst) / (best - worst) if best > worst else 0.5 for score in scores]
    criteria = setup.asked_of(task)
    return {"scores": [dict.fromkeys(criteria, low + math.floor(share * (high - low) + 0.5)) for share in shares]}
