"""Plackett–Luce DPO: learns from whole rankings, not from the pairs in them.

Paper: Rafailov et al. 2023, appendix A.3: `−Σ_k log (exp βh_k / Σ_{j≥k} exp βh_j)`, h the summed log-ratio of
each completion, best first; each place is a choice among those that are left. With two completions it is DPO.

Wrong when the lower places were given without care: they count as much as the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms._preference import completion_logratios
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Metrics, Rankings
from gnomon.core.lazy import torch
from gnomon.core.ranges import Positive, Weight
from gnomon.core.types import Ranking
from gnomon.losses.preference import concordance, plackett_luce

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PlackettLuce:
    """DPO over rankings of any length.

    Attributes:
        beta: KL penalty strength; smaller values let the policy move further from the reference.
        sft_coef: weight of the mean negative log-likelihood per token of the best completion.
    """

    consumes: ClassVar[type] = Ranking
    trains: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset({"reference"})
    loop_defaults: ClassVar[Mapping[str, Any]] = {}
    min_group_size: ClassVar[int] = 1
    beta: Positive = 0.1
    sft_coef: Weight = 0.0

    def loss(self, models: Models, batch: Rankings) -> tuple[Tensor, Metrics]:
        """Mean over rankings, `[]`; in metrics, `chosen` is the best completion of each, `rejected` the worst.

        Accuracy is the share of a ranking's pairs in the right order.
        """
        logratios, nll, _ = completion_logratios(models, batch, reference=True)
        rewards, rows = self.beta * logratios.sum(dim=-1), batch.totals.rows  # [N]
        orders = [order.to(logratios.device) for order in batch.order]
        losses = torch.stack([plackett_luce(rewards[order]) for order in orders])  # [M]
        best, worst = torch.stack([o[0] for o in orders]), torch.stack([o[-1] for o in orders])
        loss = (batch.weight.to(logratios) * (losses + self.sft_coef * nll[best])).sum() / rows
        right = torch.stack([concordance(rewards[order]) for order in orders])
        chosen, rejected = rewards[best].detach(), rewards[worst].detach()
        return loss, {
            "loss": loss.detach(),
            "accuracy": right.sum() / rows,
            "reward_margin": (chosen - rejected).sum() / rows,
            "nll": nll[best].detach().sum() / rows,
            "chosen_reward": chosen.sum() / rows,
            "rejected_reward": rejected.sum() / rows,
        }
