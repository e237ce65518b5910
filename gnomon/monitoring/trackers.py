"""Trackers: metrics go to `metrics.jsonl` always, and to TensorBoard, W&B, MLflow or trackio if asked.

Each is an extra that is imported only when a recipe names it under `track`. A stage that is started again goes on
in the tracker's own run: its id is kept in the stage's folder, and a step that a tracker has is not sent twice.
"""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gnomon.core.errors import ConfigError, GnomonError
from gnomon.core.storage.files import read_json, to_json, write_json


class Sink(Protocol):
    """Where metrics go."""

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One step's metrics."""

    def close(self) -> None:
        """Nothing more will come."""


class TrackerRun:
    """A tracker's run id and the last step sent to it, kept in the stage's folder between starts.

    Attributes:
        id: of the tracker's run; "" before there is one.
        step: the last step that was sent.
    """

    def __init__(self, path: Path, tracker: str):
        self._path, self._tracker = path, tracker
        kept = self._content().get(tracker, {})
        self.id, self.step = str(kept.get("id", "")), int(kept.get("step", 0))

    def note(self, *, run_id: str | None = None, step: int | None = None) -> None:
        """Keep a new run's id, or a step that was sent."""
        self.id = self.id if run_id is None else run_id
        self.step = self.step if step is None else step
        write_json(self._path, {**self._content(), self._tracker: {"id": self.id, "step": self.step}})

    def _content(self) -> dict[str, Any]:
        return read_json(self._path) if self._path.exists() else {}


@dataclass(frozen=True)
class TrackedStage:
    """What trackers show of a stage.

    Attributes:
        folder: of the run; its name is the project's.
        name: of the stage, or `stage/phase`.
        config: shown as its settings.
        done: steps of an earlier start that this one goes on from.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    done: int = 0

    def run_of(self, tracker: str) -> TrackerRun:
        """The tracker's run for this stage."""
        return TrackerRun(self.folder / self.name / "trackers.json", tracker)


def open_sink(
    names: Sequence[str], folder: Path, stage: str, config: Mapping[str, Any], *, done: int = 0
) -> Sink | None:
    """One sink for all the trackers named; `None` for none.

    Args:
        names: trackers, of `TRACKERS`.
        folder: of the run; its name is the project's.
        stage: the name of what is trained.
        config: what the trackers show as its settings.
        done: steps of an earlier start that this one goes on from.

    Raises:
        ConfigError: a tracker is not installed, or refuses to start.
    """
    tracked = TrackedStage(folder, stage, to_json(dict(config)), done)
    sinks = [_opened(name, tracked) for name in names]
    return Several(sinks) if sinks else None


def _opened(name: str, stage: TrackedStage) -> Sink:
    try:
        return TRACKERS[name](stage)
    except GnomonError:
        raise
    except Exception as error:  # trackers raise their own kinds: no login, no server, a run that was deleted
        words = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"track: {name} cannot be started for stage '{stage.name}' ({words}); set it up, remove it from "
            f"track, or remove {stage.folder / stage.name / 'trackers.json'} to begin a new run there."
        ) from error


class Several:
    """Several sinks as one."""

    def __init__(self, sinks: Sequence[Sink]):
        self.sinks = list(sinks)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record in each."""
        for sink in self.sinks:
            sink.record(step, metrics)

    def close(self) -> None:
        """Close each."""
        for sink in self.sinks:
            sink.close()


class TensorBoard:
    """Event files in the stage's folder.

    Steps after the checkpoint that this start goes on from come again, with the same values; readers are told to
    drop the earlier ones (`purge_step`).
    """

    def __init__(self, stage: TrackedStage):
        _need("tensorboard")
        module = _need("torch.utils.tensorboard", "tensorboard")
        folder = stage.folder / stage.name / "tensorboard"
        again = folder.exists() and any(folder.iterdir())
        self.writer = module.SummaryWriter(log_dir=str(folder), purge_step=stage.done + 1)
        if not again:
            self.writer.add_text("config", str(dict(stage.config)))

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One scalar each."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class _Runs:
    """W&B and trackio, which have the same calls: `init`, `log`, `finish`."""

    package = ""

    def __init__(self, stage: TrackedStage):
        self.module = _need(self.package)
        self.kept = stage.run_of(self.package)
        self.start(stage)

    def start(self, stage: TrackedStage) -> None:
        """Begin the tracker's run, or go on with it."""
        raise NotImplementedError

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row, unless an earlier start has sent this step."""
        if step > self.kept.step:
            self.module.log(dict(metrics), step=step)
            self.kept.note(step=step)

    def close(self) -> None:
        """End the run."""
        self.module.finish()


class WandB(_Runs):
    """Weights & Biases; its own environment variables say where to and whether online."""

    package = "wandb"

    def start(self, stage: TrackedStage) -> None:
        """The id is chosen here, before the first call: a kill in between leaves no second run."""
        if not self.kept.id:
            self.kept.note(run_id=uuid.uuid4().hex[:12])
        self.module.init(
            project=stage.folder.name,
            name=stage.name,
            config=dict(stage.config),
            dir=str(stage.folder),  # its local files stand in the run folder
            id=self.kept.id,
            resume="allow",
        )


class Trackio(_Runs):
    """trackio, whose runs are known by their names within a project."""

    package = "trackio"

    def start(self, stage: TrackedStage) -> None:
        """A new run takes the stage's name, or, where that is taken, the name that trackio gives it."""
        run = self.module.init(
            project=stage.folder.name,
            name=self.kept.id or stage.name,
            config=dict(stage.config),
            resume="allow" if self.kept.id else "never",
        )
        if not self.kept.id:
            self.kept.note(run_id=str(getattr(run, "name", stage.name)))


class MLflow:
    """An MLflow run; `MLFLOW_TRACKING_URI` says where to."""

    def __init__(self, stage: TrackedStage):
        self.module = _need("mlflow")
        self.kept = stage.run_of("mlflow")
        self.module.set_experiment(stage.folder.name)
        if self.kept.id:
            self.module.start_run(run_id=self.kept.id)
            return
        run = self.module.start_run(run_name=stage.name)
        self.kept.note(run_id=str(run.info.run_id))
        self.module.log_params({key: str(value)[:500] for key, value in stage.config.items()})

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One value each, unless an earlier start has sent this step."""
        if step > self.kept.step:
            self.module.log_metrics(dict(metrics), step=step)
            self.kept.note(step=step)

    def close(self) -> None:
        """End the run."""
        self.module.end_run()


TRACKERS: dict[str, Callable[[TrackedStage], Sink]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
    "trackio": Trackio,
}


def _need(module: str, package: str | None = None) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        name = package or module
        raise ConfigError(
            f"track: {name} is not installed; pip install {name}, or remove it from track."
        ) from None
