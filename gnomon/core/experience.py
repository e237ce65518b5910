"""Rollouts, and the tensors of one round that a policy-gradient step learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from gnomon.core.batches import StepTotals, TokenGroups
from gnomon.core.lazy import torch
from gnomon.core.types import Completion, Prompt

if TYPE_CHECKING:
    from torch import Tensor


FinishReason = Literal["end", "stop", "length"]


@dataclass(frozen=True)
class Rollout:
    """One sampled completion.

    Attributes:
        prompt_ids: token ids of the prompt.
        logprobs: of the distribution sampled from, in nats, one for each token of `completion.token_ids`.
        finish_reason: `end`: the model ended its turn; `stop`: a stop id or a stop text ended it; `length`: the
            length limit cut it off.
        policy_version: optimizer steps that the policy had taken.
        mask: false for tokens that the policy did not choose (a tool's); `None` where it chose all.
        off_policy: drawn from the reference or at another temperature, not from the distribution being trained.
        uncertainty: standard deviation of its score over the members of an ensemble; `None` of any other reward.
    """

    prompt: Prompt
    prompt_ids: tuple[int, ...]
    completion: Completion
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    policy_version: int = 0
    mask: tuple[bool, ...] | None = None
    off_policy: bool = False
    uncertainty: float | None = None

    @property
    def finished(self) -> bool:
        """True if the completion ended by itself; false if the length limit cut it off."""
        return self.finish_reason != "length"

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Sampled ids, including those that ended the completion."""
        assert self.completion.token_ids is not None
        return self.completion.token_ids


@dataclass(frozen=True)
class RunningStats:
    """Running mean and standard deviation of the returns of earlier rounds; 0 and 1 before the first.

    Attributes:
        rounds: rounds so far.
    """

    mean: float = 0.0
    std: float = 1.0
    rounds: int = 0

    def update(self, returns: Tensor, decay: float = 0.9) -> RunningStats:
        """Return the statistics with another round's `returns` `[N]`, as exponential moving averages."""
        mean, std = float(returns.mean()), float(returns.std(unbiased=False))
        if not self.rounds:
            return RunningStats(mean, max(std, 1e-6), 1)
        variance = decay * self.std**2 + (1 - decay) * std**2
        moving_mean = decay * self.mean + (1 - decay) * mean
        return RunningStats(moving_mean, max(variance**0.5, 1e-6), self.rounds + 1)


@dataclass(frozen=True)
class KLPenalty:
    """KL penalty as a term of the loss.

    Attributes:
        coef: KL coefficient β.
        estimator: `k1`, `k2` or `k3` (see `gnomon.losses.kl`), or `full`: over the whole vocabulary.
        unbiased_gradient: weight the estimate so that its gradient is that of its expectation; otherwise the
            estimate itself is differentiated, which is the common form.
    """

    coef: float
    estimator: str
    unbiased_gradient: bool = True


@dataclass(frozen=True, eq=False)
class Experience:
    """Rollouts of one round with everything an online algorithm learns from; tensors not needed stay `None`.

    Attributes:
        tokens: prompts and completions.
        old_logprobs: `[N, T]`, of the policy before this round's update.
        scores: `[N]`, of the reward.
        finished: `[N]` boolean, whether each completion ended by itself.
        totals: divisors of the losses and metrics of the optimizer step.
        sampler_logprobs: `[N, T]`, the sampler's, where those are not the trainer's.
        reference_logprobs: `[N, T]`.
        values: `[N, T]`, of the critic.
        critic_states: `[N, T, d]`, hidden states of a critic whose trunk is frozen, reused in its later passes.
        reference_states: `[N, T, d]`, hidden states of the reference.
        full_kl: `[N, T]`, the KL over the whole vocabulary, where it is a penalty or measured.
        token_rewards: `[N, T]`, of a model that rewards single tokens.
        rewards: `[N, T]`, the score on the last token, less any KL penalty.
        advantages: `[N, T]`.
        returns: `[N, T]`.
        return_stats: of the returns of earlier rounds.
        penalty: the KL penalty of the loss.
        prompt_names: the `Prompt.id` of each row, for messages; empty if unknown.
    """

    tokens: TokenGroups
    old_logprobs: Tensor
    scores: Tensor
    finished: Tensor
    totals: StepTotals
    sampler_logprobs: Tensor | None = None
    reference_logprobs: Tensor | None = None
    values: Tensor | None = None
    critic_states: Tensor | None = None
    reference_states: Tensor | None = None
    full_kl: Tensor | None = None
    token_rewards: Tensor | None = None
    rewards: Tensor | None = None
    advantages: Tensor | None = None
    returns: Tensor | None = None
    return_stats: RunningStats = RunningStats()
    penalty: KLPenalty | None = None
    prompt_names: tuple[str, ...] = ()

    def select(self, rows: Sequence[int], totals: StepTotals) -> Experience:
        """Select the completions `rows`, with the totals of their optimizer step."""
        tokens = self.tokens.select(rows)
        width = int(tokens.lengths.max())
        index = torch.tensor(list(rows))
        prompt_names = tuple(self.prompt_names[r] for r in rows) if self.prompt_names else ()
        changed: dict[str, Any] = {"tokens": tokens, "totals": totals, "prompt_names": prompt_names}
        for name in (f.name for f in fields(self) if f.name not in changed):
            value = getattr(self, name)
            if isinstance(value, torch.Tensor):
                value = value[index.to(value.device)]
                changed[name] = value[:, :width] if value.dim() > 1 else value
        return replace(self, **changed)

    def to(self, device: torch.device) -> Self:
        """Move its tensors to `device`; token ids move with the forward pass."""
        moved: dict[str, Any] = {
            f.name: v.to(device) for f in fields(self) if isinstance(v := getattr(self, f.name), torch.Tensor)
        }
        return replace(self, **moved)
