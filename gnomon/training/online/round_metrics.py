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

LOGGED_SAMPLES = 8  # of each round, in samples.jsonl


def zero_variance_groups(rollouts: Sequence[Rollout], scores: Tensor) -> set[str]:
    """Ids of prompts whose completions have equal `scores` `[N]`, for which a group method has no gradient."""
    index = {name: i for i, name in enumerate(dict.fromkeys(r.prompt.id for r in rollouts))}
    alike = zero_variance_in_group(scores, torch.tensor([index[r.prompt.id] for r in rollouts]))
    return {r.prompt.id for r, same in zip(rollouts, alike.tolist(), strict=True) if same}


def on_policy_rows(rollouts: Sequence[Rollout]) -> list[int]:
    """Rows sampled from the distribution that is trained."""
    return [row for row, rollout in enumerate(rollouts) if not rollout.off_policy]


def describe(experience: Experience, on_policy_rows: Sequence[int]) -> dict[str, float]:
    """Metrics of a round's samples, before the update.

    Metrics of the policy use only `on_policy_rows`: over samples of other distributions the mean of log π/π_ref
    is not its KL. Without such rows they use all.
    """
    on_policy = experience.select(on_policy_rows, experience.totals) if on_policy_rows else experience
    assert on_policy.rewards is not None
    mask = on_policy.tokens.mask.to(on_policy.rewards.device)
    metrics = {
        "score_mean": float(on_policy.scores.mean()),
        "score_std": float(on_policy.scores.std(unbiased=False)),
        "reward_mean": float(masked(on_policy.rewards, mask).sum(1).mean()),
        **({"kl": float(sequence_kl(on_policy).mean())} if on_policy.reference_logprobs is not None else {}),
        **(
            {"kl_full": float(masked_sum(on_policy.full_kl, mask).mean())}
            if on_policy.full_kl is not None
            else {}
        ),
        "length_mean": float(on_policy.tokens.lengths.float().mean()),
        "frac_truncated": 1 - float(on_policy.finished.float().mean()),
    }
    tokens = experience.tokens
    mask = tokens.mask.to(mask.device)
    count = len(tokens.prompts)
    if len(tokens) > count:
        alike = zero_variance_in_group(experience.scores, tokens.group).tolist()
        groups = {g for g, same in zip(tokens.group.tolist(), alike, strict=True) if same}
        metrics["frac_zero_std_groups"] = len(groups) / count
    if experience.values is not None and experience.returns is not None:
        metrics["explained_variance"] = float(explained_variance(experience.values, experience.returns, mask))
    return metrics


def sample_rows(step: int, rollouts: Sequence[Rollout], scores: Sequence[float]) -> list[dict[str, Any]]:
    """The first few samples of a round, for `samples.jsonl`.

    Args:
        step: the round.
        rollouts: its completions.
        scores: of each completion.
    """
    return [
        {
            "step": step,
            "prompt": rollout.prompt.messages[-1].content,
            "text": rollout.completion.text,
            "score": score,
            "finished": rollout.finished,
            **({} if rollout.uncertainty is None else {"uncertainty": rollout.uncertainty}),
        }
        for rollout, score in list(zip(rollouts, scores, strict=True))[:LOGGED_SAMPLES]
    ]
