"""A hybrid stage: several algorithms in turn on one policy, each until its steps or its metric say so."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from gnomon.core.config import did_you_mean
from gnomon.core.errors import ConfigError
from gnomon.core.progress import console
from gnomon.core.renamed import METRICS
from gnomon.core.storage.files import read_json, write_json
from gnomon.models.roles import Policy
from gnomon.stages.load import load_trained
from gnomon.stages.settings import HybridStage, Phase
from gnomon.stages.train import finish, peak_device_memory, peak_memory_gb
from gnomon.stages.train_loops import train_sampled, train_stored
from gnomon.stages.workspace import Workspace
from gnomon.training.checks import needs_reference
from gnomon.training.online.reward_failures import summed
from gnomon.training.runtime.checkpoints import remove_checkpoints
from gnomon.training.settings import OnlineSettings


def run_hybrid(stage: HybridStage, work: Workspace) -> dict[str, Any]:
    """Do every phase that is not done, save `model/`, and return the stage's result."""
    started = time.monotonic()
    torch.manual_seed(work.recipe.seed)
    policy = load_trained(stage, work)
    assert isinstance(policy, Policy)
    read = any(_reads_reference(phase) for phase in stage.phases)
    reference = policy.reference_weights() if read and not policy.adapter else None
    phases = {phase.name: _phase(phase, stage, work, policy, reference) for phase in stage.phases}
    last = phases[stage.phases[-1].name]
    return finish(stage.name, policy, work, started) | {
        "algorithm": " → ".join(phase.algorithm for phase in stage.phases),
        "model": stage.model,
        "phases": phases,
        "final": last["final"],
        "steps": sum(found["steps"] for found in phases.values()),
        "reward_failures": summed(row for found in phases.values() for row in found.get("reward_failures", [])),
        "learning": _learning([found.get("learning", {}) for found in phases.values()]),
        "peak_memory_gb": peak_memory_gb(),
        **peak_device_memory(),
    }


def _reads_reference(phase: Phase) -> bool:
    """Whether the phase needs the model that the stage started from."""
    algorithm, settings = phase.make_algorithm(), phase.loop
    if isinstance(settings, OnlineSettings):
        return needs_reference(algorithm, settings)
    return "reference" in algorithm.needs


def _learning(phases: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What the phases had to teach: nothing where one of them taught nothing, since each was meant to."""
    return next((found for found in phases if found.get("nothing")), {"nothing": ""})


def _phase(
    phase: Phase, stage: HybridStage, work: Workspace, policy: Policy, reference: dict[str, torch.Tensor] | None
) -> dict[str, Any]:
    """One phase; one that is done leaves its weights, from which the next goes on."""
    folder = work.stage_folder(stage.name) / phase.name
    ends, done = folder / "weights.safetensors", folder / "result.json"
    if done.exists():
        with torch.no_grad():
            for name, weight in load_file(ends).items():
                policy.trainable()[name].copy_(weight)
        found: dict[str, Any] = read_json(done)
        return found
    console.print(f"  {phase.name}: {phase.algorithm}")

    def over(_: int, metrics: Mapping[str, float]) -> bool:
        if phase.until is None:
            return False
        check_known(phase, phase.until.metric, metrics)
        return phase.until.reached(metrics)

    train = train_sampled if phase.online else train_stored
    found = train(phase, work, policy, folder, reference=reference, over=over)
    if work.processes.main:
        weights = {name: p.detach().cpu().contiguous() for name, p in policy.trainable().items()}
        save_file(weights, ends)
        write_json(done, found)
        remove_checkpoints(folder / "checkpoints")
    work.processes.wait()
    return found


def check_known(phase: Phase, name: str, metrics: Mapping[str, float]) -> None:
    """Refuse a phase whose `until` waits for a metric that does not come.

    Some come later than with the first step: those of validation, and those of an update where a round had
    nothing to teach.
    """
    awaited = name.startswith("validation_") and getattr(phase.loop, "validation", None) is not None
    looked = any(key.startswith("validation_") for key in metrics)
    if name not in metrics and not metrics.get("skipped_updates") and (looked or not awaited):
        hint = did_you_mean(name, metrics, METRICS)
        raise ConfigError(f"phase '{phase.name}': until.metric is '{name}', unknown here; {hint}")
