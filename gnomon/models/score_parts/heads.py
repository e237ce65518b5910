"""Heads of named scores, the gate that combines them, and the tie parameter, as modules of a reward model.

A single number must move much further than a weight of a network, so numbers that are trained alone (`tie`,
thresholds) are stored as 1/`GAIN` of their distance from where they started: their steps are `GAIN` times the
learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gnomon.losses.scores import cumulative_logit_loss, expected_level, logistic_loss, squared_loss
from gnomon.models.score_parts.settings import NamedScore, PartSettings

GAIN = 100.0
FEWEST = 0.5  # added to the count of each level, so that one that never occurs has a threshold too


class NamedHead(nn.Module):
    """A linear map from a state to one named score, with the scale on which people gave it.

    Attributes:
        settings: its loss and scale.
        out: the map, `[d] -> []`; it starts at 0, so that the first prediction is the mean of the data.
        center: mean of the training data, for `squared`, `[]`.
        deviation: standard deviation of the training data, for `squared`, `[]`.
        start: where bias (`logistic`) or thresholds (`ordinal`) start, `[K]`.
        moved: how far they have moved, in 1/`GAIN`, `[K]`.
    """

    center: Tensor
    deviation: Tensor
    start: Tensor

    def __init__(self, width: int, settings: NamedScore):
        super().__init__()
        self.settings = settings
        self.out = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.out.weight)
        low, high = settings.bounds or (0.0, 0.0)
        free = {"squared": 0, "logistic": 1, "ordinal": round(high - low)}[settings.loss]
        self.register_buffer("center", torch.zeros([]))
        self.register_buffer("deviation", torch.ones([]))
        self.register_buffer("start", torch.zeros(free))
        self.moved = nn.Parameter(torch.zeros(free))

    @torch.no_grad()
    def start_from(self, values: Sequence[float]) -> None:
        """Set scale, bias or thresholds by the values of the training data, which differ."""
        data = torch.tensor(values, dtype=torch.float64)
        low, high = self.settings.bounds or (0.0, 1.0)
        if self.settings.loss == "squared":
            self.center.fill_(data.mean())
            self.deviation.fill_(data.std(correction=0))
        elif self.settings.loss == "logistic":
            share = ((data - low) / (high - low)).mean().clamp(1e-4, 1 - 1e-4)
            self.start.fill_(torch.logit(share))
        else:
            counts = torch.histc(data - low, round(high - low) + 1, -0.5, high - low + 0.5) + FEWEST
            thresholds = torch.logit(counts.cumsum(0)[:-1] / counts.sum())
            gaps = thresholds.diff()
            self.start.copy_(torch.cat([thresholds[:1], gaps + torch.log(-torch.expm1(-gaps))]))
        self.moved.zero_()

    def forward(self, states: Tensor) -> Tensor:
        """Map states to predictions in standard deviations or logits, `[N, d] -> [N]`."""
        values: Tensor = self.out(states).squeeze(-1)
        if self.settings.loss == "logistic":
            return values + (self.start + GAIN * self.moved)
        return values

    def thresholds(self) -> Tensor:
        """Thresholds of an ordinal score, which ascend, `[K - 1]`."""
        raw = self.start + GAIN * self.moved
        return raw[0] + torch.cat([raw.new_zeros(1), F.softplus(raw[1:])]).cumsum(0)

    def loss(self, predictions: Tensor, values: Tensor) -> Tensor:
        """Loss of each prediction, `[M] -> [M]`; `values` as people gave them."""
        if self.settings.loss == "squared":
            return squared_loss(predictions, (values - self.center) / self.deviation)
        low, high = self.settings.bounds or (0.0, 1.0)
        if self.settings.loss == "logistic":
            return logistic_loss(predictions, (values - low) / (high - low))
        return cumulative_logit_loss(predictions, values - low, self.thresholds())

    def on_scale(self, predictions: Tensor) -> Tensor:
        """Map predictions to the scale on which people gave the score, `[N] -> [N]`."""
        if self.settings.loss == "squared":
            return self.center + self.deviation * predictions
        low, high = self.settings.bounds or (0.0, 1.0)
        if self.settings.loss == "logistic":
            return low + (high - low) * torch.sigmoid(predictions)
        return low + expected_level(predictions, self.thresholds())


class Gate(nn.Module):
    """Weights of named scores by the prompt: non-negative, with sum 1 (Wang et al. 2024, ArmoRM, section 3.2).

    It starts with equal weights. A score is the weighted mean of the predictions times a positive factor, since
    the mean of standardized scores is not yet in logits of being preferred.
    """

    def __init__(self, width: int, count: int):
        super().__init__()
        self.out = nn.Linear(width, count)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.log_factor = nn.Parameter(torch.zeros([]))

    def weights(self, prompt_states: Tensor) -> Tensor:
        """Weights of the named scores, `[N, d] -> [N, names]`."""
        weights: Tensor = self.out(prompt_states).softmax(dim=-1)
        return weights

    def forward(self, prompt_states: Tensor, predictions: Tensor) -> Tensor:
        """Combine predictions `[N, names]` to a score, `[N]`.

        `prompt_states`: states at the last token of the prompt, `[N, d]`.
        """
        factor = torch.exp(GAIN * self.log_factor)
        return factor * (self.weights(prompt_states) * predictions).sum(dim=-1)


class ScoreParts(nn.Module):
    """The parts of a reward model beside its head.

    Attributes:
        settings: what there is.
        fresh: names of the scores whose heads have learned nothing yet.
    """

    fresh: set[str]

    def __init__(self, width: int, settings: PartSettings):
        super().__init__()
        self.settings = settings
        self.fresh = set()
        self.names = list(settings.scores)
        self.heads = nn.ModuleList(NamedHead(width, settings.scores[name]) for name in self.names)
        self.gate = Gate(width, len(self.names)) if settings.gate else None
        self.tie = nn.Parameter(torch.zeros([])) if settings.tie else None

    def head(self, name: str) -> NamedHead:
        """Return the head of a named score."""
        head = self.heads[self.names.index(name)]
        assert isinstance(head, NamedHead)
        return head

    def predictions(self, states: Tensor) -> dict[str, Tensor]:
        """Predict each named score in standard deviations or logits, `[N]` each; `states`: `[N, d]`."""
        return {name: self.head(name)(states) for name in self.names}

    def tie_logit(self) -> Tensor:
        """Log ν of Davidson, or η = log θ of Rao and Kupper, `[]`; they start at ν = 1 and θ = 2."""
        assert self.tie is not None
        moved = GAIN * self.tie
        return F.softplus(moved) if self.settings.tie == "rao_kupper" else moved

    def tie_parameter(self) -> float:
        """ν of Davidson, or θ of Rao and Kupper."""
        return math.exp(float(self.tie_logit().detach()))
