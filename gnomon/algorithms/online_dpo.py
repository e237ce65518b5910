"""Online DPO: sample, judge, and learn from the best against the worst of each group.

Paper: Guo et al. 2024, "Direct language model alignment from online AI feedback". The pair is drawn from the
policy as it is, so the loss never speaks of texts that the policy would not write:
`−log σ(β·[log π/π_ref(y_best) − log π/π_ref(y_worst)])`.

Wrong when scores are precise and their size matters: only the order is used; RLOO uses all of it. A judge who
errs as Bradley and Terry say brings it to rest at π* ∝ π_ref·exp(r/β); one who never errs to the best completion
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms._completion_advantages import completion_returns, with_advantages
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Metrics
from gnomon.core.experience import Experience
from gnomon.core.lazy import F, torch
from gnomon.core.ranges import Positive
from gnomon.losses.advantages import best_and_worst
from gnomon.losses.kl import log_ratio
from gnomon.losses.reduce import masked_sum, token_mean

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class OnlineDPO:
    """DPO on pairs that the policy draws itself.

    Attributes:
        beta: KL penalty strength; smaller values let the policy move further from the reference.
    """

    consumes: ClassVar[type] = Experience
    trains: ClassVar[str] = "policy"
    supports_kl_loss: ClassVar[bool] = False
    single_update: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"reference"})
    loop_defaults: ClassVar[Mapping[str, Any]] = {"minibatches": 1, "kl": {"coef": 0.0, "target": None}}
    min_group_size: ClassVar[int] = 2
    beta: Positive = 0.1

    def compute_advantages(self, experience: Experience) -> Experience:
        """+1 on the best completion of a group, −1 on the worst, 0 on the rest and where all are alike."""
        returns = completion_returns(experience)
        return with_advantages(experience, best_and_worst(returns, experience.tokens.group))

    def loss(self, models: Models, batch: Experience) -> tuple[Tensor, Metrics]:
        """Mean over the step's pairs, `[]`, one per group with unequal scores; minibatches keep groups whole."""
        assert batch.advantages is not None
        assert batch.reference_logprobs is not None
        tokens, pairs = batch.tokens, max(1.0, batch.totals.groups)
        token_count = batch.totals.computed_tokens
        logprobs, entropy = models.policy.logprobs_and_entropy(tokens, temperature=models.temperature)
        assert entropy is not None
        mask, group = tokens.mask.to(logprobs.device), tokens.group.to(logprobs.device)
        log_ratios = masked_sum(logprobs - batch.reference_logprobs, mask)  # [N]
        side = batch.advantages.masked_fill(~mask, 0.0).sum(dim=1).sign()  # [N]: +1, −1, 0
        count = len(tokens.prompts)
        margin = logprobs.new_zeros(count).index_add(0, group, side * log_ratios)  # [G]
        weight = logprobs.new_zeros(count).index_add(0, group, side.abs() / 2) / pairs  # 0 where there is no pair
        loss = -(weight * F.logsigmoid(self.beta * margin)).sum()
        drift = log_ratio(logprobs.detach(), batch.old_logprobs.masked_fill(~mask, 0.0))
        return loss, {
            "loss": loss.detach(),
            "accuracy": (weight * (1 + margin.detach().sign()) / 2).sum(),  # a tie counts half
            "reward_margin": (weight * margin.detach()).sum(),
            "entropy": token_mean(entropy, mask, token_count),
            "approx_kl": token_mean(torch.expm1(drift) - drift, mask, token_count),
            "prob_abs_diff": token_mean(
                (logprobs.detach().exp() - batch.old_logprobs.exp()).abs(), mask, token_count
            ),
        }
