"""`gnomon run --dry-run`: estimate a recipe's memory and time before it runs.

Every stage is prepared in a temporary folder: its data are made and its models loaded as in a run, but instead of
training it tries a small micro-batch and samples a few tokens. An untrained model stands in for a stage's trained
one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from gnomon.core.progress import StopSignal, console, format_duration
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.core.types import Message, Prompt
from gnomon.models.engine.device import Compute, fill_kernels, find_compute
from gnomon.models.loading import load_policy
from gnomon.models.settings import Trainable
from gnomon.models.tiny_random import RandomModel
from gnomon.pipeline.preflight import check_inputs, load_functions
from gnomon.pipeline.recipe import Recipe
from gnomon.rollouts.experience import token_groups_of
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling
from gnomon.stages.contract import PARTS, StagePlan
from gnomon.stages.workspace import Workspace
from gnomon.training.runtime.memory_profile import held_bytes


@dataclass(frozen=True)
class ResourcePlan:
    """Estimated memory and time of a recipe, stage by stage; stages that only prepare data are not listed."""

    device: str
    stages: tuple[StagePlan, ...]
    other_seconds: float

    @property
    def peak_gb(self) -> float:
        """Peak memory in GB of 10^9 bytes."""
        return max((stage.peak for stage in self.stages), default=0.0) / 1e9

    @property
    def seconds(self) -> float:
        """Time of all stages."""
        return self.other_seconds + sum(stage.seconds for stage in self.stages)


def plan_recipe(recipe: Recipe) -> ResourcePlan:
    """Estimate a recipe: prepare and try every stage.

    Raises:
        GnomonError: a mistake of the user that a run would find before it trains.
    """
    check_inputs(recipe)
    import_module(
        "gnomon.rewards.tfidf_ridge"
    )  # a run loads scikit-learn too, so it counts as memory of the process
    compute = find_compute(recipe.model.device, recipe.model.precision)
    fill_kernels(compute)
    plans: list[StagePlan] = []
    other = 0.0
    with temporary_folder(Path(tempfile.gettempdir())) as folder:
        work = Workspace(folder, recipe, compute, StopSignal(), functions=load_functions(recipe, {}))
        warm_up(folder / "warm", compute)
        baseline_bytes = held_bytes(compute.device)
        for stage in recipe.stages:
            started = time.monotonic()
            with _quietly():
                (folder / stage.name).mkdir(parents=True)
                planned = stage.estimate(work, baseline_bytes)
            plans += planned
            if not planned:
                other += time.monotonic() - started
                if not plans:  # what it read stays in memory, which later stages reuse
                    baseline_bytes = held_bytes(compute.device)
    return ResourcePlan(str(compute), tuple(plans), other)


def warm_up(folder: Path, compute: Compute) -> None:
    """Sample from a tiny random model and learn from it once, so that the process is as large as a run's.

    The first model brings code of transformers, kernels, thread stacks and retained freed memory, which belong to
    the process and not to a stage's models.

    Args:
        folder: for the model's files, not needed afterwards.
        compute: device and precision.
    """
    with _quietly():
        RandomModel(layers=1, width=16).write(folder)
        policy = load_policy(str(folder), compute, Trainable(adapter="none"))
        prompt = Prompt("warm", (Message("user", "a"),))
        rollouts = NativeSampler(policy).sample([prompt], Sampling(completions=2, max_tokens=4), seed=0)
        policy.logprobs(token_groups_of(rollouts)).sum().backward()  # type: ignore[no-untyped-call]


@contextmanager
def _quietly() -> Iterator[None]:
    """Context manager: silence the stages' console output."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


def format_plan(plan: ResourcePlan) -> str:
    """Format the plan as text, two lines per stage."""
    lines: list[str] = []
    for stage in plan.stages:
        total, learning = (count / 1e6 for count in stage.parameters)
        parts = ", ".join(f"{part} {stage.bytes[part] / 1e9:.2f}" for part in PARTS if stage.bytes[part] >= 5e6)
        lines += [
            f"{stage.name}: {stage.does}; {learning:.1f} of {total:.1f} million weights trainable",
            f"  {stage.peak / 1e9:.2f} GB ({parts}), {stage.tokens_per_second:.0f} tokens/s, "
            f"{format_duration(stage.seconds)}",
        ]
    return "\n".join(lines)
