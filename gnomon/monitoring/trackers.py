"""Trackers: send metrics to TensorBoard, W&B, MLflow or trackio, besides `metrics.jsonl`.

Each tracker is an extra, imported only when a recipe names it under `track`. A resumed stage continues the
tracker's run: its id is saved in the stage's folder, and a step that was sent is not sent again.
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
    """A destination of metrics."""

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record one step's metrics."""

    def close(self) -> None:
        """Close the destination."""


class TrackerRun:
    """A tracker's run id and last sent step, saved in the stage's folder between starts.

    Attributes:
        id: id of the tracker's run; "" before it is created.
        step: the last step that was sent.
    """

    def __init__(self, path: Path, tracker: str):
        self._path, self._tracker = path, tracker
        saved = self._content().get(tracker, {})
        self.id, self.step = str(saved.get("id", "")), int(saved.get("step", 0))

    def note(self, *, run_id: str | None = None, step: int | None = None) -> None:
        """Save a new run's id, or a step that was sent."""
        self.id = self.id if run_id is None else run_id
        self.step = self.step if step is None else step
        write_json(self._path, {**self._content(), self._tracker: {"id": self.id, "step": self.step}})

    def _content(self) -> dict[str, Any]:
        return read_json(self._path) if self._path.exists() else {}


@dataclass(frozen=True)
class TrackedStage:
    """A stage as trackers show it.

    Attributes:
        folder: run folder; its name is the tracker's project.
        name: name of the stage, or `stage/phase`.
        config: shown as its settings.
        last_step: last step of an earlier start.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    last_step: int = 0

    def run_of(self, tracker: str) -> TrackerRun:
        """The tracker's run for this stage."""
        return TrackerRun(self.folder / self.name / "trackers.json", tracker)


def open_sink(
    names: Sequence[str], folder: Path, stage: str, config: Mapping[str, Any], *, last_step: int = 0
) -> Sink | None:
    """Open one sink for all named trackers; `None` without trackers.

    Args:
        names: names of trackers in `TRACKERS`.
        folder: run folder; its name is the tracker's project.
        stage: name of the stage, or `stage/phase`.
        config: shown as the stage's settings.
        last_step: last step of an earlier start.

    Raises:
        ConfigError: a tracker is not installed, or fails to start.
    """
    tracked = TrackedStage(folder, stage, to_json(dict(config)), last_step)
    sinks = [_opened(name, tracked) for name in names]
    return SinkGroup(sinks) if sinks else None


def _opened(name: str, stage: TrackedStage) -> Sink:
    try:
        return TRACKERS[name](stage)
    except GnomonError:
        raise
    except Exception as error:  # trackers raise their own types: no login, no server, a deleted run
        words = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"track: {name} cannot be started for stage '{stage.name}' ({words}); set it up, remove it from "
            f"track, or remove {stage.folder / stage.name / 'trackers.json'} to begin a new run there."
        ) from error


class SinkGroup:
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

    Steps after the checkpoint of a resumed stage are recorded again with the same values; `purge_step` makes
    readers drop the earlier ones.
    """

    def __init__(self, stage: TrackedStage):
        _need("tensorboard")
        module = _need("torch.utils.tensorboard", "tensorboard")
        folder = stage.folder / stage.name / "tensorboard"
        resumed = folder.exists() and any(folder.iterdir())
        self.writer = module.SummaryWriter(log_dir=str(folder), purge_step=stage.last_step + 1)
        if not resumed:
            self.writer.add_text("config", str(dict(stage.config)))

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record one scalar per metric."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write pending events."""
        self.writer.close()


class _Runs:
    """Base of W&B and trackio, which have the same calls: `init`, `log`, `finish`."""

    package = ""

    def __init__(self, stage: TrackedStage):
        self.module = _need(self.package)
        self.tracker_run = stage.run_of(self.package)
        self.start(stage)

    def start(self, stage: TrackedStage) -> None:
        """Start or resume the tracker's run."""
        raise NotImplementedError

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log one row, unless an earlier start has sent this step."""
        if step > self.tracker_run.step:
            self.module.log(dict(metrics), step=step)
            self.tracker_run.note(step=step)

    def close(self) -> None:
        """End the run."""
        self.module.finish()


class WandB(_Runs):
    """Weights & Biases, configured by its own environment variables."""

    package = "wandb"

    def start(self, stage: TrackedStage) -> None:
        """Choose and save the id before the first call, so that a kill in between leaves no second run."""
        if not self.tracker_run.id:
            self.tracker_run.note(run_id=uuid.uuid4().hex[:12])
        self.module.init(
            project=stage.folder.name,
            name=stage.name,
            config=dict(stage.config),
            dir=str(stage.folder),  # its local files go into the run folder
            id=self.tracker_run.id,
            resume="allow",
        )


class Trackio(_Runs):
    """trackio, whose runs are identified by their names within a project."""

    package = "trackio"

    def start(self, stage: TrackedStage) -> None:
        """A new run takes the stage's name, or the name that trackio assigns if that is taken."""
        run = self.module.init(
            project=stage.folder.name,
            name=self.tracker_run.id or stage.name,
            config=dict(stage.config),
            resume="allow" if self.tracker_run.id else "never",
        )
        if not self.tracker_run.id:
            self.tracker_run.note(run_id=str(getattr(run, "name", stage.name)))


class MLflow:
    """An MLflow run at `MLFLOW_TRACKING_URI`."""

    def __init__(self, stage: TrackedStage):
        self.module = _need("mlflow")
        self.tracker_run = stage.run_of("mlflow")
        self.module.set_experiment(stage.folder.name)
        if self.tracker_run.id:
            self.module.start_run(run_id=self.tracker_run.id)
            return
        run = self.module.start_run(run_name=stage.name)
        self.tracker_run.note(run_id=str(run.info.run_id))
        self.module.log_params({key: str(value)[:500] for key, value in stage.config.items()})

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log one value per metric, unless an earlier start has sent this step."""
        if step > self.tracker_run.step:
            self.module.log_metrics(dict(metrics), step=step)
            self.tracker_run.note(step=step)

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
