"""A small project of demonstrations in a store, and annotators who write, approve, revise and reject."""

from __future__ import annotations

from typing import Any

from tiny import prompts_of

from gnomon.feedback.store.ingest import add_prompt_items, add_prompts
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.queue import AnnotationTask, JudgementReceipt, NewJudgement, Queue

NAMES = ("ann", "bob", "cyd", "dan", "eve")


def writing_project(
    store: Store,
    items: int = 1,
    *,
    answers: int = 1,
    max_votes: int = 3,
    names: tuple[str, ...] = NAMES,
    clock: Any = None,
    prompts: tuple[str, ...] = (),
    **settings: Any,
) -> Queue:
    """Create a project with prompts `p0`, `p1`, …, each of which needs so many answers."""
    store.add_project(
        Project("help", "Write the answer.", "demonstration", answers, max_votes, settings=settings)
    )
    texts = prompts or tuple(f"How does machine {n} work?" for n in range(items))
    add_prompts(store, "help", [BankPrompt(prompt) for prompt in prompts_of(*texts)])
    add_prompt_items(store, "help", [f"p{n}" for n in range(len(texts))])
    for name in names:
        store.add_annotator(name, id=name)
    more = {} if clock is None else {"clock": clock}
    return Queue(store, "help", lease_seconds=60, **more)


def leased(queue: Queue, who: str) -> AnnotationTask:
    task = queue.take(who)
    assert task is not None
    return task


def write(queue: Queue, who: str, text: str, seconds: float | None = 60.0, **more: Any) -> JudgementReceipt:
    """Lease the next item and write its answer."""
    task = leased(queue, who)
    assert task.reviews is None, "it is a review"
    return submit(queue, task, who, {"text": text}, seconds, **more)


def review(queue: Queue, who: str, text: str | None = None, *, reject: bool = False) -> JudgementReceipt:
    """Lease the next item and review its text: approve it, replace it by another text, or reject it."""
    task = leased(queue, who)
    assert task.reviews is not None, "it is to be written"
    answer: dict[str, Any] = {"rejected": True} if reject else {"text": task.written if text is None else text}
    return submit(queue, task, who, {**answer, "reviews": task.reviews})


def submit(
    queue: Queue,
    task: AnnotationTask,
    who: str,
    answer: dict[str, Any],
    seconds: float | None = 60.0,
    **more: Any,
) -> JudgementReceipt:
    name = more.pop("id", f"{who}-{task.item}")
    spent = {} if seconds is None else {"active": seconds, "idle": 0.0}
    return queue.submit(NewJudgement(name, task.item, who, answer, seconds=spent, **more))
