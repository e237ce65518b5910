"""A training stage: load the models that the algorithm needs, train, save the model."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gnomon.models.loading import save_model
from gnomon.models.roles import Model, RewardModel
from gnomon.stages.evaluate_reward_model import evaluate_reward_model
from gnomon.stages.load import load_trained
from gnomon.stages.settings import FeedbackStage, TrainStage
from gnomon.stages.train_loops import train_sampled, train_stored
from gnomon.stages.workspace import Workspace


def run_train(stage: TrainStage, work: Workspace) -> dict[str, Any]:
    """Train, save `model/`, and return the stage's result."""
    started = time.monotonic()
    torch.manual_seed(work.recipe.seed)
    folder = work.stage_folder(stage.name)
    model = load_trained(stage, work)
    result = (train_sampled if stage.online else train_stored)(stage, work, model, folder)
    return finish(stage.name, model, work, started) | {
        "algorithm": stage.algorithm,
        "model": stage.model,
        **result,
        **_reward_model_evaluation(stage, model, work),
        "peak_memory_gb": peak_memory_gb(),
        **peak_device_memory(),
    }


def peak_device_memory() -> dict[str, float]:
    """Peak memory of tensors on the GPU as an entry of the result; empty without a GPU."""
    return {"peak_device_memory_gb": torch.cuda.max_memory_allocated() / 1e9} if torch.cuda.is_available() else {}


def finish(name: str, model: Model, work: Workspace, started: float) -> dict[str, Any]:
    """Save a trained model, and return the entries that every training stage's result has.

    Args:
        name: of the stage.
        model: trained.
        work: the run.
        started: when the stage started, by `time.monotonic`.
    """
    parameters = model.parameter_counts()
    if work.processes.main:
        save_model(model, work.stage_folder(name) / "model")
    return {
        "kind": "train",
        "seconds": time.monotonic() - started,
        "parameters": parameters,
        "processes": work.processes.count,
        "device": work.compute.device.type,
        "dtype": str(model.compute.dtype).removeprefix("torch."),
    }


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


def _reward_model_evaluation(stage: TrainStage, model: Model, work: Workspace) -> dict[str, Any]:
    feedback = _feedback_behind(stage, work)
    if not isinstance(model, RewardModel) or feedback is None or not work.processes.main:
        return {}
    return {"evaluation": evaluate_reward_model(model, stage.name, feedback, work)}


def _feedback_behind(stage: TrainStage, work: Workspace) -> FeedbackStage | None:
    """The feedback stage whose held-out texts can evaluate this stage's model."""
    name = next(iter(stage.tasks), "").partition("/")[0]
    return next((s for s in work.recipe.stages if s.name == name and isinstance(s, FeedbackStage)), None)
