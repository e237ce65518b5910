"""An annotator in a process of its own, for tests of the queue: queue_worker.py URL PROJECT NAME SEED."""

from __future__ import annotations

import random
import sys
import time
import uuid

from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.queue import AnnotationTask, NewJudgement, Queue

PATIENCE = 30.0  # seconds that an annotator without an item retries while some are open


def main(url: str, project: str, annotator: str, seed: str) -> None:
    chance, queue = random.Random(seed), Queue(Store(url), project)
    while (task := take(queue, annotator)) is not None:
        if chance.random() < 0.05:
            queue.skip(annotator, task.item, "no opinion")
            continue
        name = str(uuid.UUID(int=chance.getrandbits(128)))
        answer = NewJudgement(name, task.item, annotator, answer_of(task))
        queue.submit(answer)
        if chance.random() < 0.2:  # the reply was lost
            assert queue.submit(answer).duplicate


def answer_of(task: AnnotationTask) -> dict[str, str]:
    """Choose the first completion; write a text, or approve one."""
    if task.kind != "demonstration":
        return {"choice": "first"}
    return (
        {"text": "It turns."} if task.reviews is None else {"text": task.written or "", "reviews": task.reviews}
    )


def take(queue: Queue, annotator: str) -> AnnotationTask | None:
    """Lease the next item; retry, since an item is free again if its last lease is skipped."""
    until = time.monotonic() + PATIENCE
    while (task := queue.take(annotator)) is None:
        if queue.progress()["open"] == 0 or time.monotonic() > until:
            return None
        time.sleep(0.1)
    return task


if __name__ == "__main__":
    main(*sys.argv[1:])
