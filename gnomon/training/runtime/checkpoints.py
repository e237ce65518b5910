"""Checkpoints to resume from, the best weights by validation, and models saved after some steps.

A checkpoint holds weights and moments as safetensors, the rest as JSON; a new one replaces the last atomically.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gnomon.core.errors import ConfigError, RunError
from gnomon.core.storage.files import read_json, sync_entry, sync_folder, write_json
from gnomon.core.storage.leftovers import remove_leftovers, temporary_folder
from gnomon.core.storage.ownership import digest_entry, read_record, remove_entries, set_aside, unchanged
from gnomon.core.storage.sealed_files import write_sealed_json
from gnomon.models.loading import save_model
from gnomon.models.roles import Model
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.settings import LoopSettings, OnlineValidation, Validation

STEP = re.compile(r"\d{8,}")  # the name of a step's folder: a checkpoint or a snapshot
StepCallback = Callable[[int, Mapping[str, float]], bool]  # called after each step; True ends the loop
FILES = ("state.json", "weights.safetensors", "optimizer.safetensors", "extra.safetensors")
SNAPSHOTS, SNAPSHOT_RECORD = "models", "kept.json"


def save_checkpoint(
    root: Path,
    step: int,
    weights: Mapping[str, nn.Parameter],
    optimizer: Optimizer,
    state: Mapping[str, Any],
    extra: Mapping[str, Tensor] | None = None,
) -> None:
    """Write `root/<step>`, then remove older checkpoints: a complete one exists at any moment.

    Args:
        root: folder of the checkpoints.
        step: number of steps taken, the checkpoint's name.
        weights: trained parameters by name.
        optimizer: whose moments are saved.
        state: everything else; must be JSON.
        extra: other tensors `[…]` by name, returned by `load_checkpoint` under `extra`.
    """
    root.mkdir(exist_ok=True)  # not its parents: a run folder that was moved away must not appear again
    target = root / f"{step:08d}"
    with temporary_folder(root) as work:
        new = work / "new"
        new.mkdir()
        save_file({n: p.detach().cpu().contiguous() for n, p in weights.items()}, new / "weights.safetensors")
        save_file(optimizer.tensors(), new / "optimizer.safetensors")
        if extra:
            save_file({n: t.detach().cpu().contiguous() for n, t in extra.items()}, new / "extra.safetensors")
        write_json(new / "state.json", {**state, "step": step, "optimizer_steps": optimizer.step_count})
        sync_folder(new)
        _remove(target)
        os.replace(new, target)
        sync_entry(root)
    for old in _steps(root):
        if old != target:
            _remove(old)


def load_checkpoint(
    root: Path, weights: Mapping[str, nn.Parameter], optimizer: Optimizer
) -> dict[str, Any] | None:
    """Restore the newest weights and moments in place.

    Args:
        root: folder of the checkpoints.
        weights: trained parameters by name, overwritten.
        optimizer: whose moments are overwritten.

    Returns:
        The saved state, or `None` if there is no checkpoint.

    Raises:
        RunError: the checkpoint has other weights.
    """
    folders = _whole(root)
    if not folders:
        return None
    newest = folders[-1]
    saved = load_file(newest / "weights.safetensors")
    if set(saved) != set(weights):
        raise RunError(f"{newest} belongs to another model or adapter; remove it to start this stage again.")
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(saved[name])
    state: dict[str, Any] = read_json(newest / "state.json")
    optimizer.restore(load_file(newest / "optimizer.safetensors"), int(state["optimizer_steps"]))
    if (newest / "extra.safetensors").exists():
        device = str(next(iter(weights.values())).device)
        state["extra"] = load_file(newest / "extra.safetensors", device=device)
    return state


def remove_checkpoints(root: Path) -> None:
    """Remove all checkpoints once the stage's model is written; other files in the folder stay."""
    for folder in _steps(root):
        _remove(folder)
    if root.is_dir():
        remove_leftovers(root)
    with suppress(OSError):
        root.rmdir()


def newest_step(root: Path) -> int | None:
    """Step of the newest complete checkpoint, or `None`."""
    folders = _whole(root)
    return int(folders[-1].name) if folders else None


def _whole(root: Path) -> list[Path]:
    """Complete checkpoints, oldest first; an interrupted one has another name."""
    return [p for p in _steps(root) if (p / "state.json").exists()]


def _steps(root: Path) -> list[Path]:
    """Folders named like checkpoints, oldest first."""
    return sorted(p for p in root.glob("[0-9]*") if STEP.fullmatch(p.name) and p.is_dir() and not p.is_symlink())


