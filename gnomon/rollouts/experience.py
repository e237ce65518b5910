"""Construction of `Experience` from rollouts and their scores: padding, rewards of tokens, KL penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gnomon.core.batches import StepTotals, TokenGroups, pad_rows
from gnomon.core.experience import Experience, Rollout
from gnomon.losses.kl import ESTIMATORS, k1
from gnomon.losses.reduce import masked, masked_sum


def token_groups_of(rollouts: Sequence[Rollout]) -> TokenGroups:
    """Group rollouts by prompt id and policy version: those of one round are compared with each other."""
    keys = {(r.prompt.id, r.policy_version): r.prompt_ids for r in rollouts}
    same = all(keys[r.prompt.id, r.policy_version] == r.prompt_ids for r in rollouts)
    assert same, "a prompt id stands for one prompt"
    index = {key: i for i, key in enumerate(keys)}
    return TokenGroups.build(
        prompts=list(keys.values()),
        completions=[r.token_ids for r in rollouts],
        group=[index[r.prompt.id, r.policy_version] for r in rollouts],
        masks=[r.mask or (True,) * len(r.token_ids) for r in rollouts],
    )


def build_experience(rollouts: Sequence[Rollout], scores: Tensor, *, limit: float = 1.0) -> Experience:
    """Build the experience with the sampler's log-probabilities, without reference, values or advantages.

    Args:
        rollouts: N of them.
        scores: `[N]`.
        limit: the length limit of a completion.
    """
    tokens = token_groups_of(rollouts)
    return Experience(
        tokens=tokens,
        old_logprobs=pad_rows([torch.tensor(r.logprobs) for r in rollouts], 0.0),
        scores=scores,
        finished=torch.tensor([r.finished for r in rollouts]),
        totals=StepTotals(len(rollouts), float(tokens.mask.sum()), limit),
    )


def cap_truncated(scores: Tensor, finished: Tensor, most: float | None) -> Tensor:
    """Cap the scores of truncated completions so that truncation never pays, `[N]`.

    A truncated completion gets the minimum of three: its own score, `most`, and the lowest score of the round's
    finished ones. `most` alone in place of the score (Ziegler et al. 2019) would reward never ending if finished
    completions score below it. If none finished, the first two count.

    Args:
        scores: of the round, `[N]`.
        finished: whether each ended by itself, `[N]`.
        most: largest score of a truncated completion; `None` leaves all scores as they are.
    """
    if most is None:
        return scores
    capped = scores.clamp(max=most)
    if finished.any():
        capped = capped.clamp(max=float(scores[finished].min()))
    return torch.where(finished, scores, capped)


def last_token(values: Tensor, mask: Tensor) -> Tensor:
    """Put one value for each completion, `[N]`, on the last token that counts, `[N, T]`."""
    positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    last = positions.masked_fill(~mask, -1).amax(dim=1)
    on_tokens = torch.zeros(mask.shape, dtype=values.dtype, device=values.device)
    on_tokens[torch.arange(len(values)), last] = values
    return on_tokens


def soft_overlong(lengths: Tensor, limit: int, buffer: int) -> Tensor:
    """Compute the length penalty: 0 up to `limit − buffer` tokens, then linearly down to −1 at the limit, `[N]`.

    Yu et al. 2025 (DAPO, eq. 13).

    Args:
        lengths: tokens of each completion, `[N]`.
        limit: length limit of a completion.
        buffer: tokens of the ramp; 0 is no penalty.
    """
    if not buffer:
        return torch.zeros(len(lengths))
    return -((lengths - (limit - buffer)) / buffer).clamp(0, 1)


def apply_kl_penalty(
    experience: Experience,
    coefficient: float,
    *,
    placement: str = "reward",
    estimator: str = "k1",
    entropy_bonus: float = 0.0,
) -> Experience:
    """Set the rewards of tokens, `[N, T]`: the score on the last token, KL penalty and entropy bonus on all.

    A token's reward is `−coefficient·KL estimate − entropy_bonus·log π`, plus the score on the last token. k1
    inside the reward, with reward-to-go and γ=1, gives the exact gradient of E[score] − β·KL, and the bonus that
    of the entropy of the whole completion.

    Args:
        experience: with scores, log-probabilities and, for a penalty, the reference's.
        coefficient: β of the KL penalty.
        placement: of the penalty; anything but `reward` leaves it out here.
        estimator: of the KL: `k1`, `k2` or `k3`.
        entropy_bonus: weight of the entropy.
    """
    logprobs = experience.old_logprobs
    mask = experience.tokens.mask.to(logprobs.device)
    rewards = last_token(experience.scores, mask) - entropy_bonus * masked(logprobs, mask)
    if placement == "reward" and coefficient:
        assert experience.reference_logprobs is not None
        cost = ESTIMATORS[estimator](logprobs, experience.reference_logprobs)
        rewards = rewards - coefficient * masked(cost, mask)
    return replace(experience, rewards=rewards)


def sequence_kl(experience: Experience) -> Tensor:
    """Estimate each completion's KL to the reference by k1, in nats, `[N]`."""
    assert experience.reference_logprobs is not None
    mask = experience.tokens.mask.to(experience.old_logprobs.device)
    return masked_sum(k1(experience.old_logprobs, experience.reference_logprobs), mask)
