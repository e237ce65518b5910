"""Reward model: a scalar that orders completions as raters do.

Formula: Bradley–Terry (1952) cross-entropy on the difference of two scores, `−p·log σ(Δ) − (1 − p)·log σ(−Δ)`,
where p is the share of raters who prefer the first (Ouyang et al. 2022, eq. 1, has p = 1). All pairs of a prompt
are in one batch, so each completion is read once however many pairs it is in.

Wrong when preferences are not transitive, or when who judges matters more than what is judged: one number a
completion cannot hold either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms._pair_losses import ScorePairLoss
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Metrics, Preferences
from gnomon.core.ranges import Weight
from gnomon.core.types import Preference
from gnomon.models.score_parts.settings import PartSettings

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RewardModeling(ScorePairLoss):
    """Bradley–Terry reward modelling.

    Attributes:
        center_rewards_coef: weight of `(s_c + s_r)²`, which keeps scores near zero (Eisenstein et al. 2023).
        per_prompt: the mean over prompts of the mean over a prompt's pairs, so that each of the C(K, 2) pairs of
            K completions weighs 1/C(K, 2), as in Ouyang et al. (2022, eq. 1); otherwise the mean over pairs.
    """

    consumes: ClassVar[type] = Preference
    trains: ClassVar[str] = "reward"
    needs: ClassVar[frozenset[str]] = frozenset()
    loop_defaults: ClassVar[Mapping[str, Any]] = {}
    min_group_size: ClassVar[int] = 1
    center_rewards_coef: Weight = 0.01
    per_prompt: bool = False

    def parts(self) -> PartSettings:
        """The parts of the model beside its head: a tie parameter that is learned."""
        return PartSettings(tie=self.tie_model if self.tie_parameter is None else None)

    def loss(self, models: Models, batch: Preferences) -> tuple[Tensor, Metrics]:
        """Mean loss of a pair, in nats, `[]`; accuracy counts tied scores as half."""
        scores = models.reward.outputs(batch.tokens).score  # [N]
        device = scores.device
        chosen, rejected = scores[batch.chosen.to(device)], scores[batch.rejected.to(device)]  # [M]
        pairs = self.pair_losses(models.reward, (chosen, rejected), batch)
        spread = (chosen + rejected).square()
        rows = batch.totals.rows
        weight, count = batch.weight.to(device), rows
        if self.per_prompt:
            assert batch.share is not None
            weight, count = weight * batch.share.to(device), batch.totals.examples
        loss = (weight * (pairs + self.center_rewards_coef * spread)).sum() / count
        margin = (chosen - rejected).detach()
        right = (margin > 0).float() + 0.5 * (margin == 0).float()
        metrics = {
            "loss": loss.detach(),
            "accuracy": right.sum() / rows,
            "reward_margin": margin.sum() / rows,
        }
        if self.tie_model:
            metrics["tie_parameter"] = self.log_tie(models.reward).detach().exp() * len(margin) / rows
        return loss, metrics
