"""Metrics and samples of one online round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gnomon.core.experience import Experience, Rollout
from gnomon.losses.advantages import explained_variance, zero_variance_in_group
from gnomon.losses.reduce import masked, masked_sum
from gnomon.rollouts.experience import sequence_kl

SAMPLES_KEPT = 8  # of each round, in samples.jsonl


def zero_variance_groups(rollouts: Sequence[Rollout], scores: Tensor) -> set[str]:
    """The prompts whose completions all scored the same: they teach a group method nothing."""
    place = {name: i for i, name in enumerate(dict.fromkeys(r.prompt.id for r in rollouts))}
    alike = zero_variance_in_group(scores, torch.tensor([place[r.prompt.id] for r in rollouts]))
    return {r.prompt.id for r, same in zip(rollouts, alike.tolist(), strict=True) if same}


def own_rows(rollouts: Sequence[Rollout]) -> list[int]:
    """Those that the policy drew from the distribution that is trained."""
    return [row for row, rollout in enumerate(rollouts) if not rollout.off_policy]


def describe(experience: Experience, own: Sequence[int]) -> dict[str, float]:
    """What the round's samples were like, before learning from them.

    Of the policy only the rows `own` speak: over what others drew, the mean of log π/π_ref is not its KL. Without
    any, all rows are described.
    """
    whose = experience.select(own, experience.totals) if own else experience
    assert whose.rewards is not None
    mask = whose.tokens.mask.to(whose.rewards.device)
    found = {
        "score_mean": float(whose.scores.mean()),
        "score_std": float(whose.scores.std(unbiased=False)),
        "reward_mean": float(masked(whose.rewards, mask).sum(1).mean()),
        **({"kl": float(sequence_kl(whose).mean())} if whose.reference_logprobs is not None else {}),
        **({"kl_full": float(masked_sum(whose.full_kl, mask).mean())} if whose.full_kl is not None else {}),
        "length_mean": float(whose.tokens.lengths.float().mean()),
        "frac_truncated": 1 - float(whose.finished.float().mean()),
    }
    tokens = experience.tokens
    mask = tokens.mask.to(mask.device)
    count = len(tokens.prompts)
    if len(tokens) > count:
        alike = zero_variance_in_group(experience.scores, tokens.group).tolist()
        groups = {g for g, same in zip(tokens.group.tolist(), alike, strict=True) if same}
        found["frac_zero_std_groups"] = len(groups) / count
    if experience.values is not None and experience.returns is not None:
        found["explained_variance"] = float(explained_variance(experience.values, experience.returns, mask))
    return found


def sample_rows(step: int, rollouts: Sequence[Rollout], scores: Sequence[float]) -> list[dict[str, Any]]:
    """The first few of the round, for `samples.jsonl`."""
    return [
        {
            "step": step,
            "prompt": rollout.prompt.messages[-1].content,
            "text": rollout.completion.text,
            "score": score,
            "finished": rollout.finished,
        }
        for rollout, score in list(zip(rollouts, scores, strict=True))[:SAMPLES_KEPT]
    ]
