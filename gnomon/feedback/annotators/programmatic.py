"""Programmatic annotators: programs that lease and judge items through the same queue as people.

A program scores each completion: with a rule (`annotators.rules`), a reward model, or simulated utilities
(`annotators.simulated`). The project's task determines how scores become an answer.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gnomon.core.errors import ConfigError
from gnomon.core.storage.digests import digest
from gnomon.feedback.generation.generate import ProgressSink
from gnomon.feedback.store.store import Store
from gnomon.feedback.task_types import Setup, setup_of
from gnomon.feedback.tasks.queue import AnnotationTask, NewJudgement, Queue
from gnomon.rewards.reward import Reward, numbers_of

AnnotatorKind = Literal["rule", "judge", "simulated"]
NAMESPACE = uuid.UUID("5f1b7a52-0d8e-4f55-9c9d-2f0c5a0c9b11")  # for the ids of their judgements


@dataclass(frozen=True)
class ProgramJudgement:
    """A program's judgement of an item; with `answer=None` it skips the item."""

    answer: dict[str, Any] | None
    reason: str = ""
    confidence: float | None = None


class ProgramAnnotator(Protocol):
    """A program that judges items.

    Attributes:
        name: shown in the store.
        kind: kind of annotator in the store.
        identity: everything its judgements depend on; equal identities are the same annotator.
    """

    name: str
    kind: AnnotatorKind
    identity: dict[str, Any]

    def judge(self, task: AnnotationTask, setup: Setup, number: int) -> ProgramJudgement:
        """Judge an item.

        Args:
            task: the leased item.
            setup: setup of the project.
            number: how many items it has judged before.
        """


@dataclass
class WorkSummary:
    """Number of judged items, and the skipped ones with the reason."""

    judged: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list)


def register(store: Store, program: ProgramAnnotator) -> str:
    """Return the program's annotator id, adding it to the store if it is new."""
    return store.add_annotator(program.name, kind=program.kind, id=digest([program.kind, program.identity])[:16])


def judge_items(
    store: Store,
    project: str,
    program: ProgramAnnotator,
    *,
    max_judgements: int | None = None,
    lease: float | None = None,
    stop: object = False,
    progress: ProgressSink | None = None,
) -> WorkSummary:
    """Judge items until none is left, `max_judgements` is reached, or `stop` becomes true.

    A judgement's id is derived from the annotator and the item, so a run that is killed and restarted adds
    nothing twice. No time is recorded: a program's speed does not indicate its care.

    Args:
        store: database with the project.
        project: id of the project.
        program: the annotator.
        max_judgements: limit of judgements in this call; `None`: no limit.
        lease: seconds of a lease; `None`: the default.
        stop: becomes true to stop after the current item.
        progress: receives the number of judged items.
    """
    queue = Queue(store, project) if lease is None else Queue(store, project, lease_seconds=lease)
    setup, annotator, summary = setup_of(store.project(project).settings), register(store, program), WorkSummary()
    number = queue.judged_count(annotator)
    while (
        not stop
        and (max_judgements is None or summary.judged < max_judgements)
        and (task := queue.take(annotator)) is not None
    ):
        judgement = program.judge(task, setup, number + summary.judged)
        if judgement.answer is None:
            queue.skip(annotator, task.item, judgement.reason)
            summary.skipped.append((task.item, judgement.reason))
            continue
        name = str(uuid.uuid5(NAMESPACE, f"{annotator}/{project}/{task.item}"))
        queue.submit(
            NewJudgement(name, task.item, annotator, judgement.answer, judgement.reason, judgement.confidence)
        )
        summary.judged += 1
        if progress:
            progress.at(summary.judged)
    return summary


class ScoringAnnotator:
    """A rule or a reward model as an annotator.

    Args:
        reward: scores completions.
        kind: kind of annotator.
        identity: everything the scores depend on.
        tie: scores that differ by at most this much are a tie.
        name: shown in the store; the reward's own if empty.
    """

    def __init__(
        self, reward: Reward, kind: AnnotatorKind, identity: dict[str, Any], *, tie: float = 0.0, name: str = ""
    ):
        if not (math.isfinite(tie) and tie >= 0):
            raise ConfigError(f"the largest difference of a tie is {tie}; give a finite number, 0 or more.")
        self.reward = reward
        self.name = f"{kind}: {name or reward.name}"
        self.kind: AnnotatorKind = kind
        self.identity = {**identity, "tie": tie}
        self.tie = tie

    def judge(self, task: AnnotationTask, setup: Setup, number: int) -> ProgramJudgement:
        """Judge by the scores; an item with a failed score is skipped.

        Args:
            task: the leased item.
            setup: settings of the project.
            number: how many items it has judged before.
        """
        scores, failures = numbers_of(self.reward, [task.prompt] * len(task.completions), task.completions)
        if not all(math.isfinite(score) for score in scores):
            reasons = [reason for _, reason in failures] or ["a score is not a finite number"]
            return ProgramJudgement(None, reasons[0])
        return ProgramJudgement(
            answer_from_scores(scores, task.kind, setup, tie=self.tie, unit=self.kind == "judge")
        )


def answer_from_scores(
    scores: Sequence[float], task: str, setup: Setup, *, tie: float = 0.0, unit: bool = False
) -> dict[str, Any]:
    """Convert scores of completions, in the order shown, into an answer of the task.

    Args:
        scores: one for each completion; higher is better.
        task: `pair`, `ranking`, `rating` or `likert`.
        setup: settings of the project.
        tie: largest difference of a tie; only pairs have ties.
        unit: whether scores are logits: then σ(score) is the position on the rating scale. Other scores are
            spread over the scale from the worst to the best of the item; equal scores get the middle.
    """
    if task == "pair":
        first, second = scores
        if abs(first - second) <= tie:
            return {"choice": "tie"}
        return {"choice": "first" if first > second else "second"}
    if task == "ranking":
        return {"order": sorted(range(len(scores)), key=lambda index: -scores[index])}
    low, high = setup.whole_scale_of(task)
    worst, best = min(scores), max(scores)
    if unit:
        shares = [0.5 * (1 + math.tanh(score / 2)) for score in scores]
    else:
        shares = [(score - worst) / (best - worst) if best > worst else 0.5 for score in scores]
    criteria = setup.criteria_of(task)
    return {"scores": [dict.fromkeys(criteria, low + math.floor(share * (high - low) + 0.5)) for share in shares]}
