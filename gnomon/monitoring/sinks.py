"""Trackers: metrics go to `metrics.jsonl` always, and to TensorBoard, W&B, MLflow or trackio if asked.

Each is an extra that is imported only when a recipe names it under `track`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gnomon.core.errors import ConfigError
from gnomon.core.run_folder import to_json


class Sink(Protocol):
    """Where metrics go."""

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One step's metrics."""

    def close(self) -> None:
        """Nothing more will come."""


def open_sink(names: Sequence[str], folder: Path, stage: str, config: Mapping[str, Any]) -> Sink | None:
    """One sink for all the trackers named; `None` for none.

    Args:
        names: trackers, of `TRACKERS`.
        folder: of the run; its name is the project's.
        stage: the name of what is trained.
        config: what the trackers show as its settings.
    """
    found = [TRACKERS[name](folder, stage, to_json(dict(config))) for name in names]
    return Several(found) if found else None


class Several:
    """Several sinks as one."""

    def __init__(self, sinks: Sequence[Sink]):
        self.sinks = list(sinks)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell each."""
        for sink in self.sinks:
            sink.record(step, metrics)

    def close(self) -> None:
        """Close each."""
        for sink in self.sinks:
            sink.close()


class TensorBoard:
    """Event files in the stage's folder."""

    def __init__(self, folder: Path, stage: str, config: Mapping[str, Any]):
        _need("tensorboard")
        module = _need("torch.utils.tensorboard", "tensorboard")
        self.writer = module.SummaryWriter(log_dir=str(folder / stage / "tensorboard"))
        self.writer.add_text("config", str(dict(config)))

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One scalar each."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class _Runs:
    """W&B and trackio, which speak alike: `init`, `log`, `finish`."""

    package = ""

    def __init__(self, folder: Path, stage: str, config: Mapping[str, Any]):
        module = _need(self.package)
        self.run = module.init(project=folder.name, name=stage, config=dict(config), **self.options(folder))
        self.module = module

    def options(self, folder: Path) -> dict[str, Any]:
        """What else this tracker wants."""
        return {}

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One row."""
        self.module.log(dict(metrics), step=step)

    def close(self) -> None:
        """End the run."""
        self.module.finish()


class WandB(_Runs):
    """Weights & Biases; its own environment variables say where to and whether online."""

    package = "wandb"

    def options(self, folder: Path) -> dict[str, Any]:
        """Local files stand in the run folder."""
        return {"dir": str(folder)}


class Trackio(_Runs):
    """trackio."""

    package = "trackio"


class MLflow:
    """An MLflow run; `MLFLOW_TRACKING_URI` says where to."""

    def __init__(self, folder: Path, stage: str, config: Mapping[str, Any]):
        self.module = _need("mlflow")
        self.module.set_experiment(folder.name)
        self.run = self.module.start_run(run_name=stage)
        self.module.log_params({key: str(value)[:500] for key, value in config.items()})

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """One value each."""
        self.module.log_metrics(dict(metrics), step=step)

    def close(self) -> None:
        """End the run."""
        self.module.end_run()


TRACKERS: dict[str, Callable[[Path, str, Mapping[str, Any]], Sink]] = {
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
