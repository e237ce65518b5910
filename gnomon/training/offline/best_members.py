"""The best weights of each member of an ensemble on a frozen trunk, and early stopping once none improves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gnomon.core.errors import ConfigError
from gnomon.training.runtime.checkpoints import BestCheckpoint
from gnomon.training.settings import Validation


class BestMembers(BestCheckpoint):
    """The best head of each member by its own validation metric.

    Members that share a trunk which learns have one best step together (`BestCheckpoint`): a head of one step
    does not fit the trunk of another.

    Args:
        validation: settings; `None` never evaluates.
        live: trained parameters by name.
        count: number of members.

    Attributes:
        values: the metric of each member's best weights; `None` before the first evaluation.
        waits: evaluations of each member without a better one.
    """

    def __init__(self, validation: Validation | None, live: Mapping[str, nn.Parameter], count: int):
        super().__init__(validation, live)
        self.values: list[float | None] = [None] * count
        self.waits = [0] * count

    @property
    def exhausted(self) -> bool:
        """True if the patience of all members has run out."""
        patience = self.validation.patience if self.validation else None
        return patience is not None and min(self.waits) >= patience

    def update(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Compare each member with its best so far; returns the metrics with the prefix `validation_`."""
        assert self.validation is not None
        name = self.validation.metric
        sign = 1.0 if self.validation.better == "more" else -1.0
        self.weights = self.weights or {n: p.detach().clone() for n, p in self.live.items()}
        for member, best in enumerate(self.values):
            value = metrics.get(f"member_{member}_{name}")
            if value is None:
                raise ConfigError(
                    f"training.validation.metric is '{name}', which members of an ensemble do not have; it is "
                    "loss or accuracy."
                )
            if math.isfinite(value) and (best is None or sign * value > sign * best):
                self.values[member], self.waits[member] = value, 0
                own = f"score.heads.{member}."
                self.weights |= {n: p.detach().clone() for n, p in self.live.items() if n.startswith(own)}
            else:
                self.waits[member] += 1
        return {f"validation_{key}": value for key, value in metrics.items()}

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, without the weights."""
        return {"values": self.values, "waits": self.waits}

    def restore(self, state: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Continue from a checkpoint's state and weights `[…]`."""
        self.values, self.waits = list(state["values"]), [int(wait) for wait in state["waits"]]
        self.weights = weights or None
