"""Validation split, early stopping and the best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gnomon.core.errors import ConfigError
from gnomon.data.batching import epoch_order
from gnomon.data.encoding import Example
from gnomon.training.settings import OnlineValidation, Validation


def split(
    examples: Sequence[Example], validation: Validation | None, seed: int
) -> tuple[list[Example], list[Example]]:
    """Split examples into training and validation by prompt, so that no prompt is in both.

    Args:
        examples: all examples.
        validation: settings; `None` holds out nothing.
        seed: of the split.

    Raises:
        ConfigError: no prompt would be left to train on.
    """
    if validation is None:
        return list(examples), []
    names = list(dict.fromkeys(e.prompt_id for e in examples))
    count = max(1, round(validation.share * len(names)))
    if count >= len(names):
        raise ConfigError(
            f"training.validation.share holds back {count} of {len(names)} prompts and leaves none to train on; "
            "lower it or remove validation."
        )
    order = epoch_order(len(names), seed, 1_000)
    held = {names[i] for i in order[:count]}
    return [e for e in examples if e.prompt_id not in held], [e for e in examples if e.prompt_id in held]


class BestCheckpoint:
    """The best weights so far by a validation metric.

    Attributes:
        weights: copies by name; `None` before the first evaluation.
    """

    def __init__(
        self,
        validation: Validation | OnlineValidation | None,
        live: Mapping[str, nn.Parameter],
        saved: Mapping[str, Any] | None,
    ):
        self.validation = validation
        self.live = live
        before = (saved or {}).get("best") or {}
        self.value: float | None = before.get("value")
        self.since = int(before.get("since", 0))
        self.weights: dict[str, Tensor] | None = (saved or {}).get("extra") if self.value is not None else None

    @property
    def exhausted(self) -> bool:
        """Return whether patience has run out."""
        settings = self.validation
        return bool(settings and settings.patience is not None and self.since >= settings.patience)

    def due(self, step: int, planned: int) -> bool:
        """Return whether to evaluate after this step."""
        return self.validation is not None and (step % self.validation.every == 0 or step == planned)

    def update(self, metrics: Mapping[str, float], step: int) -> dict[str, float]:
        """Compare with the best so far; returns the metrics with the prefix `validation_`."""
        assert self.validation is not None
        name = self.validation.metric
        if name not in metrics:
            known = ", ".join(sorted(metrics))
            raise ConfigError(f"training.validation.metric is '{name}', unknown here; it is one of {known}.")
        value = metrics[name]
        sign = 1.0 if self.validation.better == "more" else -1.0
        if math.isfinite(value) and (self.value is None or sign * value > sign * self.value):
            self.value, self.since = value, 0
            self.weights = {n: p.detach().clone() for n, p in self.live.items()}
        else:
            self.since += 1
        return {f"validation_{key}": value for key, value in metrics.items()}

    @torch.no_grad()
    def restore_weights(self) -> None:
        """Copy the best weights into the model."""
        for name, weight in (self.weights or {}).items():
            self.live[name].copy_(weight)

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, without the weights."""
        return {"best": {"value": self.value, "since": self.since}}
