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

from gnomon.algorithms.contract import Models
from gnomon.core.batches import Metrics, Preferences
from gnomon.core.ranges import Weight
from gnomon.core.types import Preference
from gnomon.losses.preference import bradley_terry, majority

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RewardModeling:
    """Bradley–Terry reward modelling.

    Attributes:
        soft_labels: learn the share of raters; otherwise the majority's side, as if unanimous (a tie stays one).
        use_margin: the score difference must also exceed the pair's rating gap (Touvron et al. 2023, eq. 2);
            scores then are no longer calibrated.
        center_rewards_coef: weight of `(s_c + s_r)²`, which keeps scores near zero (Eisenstein et al. 2023).
        per_prompt: the mean over prompts of the mean over a prompt's pairs, so that each of the C(K, 2) pairs of
            K completions weighs 1/C(K, 2), as in Ouyang et al. (2022, eq. 1); otherwise the mean over pairs.
    """

    consumes: ClassVar[type] = Preference
    trains: ClassVar[str] = "reward"
    needs: ClassVar[frozenset[str]] = frozenset()
    loop_defaults: ClassVar[Mapping[str, Any]] = {}
    min_group_size: ClassVar[int] = 1
    soft_labels: bool = True
    use_margin: bool = False
    center_rewards_coef: Weight = 0.01
    per_prompt: bool = False

    def loss(self, models: Models, batch: Preferences) -> tuple[Tensor, Metrics]:
        """Mean cross-entropy of a pair, in nats, `[]`; accuracy counts tied scores as half."""
        scores = models.reward.scores(batch.tokens)  # [N]
        device = scores.device
        chosen, rejected = scores[batch.chosen.to(device)], scores[batch.rejected.to(device)]  # [M]
        probability = batch.probability.to(device)
        pairs = bradley_terry(
            chosen,
            rejected,
            probability if self.soft_labels else majority(probability),
            batch.margin.to(device) if self.use_margin else None,
        )
        spread = (chosen + rejected).square()
        rows = batch.totals.rows
        weight, count = batch.weight.to(device), rows
        if self.per_prompt:
            assert batch.share is not None
            weight, count = weight * batch.share.to(device), batch.totals.examples
        loss = (weight * (pairs + self.center_rewards_coef * spread)).sum() / count
        margin = (chosen - rejected).detach()
        right = (margin > 0).float() + 0.5 * (margin == 0).float()
        return loss, {
            "loss": loss.detach(),
            "accuracy": right.sum() / rows,
            "reward_margin": margin.sum() / rows,
        }
