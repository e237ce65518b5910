"""What every training stage does at its end: save the model, and note its size, device and peak memory."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gnomon.models.loading import save_model, save_panel
from gnomon.models.reward_ensemble import RewardPanel
from gnomon.models.roles import Model
from gnomon.stages.common.results import ParameterCounts
from gnomon.stages.workspace import Workspace


def finish(name: str, model: Model | RewardPanel, work: Workspace, started: float, steps: int) -> dict[str, Any]:
    """Save a trained model, and return the fields that every training's result has.

    Args:
        name: of the stage.
        model: trained.
        work: the run.
        started: when the stage started, by `time.monotonic`.
        steps: that it was trained for.
    """
    counts = model.parameter_counts()
    dtype = (model.members[0] if isinstance(model, RewardPanel) else model).compute.dtype
    if work.processes.main and isinstance(model, RewardPanel):
        save_panel(model, work.stage_folder(name) / "model", steps=steps)
    elif work.processes.main and isinstance(model, Model):
        save_model(model, work.stage_folder(name) / "model", steps=steps)
    return {
        "kind": "train",
        "seconds": time.monotonic() - started,
        "parameters": ParameterCounts(total=counts["total"], trainable=counts["trainable"]),
        "processes": work.processes.count,
        "device": work.compute.device.type,
        "dtype": str(dtype).removeprefix("torch."),
    }


def peak_device_memory() -> dict[str, float]:
    """Peak memory of tensors on the GPU as a field of the result; empty without a GPU."""
    return {"peak_device_memory_gb": torch.cuda.max_memory_allocated() / 1e9} if torch.cuda.is_available() else {}


def peak_memory_gb() -> float:
    """Peak resident memory of this process in GB, without accelerator memory."""
    # On Linux, getrusage includes the peak of the parent process, so the status file is read first.
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peaks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    if peaks:
        return peaks[0] * 1024 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)
