"""The parts of an online round that need nothing but their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from gnomon.core.experience import Rollout
from gnomon.core.types import Prompt
from gnomon.rollouts.sampler import NativeSampler, occurrence_index
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.online.offline_completions import StoredCompletions
from gnomon.training.settings import Exploration


def sample_group_mix(
    sampler: NativeSampler,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    exploration: Exploration,
    *,
    seed: int,
    version: int,
    reference: Mapping[str, Tensor] | None,
    before: Sequence[int] | None = None,
    stored: StoredCompletions | None = None,
) -> list[list[Rollout]]:
    """K completions for each prompt: the policy's, at several temperatures, the reference's, and stored ones.

    `before`: how often each prompt stands before in the round, of which `prompts` may be a share. A prompt for
    which too few are stored has a smaller group.
    """
    from_reference = round(exploration.reference_share * sampling.completions)
    given = stored.count(sampling.completions) if stored else 0
    plan: dict[float, int] = {}
    ladder = exploration.temperatures or (sampling.temperature,)
    for i in range(sampling.completions - from_reference - given):
        plan[ladder[i % len(ladder)]] = plan.get(ladder[i % len(ladder)], 0) + 1
    drawn: list[list[Rollout]] = [[] for _ in prompts]
    stood = occurrence_index(prompts) if before is None else before

    def draw(count: int, temperature: float, salt: int, *, of: str = "policy") -> None:
        own = sampling.model_copy(update={"completions": count, "temperature": temperature})
        first = [turn * count for turn in stood]
        found = sampler.sample(prompts, own, seed=seed * 17 + salt, version=version, first=first)
        if of == "reference" or temperature != sampling.temperature:
            found = [replace(rollout, off_policy=True) for rollout in found]
        for i in range(len(prompts)):
            drawn[i] += found[i * count : (i + 1) * count]

    for salt, (temperature, count) in enumerate(plan.items()):
        draw(count, temperature, salt)
    if from_reference:
        with sampler.policy.reference_mode(reference):
            draw(from_reference, sampling.temperature, 16, of="reference")
    if stored and given:
        temperature = sampling.temperature
        theirs = stored.draw(
            sampler.policy, prompts, given, temperature=temperature, seed=seed, version=version, stood=stood
        )
        drawn = [group + more for group, more in zip(drawn, theirs, strict=True)]
    return drawn
