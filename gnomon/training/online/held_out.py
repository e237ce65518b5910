"""Prompts that an online stage never learns from, and how the policy answers them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gnomon.core.errors import ConfigError
from gnomon.core.experience import Rollout
from gnomon.core.types import Prompt
from gnomon.data.batching import epoch_order
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.online.reward_scoring import Scorer
from gnomon.training.runtime.distributed import Processes
from gnomon.training.settings import OnlineValidation

Pools = list[tuple[Sequence[Prompt], float]]
SALT = 7_919  # keeps validation's random numbers apart from training's


def hold_out(pools: Pools, validation: OnlineValidation | None, seed: int) -> tuple[Pools, list[Prompt]]:
    """Pools to sample for, and the prompts held back: whole prompts by their text, so that none is in both.

    Raises:
        ConfigError: nothing would be left of a pool.
    """
    if validation is None:
        return pools, []
    texts = list(dict.fromkeys(prompt.messages for prompts, _ in pools for prompt in prompts))
    count = max(1, round(validation.share * len(texts)))
    chosen = {texts[i] for i in epoch_order(len(texts), seed, 1_000)[:count]}
    kept: Pools = [([p for p in prompts if p.messages not in chosen], weight) for prompts, weight in pools]
    if not all(prompts for prompts, _ in kept):
        raise ConfigError(
            f"training.validation.share holds back {count} of {len(texts)} prompts and leaves none of a pool to "
            "train on; lower it, give more prompts, or remove validation."
        )
    held = {p.messages: p for prompts, _ in pools for p in prompts if p.messages in chosen}
    return kept, list(held.values())


class HeldOutEvaluator:
    """Has the policy answer the held-out prompts, always with the same random numbers, and scores the answers."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        validation: OnlineValidation,
        sampling: Sampling,
        scorer: Scorer,
        processes: Processes,
    ):
        self.prompts = prompts
        self.sampling = sampling.model_copy(update={"completions": validation.completions})
        self.scorer = scorer
        self.processes = processes

    def measure(self, sampler: NativeSampler, *, seed: int, version: int) -> dict[str, float]:
        """Means over the answers; the reward's running moments and its budget of failures stay as they are."""
        mine, count = self.processes.shard(self.prompts), self.sampling.completions
        drawn = sampler.sample(mine, self.sampling, seed=seed * SALT, version=version) if mine else []
        groups = [drawn[i : i + count] for i in range(0, len(drawn), count)]
        rollouts: list[Rollout] = [r for g in self.processes.unshard(groups, len(self.prompts)) for r in g]
        kept, scores, judged = self.scorer.score(rollouts, learn=False)
        lengths = torch.tensor([len(r.token_ids) for r in kept], dtype=torch.float32)
        return {
            "score_mean": float(scores.mean()),
            "score_std": float(scores.std(unbiased=False)),
            "length_mean": float(lengths.mean()),
            "frac_truncated": sum(not r.finished for r in kept) / len(kept),
            **judged,
        }
