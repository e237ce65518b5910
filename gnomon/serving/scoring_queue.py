"""Micro-batching: requests of concurrent callers are scored together, and each caller gets its own rows."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from gnomon.core.errors import BusyError, GnomonError, RunError
from gnomon.core.extensions import describe_error
from gnomon.rewards.reward import ScoreFunction, Scores

MAX_BATCH_ROWS = 1024  # rows that are scored together; a model cuts them into micro-batches itself
MAX_WAITING_ROWS = 16_384  # rows that may wait before callers are turned away


@dataclass(frozen=True)
class RowScore:
    """The score of one row.

    Attributes:
        score: `None` if the row has none.
        parts: named components of the score; `None` for one that abstained or failed.
        uncertainty: standard deviation over the members of an ensemble; `None` for a single model.
        reason: why the row has no score.
    """

    score: float | None
    parts: Mapping[str, float | None] = field(default_factory=dict)
    uncertainty: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class _Job:
    kind: str
    prompts: Sequence[Any]
    completions: Sequence[Any]
    future: Future[list[RowScore]]


class ScoringQueue:
    """Scores requests in one thread, all that wait at a time together.

    Nothing waits for a batch to fill: while one is scored, the next requests gather.

    Args:
        functions: by kind of request, the function that scores its rows.
    """

    def __init__(self, functions: Mapping[str, ScoreFunction]):
        self.functions = functions
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)
        self._thread.start()

    def submit(self, kind: str, prompts: Sequence[Any], completions: Sequence[Any]) -> Future[list[RowScore]]:
        """Queue rows; the future's result has a `RowScore` for each, and its exception is a `GnomonError`.

        Args:
            kind: of the request, which names the function.
            prompts: of the rows.
            completions: of the rows.

        Raises:
            BusyError: too many rows wait, or the queue is closed.
        """
        future: Future[list[RowScore]] = Future()
        with self._lock:
            if self._closed:
                raise BusyError("the server is stopping; send the request to another.")
            if self._waiting + len(completions) > MAX_WAITING_ROWS:
                raise BusyError(f"{self._waiting} rows are waiting; send the request again later.")
            self._waiting += len(completions)
            self._jobs.put(_Job(kind, prompts, completions, future))
        return future

    def close(self) -> None:
        """Score what waits, and end the thread."""
        with self._lock:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            batch, ended = self._gathered(job)
            for kind in dict.fromkeys(one.kind for one in batch):
                self._score([one for one in batch if one.kind == kind])
            if ended:
                return

    def _gathered(self, first: _Job) -> tuple[list[_Job], bool]:
        """Return the jobs that wait, up to the size of a batch, and whether the queue was closed behind them."""
        batch, rows = [first], len(first.completions)
        while rows < MAX_BATCH_ROWS:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
            rows += len(job.completions)
        return batch, False

    def _score(self, jobs: Sequence[_Job]) -> None:
        """Score jobs of one kind together; if that fails, each alone, so that one does not fail the others."""
        try:
            rows = self._rows(jobs)
        except Exception as error:  # noqa: BLE001 - a user's reward may raise anything; each caller gets the error
            if len(jobs) > 1:
                for job in jobs:
                    self._score([job])
                return
            self._end(jobs[0], None, error)
            return
        start = 0
        for job in jobs:
            self._end(job, rows[start : start + len(job.completions)], None)
            start += len(job.completions)

    def _rows(self, jobs: Sequence[_Job]) -> list[RowScore]:
        prompts = [prompt for job in jobs for prompt in job.prompts]
        completions = [completion for job in jobs for completion in job.completions]
        return row_scores(self.functions[jobs[0].kind](prompts, completions))

    def _end(self, job: _Job, rows: list[RowScore] | None, error: Exception | None) -> None:
        with self._lock:
            self._waiting -= len(job.completions)
        if not job.future.set_running_or_notify_cancel():
            return
        if rows is not None:
            job.future.set_result(rows)
        elif isinstance(error, GnomonError):
            job.future.set_exception(error)
        else:
            assert error is not None
            job.future.set_exception(RunError(f"the reward failed ({describe_error(error)})."))


def row_scores(scores: Scores) -> list[RowScore]:
    """Return the scores row by row, as plain numbers; what is not finite is `None`."""
    values = list(map(_number, scores.values.tolist()))
    parts = {name: list(map(_number, part.tolist())) for name, part in scores.parts.items()}
    uncertainties = [list(map(_number, one.tolist())) for one in scores.uncertainties.values()]
    return [
        RowScore(
            value,
            {name: part[row] for name, part in parts.items()},
            uncertainties[0][row] if len(uncertainties) == 1 else None,
            scores.reason(row) if value is None else None,
        )
        for row, value in enumerate(values)
    ]


def _number(value: float) -> float | None:
    return value if value - value == 0 else None  # neither NaN nor infinite
