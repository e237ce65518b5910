"""Sampling of a group's completions from several sources."""

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
    policy_version: int,
    reference: Mapping[str, Tensor] | None,
    occurrences: Sequence[int] | None = None,
    stored: StoredCompletions | None = None,
) -> list[list[Rollout]]:
    """Sample K completions per prompt: the policy's at several temperatures, the reference's, stored ones.

    Args:
        sampler: of the policy.
        prompts: of the round, or this process's shard of them.
        sampling: of the stage.
        exploration: the sources.
        seed: of this round.
        policy_version: optimizer steps that the policy has taken.
        reference: weights of the reference, by name `[…]`; `None` disables the adapter.
        occurrences: how often each prompt occurs earlier in the round; `None` counts within `prompts`.
        stored: off-policy completions; a prompt with too few of them has a smaller group.

    Returns:
        A group for each prompt.
    """
    from_reference = round(exploration.reference_share * sampling.completions)
    from_store = stored.count(sampling.completions) if stored else 0
    plan: dict[float, int] = {}
    ladder = exploration.temperatures or (sampling.temperature,)
    for i in range(sampling.completions - from_reference - from_store):
        plan[ladder[i % len(ladder)]] = plan.get(ladder[i % len(ladder)], 0) + 1
    drawn: list[list[Rollout]] = [[] for _ in prompts]
    earlier = occurrence_index(prompts) if occurrences is None else occurrences

    def draw(count: int, temperature: float, salt: int, *, of: str = "policy") -> None:
        rollouts = sampler.sample(
            prompts,
            sampling.model_copy(update={"completions": count, "temperature": temperature}),
            seed=seed * 17 + salt,
            policy_version=policy_version,
            first_indices=[index * count for index in earlier],
        )
        if of == "reference" or temperature != sampling.temperature:
            rollouts = [replace(rollout, off_policy=True) for rollout in rollouts]
        for i in range(len(prompts)):
            drawn[i] += rollouts[i * count : (i + 1) * count]

    for salt, (temperature, count) in enumerate(plan.items()):
        draw(count, temperature, salt)
    if from_reference:
        with sampler.policy.reference_mode(reference):
            draw(from_reference, sampling.temperature, 16, of="reference")
    if stored and from_store:
        temperature = sampling.temperature
        completions = stored.draw(
            sampler.policy,
            prompts,
            from_store,
            temperature=temperature,
            seed=seed,
            policy_version=policy_version,
            occurrences=earlier,
        )
        drawn = [group + more for group, more in zip(drawn, completions, strict=True)]
    return drawn
