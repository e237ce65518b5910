"""Checkpoints: weights and moments as safetensors, the rest as JSON; the newest replaces the last whole."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gnomon.core.errors import RunError
from gnomon.core.storage.files import read_json, sync_entry, sync_folder, write_json
from gnomon.core.storage.leftovers import remove_leftovers, temporary_folder
from gnomon.core.storage.ownership import set_aside
from gnomon.training.runtime.optimizer import Optimiser

STEP = re.compile(r"\d{8,}")  # the name of a checkpoint's folder
FILES = ("state.json", "weights.safetensors", "optimiser.safetensors", "extra.safetensors")


def save_checkpoint(
    root: Path,
    step: int,
    weights: Mapping[str, nn.Parameter],
    optimiser: Optimiser,
    state: Mapping[str, Any],
    extra: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write `root/<step>`, then remove older ones: at any moment there is a whole one. `state` must be JSON.

    `extra` are tensors beside those that are trained; they come back under that key.
    """
    root.mkdir(parents=True, exist_ok=True)
    target = root / f"{step:08d}"
    with temporary_folder(root) as work:
        new = work / "new"
        new.mkdir()
        save_file({n: p.detach().cpu().contiguous() for n, p in weights.items()}, new / "weights.safetensors")
        save_file(optimiser.tensors(), new / "optimiser.safetensors")
        if extra:
            save_file({n: t.detach().cpu().contiguous() for n, t in extra.items()}, new / "extra.safetensors")
        write_json(new / "state.json", {**state, "step": step, "optimiser_steps": optimiser.taken})
        sync_folder(new)
        _remove(target)
        os.replace(new, target)
        sync_entry(root)
    for old in _steps(root):
        if old != target:
            _remove(old)


def load_checkpoint(
    root: Path, weights: Mapping[str, nn.Parameter], optimiser: Optimiser
) -> dict[str, Any] | None:
    """Restore the newest weights and moments; returns the saved state, or `None` where there is none."""
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
    optimiser.restore(load_file(newest / "optimiser.safetensors"), int(state["optimiser_steps"]))
    if (newest / "extra.safetensors").exists():
        device = str(next(iter(weights.values())).device)
        state["extra"] = load_file(newest / "extra.safetensors", device=device)
    return state


def remove_checkpoints(root: Path) -> None:
    """Remove the checkpoints, of no use once the stage's model is written; what else lies there stays."""
    for folder in _steps(root):
        _remove(folder)
    if root.is_dir():
        remove_leftovers(root)
    with suppress(OSError):
        root.rmdir()


def newest_step(root: Path) -> int | None:
    """The step of the checkpoint from which training would go on; `None` where there is none."""
    folders = _whole(root)
    return int(folders[-1].name) if folders else None


def _whole(root: Path) -> list[Path]:
    """Finished checkpoints, oldest first; one that a crash cut short has another name."""
    return [p for p in _steps(root) if (p / "state.json").exists()]


def _steps(root: Path) -> list[Path]:
    """Folders that are named as checkpoints are, oldest first."""
    return sorted(p for p in root.glob("[0-9]*") if STEP.fullmatch(p.name) and p.is_dir() and not p.is_symlink())


def _remove(folder: Path) -> None:
    """Remove a checkpoint: its own files, and the folder if nothing else is in it.

    The state goes first: without it a checkpoint is none, whatever moment ends the process.
    """
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and any(folder.iterdir()):
        set_aside(folder)  # somebody's own files
    elif folder.is_dir():
        folder.rmdir()
