"""A hybrid stage: several algorithms in turn on one policy, each for its steps or up to a metric's bound."""

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
from gnomon.training.online.reward_failures import counts_by_reason
from gnomon.training.runtime.checkpoints import remove_checkpoints
from gnomon.training.settings import OnlineSettings


def run_hybrid(stage: HybridStage, work: Workspace) -> dict[str, Any]:
    """Run every unfinished phase, save `model/`, and return the stage's result."""
    started = time.monotonic()
    torch.manual_seed(work.recipe.seed)
    policy = load_trained(stage, work)
    assert isinstance(policy, Policy)
    needs_one = any(_reads_reference(phase) for phase in stage.phases)
    reference = policy.reference_weights() if needs_one and not policy.adapter else None
    phases = {phase.name: _phase(phase, stage, work, policy, reference) for phase in stage.phases}
    last = phases[stage.phases[-1].name]
    return finish(stage.name, policy, work, started) | {
        "algorithm": " → ".join(phase.algorithm for phase in stage.phases),
        "model": stage.model,
        "phases": phases,
        "final": last["final"],
        "steps": sum(result["steps"] for result in phases.values()),
        "reward_failures": counts_by_reason(
            row for result in phases.values() for row in result.get("reward_failures", [])
        ),
        "learning": _learning([result.get("learning", {}) for result in phases.values()]),
        "peak_memory_gb": peak_memory_gb(),
        **peak_device_memory(),
    }


def _reads_reference(phase: Phase) -> bool:
    """Whether the phase needs the stage's starting model as its reference."""
    algorithm, settings = phase.make_algorithm(), phase.loop
    if isinstance(settings, OnlineSettings):
        return needs_reference(algorithm, settings)
    return "reference" in algorithm.needs


def _learning(phases: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The learning summary of the first phase that learned nothing, else an empty one."""
    return next((summary for summary in phases if summary.get("nothing")), {"nothing": ""})


def _phase(
    phase: Phase, stage: HybridStage, work: Workspace, policy: Policy, reference: dict[str, torch.Tensor] | None
) -> dict[str, Any]:
    """Run one phase, or load the saved weights and result of a finished one."""
    folder = work.stage_folder(stage.name) / phase.name
    weights_path, result_path = folder / "weights.safetensors", folder / "result.json"
    if result_path.exists():
        with torch.no_grad():
            for name, weight in load_file(weights_path).items():
                policy.trainable()[name].copy_(weight)
        result: dict[str, Any] = read_json(result_path)
        return result
    console.print(f"  {phase.name}: {phase.algorithm}")

    def over(_: int, metrics: Mapping[str, float]) -> bool:
        if phase.until is None:
            return False
        check_known(phase, phase.until.metric, metrics)
        return phase.until.reached(metrics)

    train = train_sampled if phase.online else train_stored
    result = train(phase, work, policy, folder, reference=reference, over=over)
    if work.processes.main:
        weights = {name: p.detach().cpu().contiguous() for name, p in policy.trainable().items()}
        save_file(weights, weights_path)
        write_json(result_path, result)
        remove_checkpoints(folder / "checkpoints")
    work.processes.barrier()
    return result


def check_known(phase: Phase, name: str, metrics: Mapping[str, float]) -> None:
    """Refuse a phase whose `until` names a metric that is not recorded.

    Validation metrics, and those of an update after a round without signal, may come later than the first step.

    Args:
        phase: with its `until` and its loop settings.
        name: of the metric.
        metrics: of a step.
    """
    may_come_later = name.startswith("validation_") and getattr(phase.loop, "validation", None) is not None
    validated = any(key.startswith("validation_") for key in metrics)
    if name not in metrics and not metrics.get("skipped_updates") and (validated or not may_come_later):
        hint = did_you_mean(name, metrics, METRICS)
        raise ConfigError(f"phase '{phase.name}': until.metric is '{name}', unknown here; {hint}")
