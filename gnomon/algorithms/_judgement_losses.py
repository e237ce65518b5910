"""Losses of rankings, ratings and named scores beside those of pairs, each a sum over a part of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from gnomon.core.batches import Judgements, Metrics, ScoredRows
from gnomon.core.lazy import torch
from gnomon.core.ranges import Finite, Weight
from gnomon.data.encoding import OVERALL
from gnomon.losses.preference import concordance, plackett_luce
from gnomon.losses.scores import squared_loss
from gnomon.models.score_parts.settings import NamedScore, ScoreName

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.models.roles import RewardModel, RewardOutputs

Scale = Annotated[tuple[Finite, Finite], "lowest and highest rating"]


@dataclass(frozen=True, kw_only=True)
class JudgementLosses:
    """Settings of the losses of rankings, ratings and named scores.

    Attributes:
        ranking_weight: weight of the loss of rankings (Plackett 1975, Luce 1959).
        rating_weight: weight of the squared loss of ratings of the whole answer, in their standard deviations.
        rating_scale: lowest and highest rating; one outside is refused. `None` takes any.
        scores: the heads of named scores, each with its loss, weight and scale.
        gate: the score is a mean of the named ones, with weights by the prompt that are learned from pairs and
            rankings (Wang et al. 2024, ArmoRM); the heads learn from scores alone.
    """

    ranking_weight: Weight = 1.0
    rating_weight: Weight = 1.0
    rating_scale: Scale | None = None
    scores: Mapping[ScoreName, NamedScore] = field(default_factory=dict)
    gate: bool = False

    def ranking_losses(self, scores: Tensor, batch: Judgements) -> tuple[Tensor, Metrics]:
        """Sum of the losses of rankings, `[]`, with its metrics; `scores`: `[N]`."""
        if batch.rankings is None:
            return scores.new_zeros([]), {}
        orders = [order.to(scores.device) for order in batch.rankings.order]
        losses = torch.stack([plackett_luce(scores[order]) for order in orders])  # [M]
        total = (batch.rankings.weight.to(losses) * losses).sum()
        right = torch.stack([concordance(scores[order].detach()) for order in orders])
        count = batch.totals.judged["rankings"]
        metrics = {"loss_rankings": total.detach() / count, "ranking_accuracy": right.sum() / count}
        return self.ranking_weight * total, metrics

    def score_losses(
        self, model: RewardModel, outputs: RewardOutputs, batch: Judgements
    ) -> tuple[Tensor, Metrics]:
        """Sum of the losses of ratings and named scores, `[]`, with their metrics; errors are on people's scale.

        Args:
            model: with the scales of the scores.
            outputs: of the model.
            batch: the judgements.
        """
        total, metrics = outputs.score.new_zeros([]), {}
        for name, scored in batch.scores.items():
            if name != OVERALL and name not in self.scores:
                continue
            weight = self.rating_weight if name == OVERALL else self.scores[name].weight
            losses, errors = _of_name(model, outputs, name, scored)
            own = (scored.weight.to(losses) * losses).sum()
            total = total + weight * own
            count, title = batch.totals.judged[f"score {name}"], name or "rating"
            metrics[f"loss_{title}"] = own.detach() / count
            metrics[f"error_{title}"] = errors.sum() / count
        return total, metrics


def _of_name(model: RewardModel, outputs: RewardOutputs, name: str, scored: ScoredRows) -> tuple[Tensor, Tensor]:
    """Loss and absolute error on people's scale of each score of a name, `[M]` each."""
    assert model.parts is not None
    rows, values = scored.rows.to(outputs.score.device), scored.values.to(outputs.score.device)
    if name == OVERALL:
        scale = model.parts.settings.rating
        assert scale is not None
        predicted = outputs.score[rows] + model.offset
        losses = squared_loss(predicted, (values - scale.mean) / scale.deviation)
        on_scale = scale.mean + scale.deviation * predicted.detach()
    else:
        head = model.parts.head(name)
        predicted = outputs.named[name][rows]
        losses, on_scale = head.loss(predicted, values), head.on_scale(predicted.detach())
    return losses, (on_scale - values).abs().detach()
