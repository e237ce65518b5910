"""Reward model: a scalar that orders completions as raters do.

Formula: Bradley–Terry (1952) cross-entropy on the difference of two scores, `−p·log σ(Δ) − (1 − p)·log σ(−Δ)`,
where p is the share of raters who prefer the first (Ouyang et al. 2022, eq. 1, has p = 1). All pairs of a prompt
are in one batch, so each completion is read once however many pairs it is in. Rankings, ratings and named scores
may stand beside pairs: the loss of a step is the sum of all judgements' losses over the number of judgements.

Wrong when preferences are not transitive, or when who judges matters more than what is judged: one number a
completion cannot hold either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from gnomon.algorithms._judgement_losses import JudgementLosses
from gnomon.algorithms._pair_losses import ScorePairLoss
from gnomon.algorithms.contract import Models
from gnomon.core.batches import Judgements, Metrics, Preferences
from gnomon.core.ranges import Weight
from gnomon.core.types import NamedScores, Preference, Ranking, RatedText
from gnomon.models.score_parts.settings import PartSettings

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.models.roles import RewardModel


@dataclass(frozen=True, kw_only=True)
class RewardModeling(JudgementLosses, ScorePairLoss):
    """Bradley–Terry reward modelling, with rankings, ratings and named scores.

    Attributes:
        pair_weight: weight of the loss of pairs.
        center_rewards_coef: weight of `(s_c + s_r)²`, which keeps scores near zero (Eisenstein et al. 2023).
        per_prompt: the mean over prompts of the mean over a prompt's pairs, so that each of the C(K, 2) pairs of
            K completions weighs 1/C(K, 2), as in Ouyang et al. (2022, eq. 1); otherwise the mean over pairs.
    """

    consumes: ClassVar[type] = Preference
    also_consumes: ClassVar[tuple[type, ...]] = (Ranking, RatedText, NamedScores)
    trains: ClassVar[str] = "reward"
    needs: ClassVar[frozenset[str]] = frozenset()
    loop_defaults: ClassVar[Mapping[str, Any]] = {}
    min_group_size: ClassVar[int] = 1
    pair_weight: Weight = 1.0
    center_rewards_coef: Weight = 0.01
    per_prompt: bool = False

    def parts(self) -> PartSettings:
        """The parts of the model beside its head: named scores, their gate, a tie parameter that is learned."""
        tie = self.tie_model if self.tie_parameter is None else None
        return PartSettings(scores=dict(self.scores), gate=self.gate, tie=tie)

    def loss(self, models: Models, batch: Judgements | Preferences) -> tuple[Tensor, Metrics]:
        """Mean loss of a judgement, `[]`: a pair, a ranking, or a completion with all its scores.

        Accuracy counts tied scores as half. Metrics of a kind are means over its judgements.
        """
        if isinstance(batch, Preferences):
            judged = {"pairs": batch.totals.rows, "paired_examples": batch.totals.examples}
            batch = Judgements(batch.tokens, batch, None, {}, replace(batch.totals, judged=judged))
        outputs, counts = models.reward.outputs(batch.tokens), batch.totals.judged
        units = counts.get("paired_examples" if self.per_prompt else "pairs", 0.0)
        units += counts.get("rankings", 0.0) + counts.get("scored", 0.0)
        pairs, metrics = self._of_pairs(models.reward, outputs.score, batch)
        rankings, of_rankings = self.ranking_losses(outputs.score, batch)
        scores, of_scores = self.score_losses(models.reward, outputs, batch)
        nothing = 0.0 * outputs.score.sum()  # a gradient also where no judgement is learned
        loss = (nothing + pairs + rankings + scores) / units
        return loss, {"loss": loss.detach(), **metrics, **of_rankings, **of_scores}

    def _of_pairs(self, model: RewardModel, scores: Tensor, judged: Judgements) -> tuple[Tensor, Metrics]:
        """Sum of the losses of pairs, `[]`, with its metrics."""
        batch = judged.pairs
        if batch is None:
            return scores.new_zeros([]), {}
        chosen, rejected = scores[batch.chosen.to(scores.device)], scores[batch.rejected.to(scores.device)]  # [M]
        losses = self.pair_losses(model, (chosen, rejected), batch)
        spread = (chosen + rejected).square()
        weight = batch.weight.to(scores.device)
        if self.per_prompt:
            assert batch.share is not None
            weight = weight * batch.share.to(scores.device)
        total = (weight * (losses + self.center_rewards_coef * spread)).sum()
        margin, count = (chosen - rejected).detach(), judged.totals.judged["pairs"]
        right = (margin > 0).float() + 0.5 * (margin == 0).float()
        metrics = {"accuracy": right.sum() / count, "reward_margin": margin.sum() / count}
        if len(judged.totals.judged) > len(("pairs", "paired_examples")):
            metrics["loss_pairs"] = losses.detach().sum() / count
        if self.tie_model:
            metrics["tie_parameter"] = self.log_tie(model).detach().exp() * len(margin) / count
        return self.pair_weight * total, metrics
