"""The offline loop: walk stored data, one optimiser step a batch.

It knows of an algorithm only `consumes`, `trains` and `loss`. The data order is a function of the seed and the
epoch, so a resumed run sees the same batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gnomon.algorithms.contract import Algorithm
from gnomon.core.batches import merge_metrics
from gnomon.core.progress import StopSignal, progress
from gnomon.core.run_folder import MetricsLog
from gnomon.data.batching import COLLATE, epoch_order, totals_of, within_budget
from gnomon.data.encoding import Example
from gnomon.training.checkpoints import load_checkpoint, save_checkpoint
from gnomon.training.guards import Saver
from gnomon.training.models import TrainedModels
from gnomon.training.optimiser import Optimiser
from gnomon.training.settings import OfflineSettings


def planned_steps(count: int, settings: OfflineSettings) -> int:
    """Optimiser steps over `count` examples."""
    return max(1, math.ceil(count * settings.epochs / settings.batch_size))


def batches(examples: Sequence[Example], settings: OfflineSettings, seed: int) -> Iterator[list[Example]]:
    """The examples of each step, epoch after epoch, each epoch in an order of its own."""
    left = planned_steps(len(examples), settings)
    waiting: list[Example] = []
    for epoch in range(math.ceil(settings.epochs) + 1):
        waiting += [examples[i] for i in epoch_order(len(examples), seed, epoch)]
        while left and len(waiting) >= settings.batch_size:
            yield waiting[: settings.batch_size]
            waiting = waiting[settings.batch_size :]
            left -= 1
    if left:
        yield waiting


def train_offline(
    algorithm: Algorithm,
    models: TrainedModels,
    examples: Sequence[Example],
    settings: OfflineSettings,
    *,
    folder: Path,
    seed: int,
    stop: StopSignal,
    label: str,
) -> dict[str, float]:
    """Train to the end, or from the newest checkpoint to the end; returns the last step's metrics."""
    planned = planned_steps(len(examples), settings)
    weights = models.trained.trainable()
    optimiser = Optimiser([(weights, settings.learning_rate)], settings, planned)
    saved = load_checkpoint(folder / "checkpoints", weights, optimiser)
    done = int(saved["step"]) if saved else 0
    last: dict[str, float] = saved["metrics"] if saved else {}
    log = MetricsLog(folder / "metrics.jsonl", keep_steps=done)

    def save(step: int) -> None:
        save_checkpoint(folder / "checkpoints", step, weights, optimiser, {"metrics": last})

    saver = Saver(save, stop, settings.checkpoint_seconds)
    with progress(label, planned) as bar:
        for step, batch in enumerate(batches(examples, settings, seed), start=1):
            if step <= done:
                continue
            started = time.monotonic()
            last = train_step(algorithm, models, batch, optimiser, settings.batch_tokens)
            tokens = sum(e.cost for e in batch)
            last["tokens_per_second"] = tokens / (time.monotonic() - started)
            log.record(step, last)
            bar.at(step, f"loss {last['loss']:.3f}")
            saver.after_step(step, planned)
    return last


def train_step(
    algorithm: Algorithm,
    models: TrainedModels,
    batch: Sequence[Example],
    optimiser: Optimiser,
    batch_tokens: int,
) -> dict[str, float]:
    """One optimiser step over `batch`, cut into micro-batches that add up to it."""
    totals = totals_of(batch)
    parts = []
    for rows in within_budget([e.cost for e in batch], batch_tokens):
        loss, metrics = algorithm.loss(models, COLLATE[algorithm.consumes]([batch[r] for r in rows], totals))
        loss.backward()  # type: ignore[no-untyped-call]
        parts.append(metrics)
    rate = optimiser.settings.learning_rate * optimiser.factor
    norm = optimiser.step()
    return {**merge_metrics(parts), "grad_norm": norm, "learning_rate": rate}
