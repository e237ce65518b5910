"""The base of both loops: resumption, steps until the end, log, checkpoints."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from gnomon.algorithms.contract import Algorithm
from gnomon.core.errors import Interrupted, NotFiniteError, RunError
from gnomon.core.progress import StopSignal, progress
from gnomon.core.storage.metrics_log import MetricsLog
from gnomon.models.engine.activation_cache import FrozenLayerCache
from gnomon.training.runtime.budget import Budget
from gnomon.training.runtime.checkpoints import (
    BestCheckpoint,
    SnapshotKeeper,
    StepCallback,
    load_checkpoint,
    make_snapshot_keeper,
    newest_step,
    save_checkpoint,
)
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.memory_profile import Shape
from gnomon.training.runtime.micro_batching import TokenBudget, make_token_budget
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.runtime.sft_mix import AuxiliarySFT
from gnomon.training.settings import OfflineSettings, OnlineSettings


@dataclass(kw_only=True)
class TrainingLoop(ABC):
    """One stage of training: a subclass defines the step, this class everything around it.

    A step of the loop is one optimizer step offline, and one round, with several optimizer steps, online.

    Attributes:
        algorithm: whose loss is minimized.
        models: that are trained.
        settings: of the loop.
        folder: of the stage.
        seed: of the order of data and of samples.
        stop: set when the user interrupts.
        label: of the stage, in messages.
        processes: all training processes.
        callback: called with each step's metrics; the loop ends when it returns true.
        sft_mix: demonstrations for an SFT term beside the loss.
        reference_weights: weights of the reference; `None` disables the adapter, or uses the initial weights.
        budget: time and tokens used.
        token_budget: of micro-batches.
        cache_gb: size of the activation cache.
        activation_caches: for the frozen layers of each model, while the loop runs.
        optimizer: of all trained weights.
        best: the best weights by validation.
        snapshots: saves models of single steps; `None` without `models_every`.
        step_count: steps taken.
        metrics: of the last step.
        ended: whether the callback ended the loop.
    """

    safe_to_repeat: ClassVar[bool]  # whether a step that fails has changed neither weights nor state
    algorithm: Algorithm
    models: TrainedModels
    settings: OfflineSettings | OnlineSettings
    folder: Path
    seed: int
    stop: StopSignal
    label: str
    processes: Processes = field(default_factory=Processes)
    callback: StepCallback | None = None
    sft_mix: AuxiliarySFT | None = None
    reference_weights: Mapping[str, Tensor] | None = None
    budget: Budget = field(init=False)
    token_budget: TokenBudget = field(init=False)
    cache_gb: float = field(init=False)
    activation_caches: list[FrozenLayerCache] = field(init=False, default_factory=list)
    optimizer: Optimizer = field(init=False)
    best: BestCheckpoint = field(init=False)
    snapshots: SnapshotKeeper | None = field(init=False)
    step_count: int = field(init=False, default=0)
    metrics: dict[str, float] = field(init=False, default_factory=dict)
    ended: bool = field(init=False, default=False)
    _log: MetricsLog = field(init=False)
    _last_save: float = field(init=False)

    def __post_init__(self) -> None:
        self.budget = Budget(self.settings, self.processes)
        self.token_budget, self.cache_gb = make_token_budget(
            self.settings, self.models, self.typical_lengths, self.folder, self.processes
        )
        self.optimizer = Optimizer(
            self.parameter_groups(), self.settings, self.planned_steps * self.updates_per_step
        )
        self.best = self.make_best()
        self.snapshots = make_snapshot_keeper(self.models.trained, self.folder, self.settings)

    def make_best(self) -> BestCheckpoint:
        """What keeps the best weights by validation."""
        return BestCheckpoint(self.settings.validation, self.optimizer.parameters)

    @property
    @abstractmethod
    def planned_steps(self) -> int:
        """Steps of the stage without a budget."""

    @property
    def updates_per_step(self) -> int:
        """Optimizer steps in one step of the loop."""
        return 1

    @abstractmethod
    def parameter_groups(self) -> list[tuple[Mapping[str, nn.Parameter], float]]:
        """Trained parameters by name, in groups with their peak learning rates."""

    @abstractmethod
    def typical_lengths(self) -> Shape:
        """Lengths of typical prompts and completions."""

    @abstractmethod
    def step(self, step: int) -> dict[str, float]:
        """Take a step, numbered from 1; returns its metrics."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Metrics on the held-out data."""

    @abstractmethod
    def progress_note(self) -> str:
        """The last step in a few words, for the progress bar."""

    def record(self, step: int) -> None:
        """Log a step's metrics; a subclass may log more."""
        self._log.record(step, self.metrics)

    def run(self) -> dict[str, float]:
        """Train to the end, or from the newest checkpoint to the end; returns the last step's metrics."""
        with self.models.rounded(), self.models.activation_cache(self.cache_gb) as self.activation_caches:
            self.resume()
            self._take_steps()
        self.best.restore_weights()
        return self.metrics

    def resume(self) -> None:
        """Restore the newest checkpoint if there is one."""
        saved = load_checkpoint(self._checkpoints, self.optimizer.parameters, self.optimizer)
        if saved:
            self.restore(saved)
        else:
            self.budget.start()

    def _take_steps(self) -> None:
        planned, main = self.planned_steps, self.processes.main
        self._log = MetricsLog(self.folder / "metrics.jsonl", keep_steps=self.step_count, write=main)
        self._last_save = time.monotonic()
        with progress(self.label, self.budget.progress(0, planned)[1], quiet=not main) as bar:
            bar.at(self.budget.progress(self.step_count, planned)[0])
            self.stop.waits = True
            for step in range(self.step_count + 1, planned + 1):
                if self.ended or self.best.exhausted or (self.budget.exhausted and step > 1):
                    break
                expected = self.budget.planned_steps(step - 1, planned)
                self.optimizer.total_steps = expected * self.updates_per_step
                try:
                    self.metrics = self.step(step)
                except NotFiniteError as error:
                    raise self._not_finite(error) from None
                self.step_count = step
                self.budget.update()
                self.metrics["tokens_seen"] = float(self.budget.tokens)
                if self.best.due(step, step if self.budget.exhausted else planned):
                    self.metrics |= self.best.update(self.evaluate())
                self.record(step)
                bar.at(self.budget.progress(step, planned)[0], self.progress_note())
                # Before the checkpoint: a step that is saved is one that trackers have, and whose end is known.
                self.ended = bool(self.callback and self.callback(step, self.metrics))
                self.after_step(step, expected)

    def after_step(self, step: int, expected: int) -> None:
        """Save a checkpoint if it is due.

        Args:
            step: the last step.
            expected: steps of the stage at the current pace.

        Raises:
            Interrupted: the user asked to stop; a checkpoint was saved.
            RunError: the run's folder is gone.
        """
        self.stop.check()
        if self.snapshots and self.processes.main:
            self.snapshots.after_step(step)
        due = time.monotonic() - self._last_save >= self.settings.checkpoint_seconds
        stopping = any(self.processes.all_gather(bool(self.stop)))  # a signal may reach only one process
        if stopping or (due and step < expected):
            self._save()
            self._last_save = time.monotonic()
        if stopping:
            raise Interrupted(
                f"stopped after step {step} of {expected} and saved; run the same command again to go on."
            )

    def _not_finite(self, error: NotFiniteError) -> RunError:
        """The error of a step whose numbers are not finite, with the last checkpoint; saves one where it can."""
        if self.safe_to_repeat and self.step_count:
            self._save()
        step = newest_step(self._checkpoints)
        last = "no checkpoint was saved yet" if step is None else f"the last checkpoint is of step {step}"
        return RunError(
            f"{error}; {last}; lower training.learning_rate or fix these rows, and run again: "
            "the stage then starts from the beginning."
        )

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def _save(self) -> None:
        if not self.processes.main:
            return
        state = {**self.state(), "metrics": self.metrics, "ended": self.ended, "best": self.best.state()}
        save_checkpoint(
            self._checkpoints, self.step_count, self.optimizer.parameters, self.optimizer, state, self.tensors()
        )

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, besides weights, moments and what every loop has."""
        return {"budget": self.budget.state()}

    def tensors(self) -> dict[str, Tensor]:
        """Tensors `[…]` for a checkpoint, besides weights and moments."""
        return {f"best.{name}": tensor for name, tensor in (self.best.weights or {}).items()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore from a checkpoint's state and tensors."""
        self.step_count, self.metrics = int(saved["step"]), saved["metrics"]
        self.ended = bool(saved.get("ended"))
        self.budget.restore(saved["budget"])
        self.best.restore(saved["best"], saved_tensors(saved, "best"))


def saved_tensors(saved: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """The tensors `[…]` of a checkpoint whose names begin with `prefix` and a dot, without it."""
    start = f"{prefix}."
    tensors: Mapping[str, Tensor] = saved.get("extra") or {}
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