def _remove(folder: Path) -> None:
    """Remove a checkpoint's own files, and the folder if it is empty afterwards.

    The state file goes first: without it the folder does not count as a checkpoint if the process is killed.
    """
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and any(folder.iterdir()):
        set_aside(folder)  # the user's own files
    elif folder.is_dir():
        folder.rmdir()


def describe_prompts(prompts: Sequence[str]) -> str:
    """The first few prompt ids of a batch, for an error message."""
    first = list(dict.fromkeys(prompts))[:3]
    return f"prompts {', '.join(first)} …" if first else "prompts without names"


class BestCheckpoint:
    """The best weights so far by a validation metric, and early stopping.

    Args:
        validation: settings; `None` never evaluates.
        live: trained parameters by name.

    Attributes:
        value: the metric of the best weights; `None` before the first evaluation.
        since: evaluations without a better one.
        weights: copies by name; `None` before the first evaluation.
    """

    def __init__(
        self,
        validation: Validation | OnlineValidation | None,
        live: Mapping[str, nn.Parameter],
    ):
        self.validation = validation
        self.live = live
        self.value: float | None = None
        self.since = 0
        self.weights: dict[str, Tensor] | None = None

    @property
    def exhausted(self) -> bool:
        """True if patience has run out."""
        settings = self.validation
        return bool(settings and settings.patience is not None and self.since >= settings.patience)

    def due(self, step: int, planned: int) -> bool:
        """Return whether to evaluate after this step."""
        return self.validation is not None and (step % self.validation.every == 0 or step == planned)

    def update(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Compare with the best so far; returns the metrics with the prefix `validation_`."""
        assert self.validation is not None
        name = self.validation.metric
        if name not in metrics:
            known = ", ".join(sorted(metrics))
            raise ConfigError(f"training.validation.metric is '{name}', unknown here; it is one of {known}.")
        value = metrics[name]
        sign = 1.0 if self.validation.better == "more" else -1.0
        if math.isfinite(value) and (self.value is None or sign * value > sign * self.value):
            self.value, self.since = value, 0
            self.weights = {n: p.detach().clone() for n, p in self.live.items()}
        else:
            self.since += 1
        return {f"validation_{key}": value for key, value in metrics.items()}

    @torch.no_grad()
    def restore_weights(self) -> None:
        """Copy the best weights into the model."""
        for name, weight in (self.weights or {}).items():
            self.live[name].copy_(weight)

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, without the weights."""
        return {"value": self.value, "since": self.since}

    def restore(self, state: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Continue from a checkpoint's state and weights `[…]`."""
        self.value, self.since = state["value"], int(state["since"])
        self.weights = None if self.value is None else weights


class SnapshotKeeper:
    """Saves the model every few steps and removes the oldest snapshots.

    Args:
        model: that is trained.
        folder: for the snapshots, and `kept.json`, a record of their digests: only unchanged folders are removed.
        every: steps between snapshots.
        limit: number of snapshots to keep; `None` keeps all.
    """

    def __init__(self, model: Model, folder: Path, every: int, limit: int | None = None):
        self.model, self.folder, self.every, self.limit = model, folder, every, limit

    def after_step(self, step: int) -> None:
        """Save the model if a snapshot is due; a resumed run writes the same folders again."""
        if step % self.every:
            return
        name = f"{step:08d}"
        with self.model.to_save() as twin:
            save_model(twin, self.folder / name, steps=step)
        digests = {**self._recorded(), name: digest_entry(self.folder / name)}
        write_sealed_json(self.folder / SNAPSHOT_RECORD, {"models": digests})
        if self.limit is not None:
            own = sorted(unchanged(self.folder, digests, digests.keys()))
            old = own[: -self.limit]
            remove_entries(self.folder, old)
            left = {step: digest for step, digest in digests.items() if step not in old}
            write_sealed_json(self.folder / SNAPSHOT_RECORD, {"models": left})

    def _recorded(self) -> Mapping[str, Any]:
        """Digests of the saved folders by name."""
        models = (read_record(self.folder / SNAPSHOT_RECORD) or {}).get("models")
        return {name: d for name, d in models.items() if STEP.fullmatch(name)} if isinstance(models, dict) else {}


def make_snapshot_keeper(model: Model, folder: Path, settings: LoopSettings) -> SnapshotKeeper | None:
    """A `SnapshotKeeper` for a stage.

    Args:
        model: that is trained.
        folder: of the stage.
        settings: of the loop.

    Returns:
        The keeper, or `None` without `models_every`.
    """
    if settings.models_every is None:
        return None
    return SnapshotKeeper(model, folder / SNAPSHOTS, settings.models_every, settings.models_kept)
