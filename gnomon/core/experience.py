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
        logprobs: of the distribution sampled from, in nats, one for each token of `completion.token_ids`.
        finish_reason: `end`: the model ended its turn; `stop`: a stop id or a stop text ended it; `length`: the
            length limit cut it off.
        version: optimizer steps that the policy had taken.
        mask: false for tokens that the policy did not choose (a tool's); `None` where it chose all.
        off_policy: drawn from the reference or at another temperature, not from the distribution being trained.
    """

    prompt: Prompt
    prompt_ids: tuple[int, ...]
    completion: Completion
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    version: int = 0
    mask: tuple[bool, ...] | None = None
    off_policy: bool = False

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
    """Running mean and deviation of the returns of earlier rounds; 0 and 1 before the first.

    Attributes:
        seen: rounds so far.
    """

    mean: float = 0.0
    deviation: float = 1.0
    seen: int = 0

    def after(self, values: Tensor, memory: float = 0.9) -> RunningStats:
        """Return statistics after another round of `values` `[N]`: exponential averages, decay `memory`."""
        mean, deviation = float(values.mean()), float(values.std(unbiased=False))
        if not self.seen:
            return RunningStats(mean, max(deviation, 1e-6), 1)
        square = memory * self.deviation**2 + (1 - memory) * deviation**2
        blended = memory * self.mean + (1 - memory) * mean
        return RunningStats(blended, max(square**0.5, 1e-6), self.seen + 1)


@dataclass(frozen=True)
class KLPenalty:
    """KL penalty as a term of the loss.

    Attributes:
        coef: β, the weight of a nat.
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
        logprobs: `[N, T]`, of the policy before this round's update.
        scores: `[N]`, of the reward.
        finished: `[N]` boolean, whether each completion ended by itself.
        totals: of the optimizer step.
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
        names: N ids of prompts, for messages.
    """

    tokens: TokenGroups
    logprobs: Tensor
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
    names: tuple[str, ...] = ()

    def select(self, rows: Sequence[int], totals: StepTotals) -> Experience:
        """Select the completions `rows`, with the totals of their optimizer step."""
        tokens = self.tokens.select(rows)
        width = int(tokens.lengths.max())
        index = torch.tensor(list(rows))
        names = tuple(self.names[r] for r in rows) if self.names else ()
        changed: dict[str, Any] = {"tokens": tokens, "totals": totals, "names": names}
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
