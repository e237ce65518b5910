"""Validation of an online stage on held-out prompts."""

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
    """Split prompts into training pools and held-out prompts, by text, so that none is in both.

    Args:
        pools: prompts with weights.
        validation: settings; `None` holds out nothing.
        seed: of the split.

    Raises:
        ConfigError: a pool would be empty.
    """
    if validation is None:
        return pools, []
    texts = list(dict.fromkeys(prompt.context for prompts, _ in pools for prompt in prompts))
    count = max(1, round(validation.share * len(texts)))
    chosen = {texts[i] for i in epoch_order(len(texts), seed, 1_000)[:count]}
    remaining: Pools = [([p for p in prompts if p.context not in chosen], weight) for prompts, weight in pools]
    if not all(prompts for prompts, _ in remaining):
        raise ConfigError(
            f"training.validation.share holds back {count} of {len(texts)} prompts and leaves none of a pool to "
            "train on; lower it, give more prompts, or remove validation."
        )
    held = {p.context: p for prompts, _ in pools for p in prompts if p.context in chosen}
    return remaining, list(held.values())


class HeldOutEvaluator:
    """Samples completions for held-out prompts, always with the same random numbers, and scores them."""

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

    def measure(self, sampler: NativeSampler, *, seed: int, policy_version: int) -> dict[str, float]:
        """Metrics of the policy; the reward's running statistics and failure count do not change.

        Args:
            sampler: of the policy.
            seed: of the stage.
            policy_version: optimizer steps that the policy has taken.
        """
        shard, count = self.processes.shard(self.prompts), self.sampling.completions
        drawn = (
            sampler.sample(shard, self.sampling, seed=seed * SALT, policy_version=policy_version) if shard else []
        )
        groups = [drawn[i : i + count] for i in range(0, len(drawn), count)]
        rollouts: list[Rollout] = [r for g in self.processes.unshard(groups, len(self.prompts)) for r in g]
        scored, scores, reward_metrics = self.scorer.score(rollouts, learn=False)
        lengths = torch.tensor([len(r.token_ids) for r in scored], dtype=torch.float32)
        return {
            "score_mean": float(scores.mean()),
            "score_std": float(scores.std(unbiased=False)),
            "length_mean": float(lengths.mean()),
            "frac_truncated": sum(not r.finished for r in scored) / len(scored),
            **reward_metrics,
        }
