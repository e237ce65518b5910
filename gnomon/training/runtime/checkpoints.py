"""Checkpoints: weights and moments as safetensors, the rest as JSON; a new one replaces the last atomically."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gnomon.core.errors import Interrupted, NotFiniteError, RunError
from gnomon.core.progress import StopSignal
from gnomon.core.storage.files import read_json, sync_entry, sync_folder, write_json
from gnomon.core.storage.leftovers import remove_leftovers, temporary_folder
from gnomon.core.storage.ownership import set_aside
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.model_snapshots import SnapshotKeeper
from gnomon.training.runtime.optimizer import Optimizer

STEP = re.compile(r"\d{8,}")  # the name of a checkpoint's folder
StepCallback = Callable[[int, Mapping[str, float]], bool]  # called after each step; True ends the loop
FILES = ("state.json", "weights.safetensors", "optimizer.safetensors", "extra.safetensors")


def save_checkpoint(
    root: Path,
    step: int,
    weights: Mapping[str, nn.Parameter],
    optimizer: Optimizer,
    state: Mapping[str, Any],
    extra: Mapping[str, torch.Tensor] | None = None,
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
    root.mkdir(parents=True, exist_ok=True)
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


class CheckpointManager:
    """Saves checkpoints: at intervals, before a requested stop, and when numbers are no longer finite.

    Args:
        save: writes a checkpoint, given the number of steps taken.
        stop: set when the user interrupts.
        every_seconds: time between checkpoints.
        processes: all training processes.
        root: folder of the checkpoints.
        keeper: saves models of single steps; `None` saves none.
    """

    def __init__(
        self,
        save: Callable[[int], None],
        stop: StopSignal,
        every_seconds: float,
        processes: Processes,
        root: Path,
        keeper: SnapshotKeeper | None = None,
    ):
        self._keeper = keeper
        self._root = root
        self._processes = processes
        self._save = save
        self._stop = stop
        self._every = every_seconds
        self._last = time.monotonic()

    def after_step(self, step: int, planned: int) -> None:
        """Save if it is due.

        Raises:
            Interrupted: the user asked to stop; a checkpoint was saved.
            RunError: the run's folder is gone.
        """
        self._stop.check()
        if self._keeper and self._processes.main:
            self._keeper.after_step(step)
        due = time.monotonic() - self._last >= self._every
        stopping = any(self._processes.all_gather(bool(self._stop)))  # a signal may reach only one process
        if stopping or (due and step < planned):
            self._save(step)
            self._last = time.monotonic()
        if stopping:
            raise Interrupted(
                f"stopped after step {step} of {planned} and saved; run the same command again to go on."
            )

    @contextmanager
    def report_non_finite(self, unchanged: int | None = None) -> Iterator[None]:
        """Context manager: turn a `NotFiniteError` into an error that names the last checkpoint.

        Args:
            unchanged: number of steps whose weights are still intact; a checkpoint of it is saved, unless it is
                0.

        Raises:
            RunError: in place of a `NotFiniteError`.
        """
        try:
            yield
        except NotFiniteError as error:
            if unchanged:
                self._save(unchanged)
            step = newest_step(self._root)
            last = "no checkpoint was saved yet" if step is None else f"the last checkpoint is of step {step}"
            raise RunError(
                f"{error}; {last}; lower training.learning_rate or fix these rows, and run again: "
                "the stage then starts from the beginning."
            ) from None
