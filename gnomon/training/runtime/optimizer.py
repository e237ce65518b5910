"""AdamW with a learning rate schedule; a step with a gradient that is not finite is refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from gnomon.core.errors import ConfigError, NotFiniteError
from gnomon.training.settings import OptimizerSettings


class Optimizer:
    """AdamW over named parameter groups, each with its own peak learning rate.

    Attributes:
        step_count: steps taken.
        total_steps: planned steps, where the schedule ends.
        scale: factor of the learning rate beside the schedule's.
    """

    def __init__(
        self,
        groups: Sequence[tuple[Mapping[str, nn.Parameter], float]],
        settings: OptimizerSettings,
        total_steps: int,
    ):
        self.settings = settings
        self.total_steps = total_steps
        self.step_count = 0
        self.scale = 1.0
        self.parameters = {name: p for named, _ in groups for name, p in named.items()}
        if not self.parameters:
            raise ConfigError("no weights are trainable; set layers to 1 or more, or adapter to lora.")
        self.adam = _adam(
            [g for named, rate in groups for g in _decayed_and_not(named.values(), rate, settings)], settings
        )

    @property
    def factor(self) -> float:
        """Learning rate at this step as a share of the peak, 0 to 1."""
        return self.scale * self._scheduled

    @property
    def _scheduled(self) -> float:
        """The schedule's share of the peak."""
        warm = round(self.settings.warmup * self.total_steps)
        if self.step_count < warm:
            return (self.step_count + 1) / warm
        done = (self.step_count - warm) / max(1, self.total_steps - warm)
        if self.settings.schedule == "linear":
            return 1 - done
        return 0.5 * (1 + math.cos(math.pi * done)) if self.settings.schedule == "cosine" else 1.0

    def step(self, of: str = "") -> float:
        """Clip the gradient, take a step and clear gradients.

        Args:
            of: description of the batch, for the error.

        Returns:
            The gradient's norm before clipping.

        Raises:
            NotFiniteError: the gradient is not finite; nothing was changed.
        """
        norm = float(nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.max_grad_norm))
        if not math.isfinite(norm):
            named = of and f" ({of})"
            raise NotFiniteError(f"the gradient of optimizer step {self.step_count + 1}{named} is not finite")
        for group in self.adam.param_groups:
            group["lr"] = group["peak"] * self.factor
        self.adam.step()
        self.zero_grad()
        self.step_count += 1
        return norm

    def zero_grad(self) -> None:
        """Clear gradients."""
        self.adam.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The moments of every weight, `[…]` as the weight, by name, for a checkpoint."""
        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in self.parameters.items():
            for key, value in self.adam.state.get(parameter, {}).items():
                tensors[f"{name}|{key}"] = torch.as_tensor(value).detach().cpu()
        return tensors

    def restore(self, tensors: Mapping[str, torch.Tensor], step_count: int) -> None:
        """Restore from a checkpoint's `tensors` `[…]`."""
        self.step_count = step_count
        for name, parameter in self.parameters.items():
            state = {k.rpartition("|")[2]: v for k, v in tensors.items() if k.rpartition("|")[0] == name}
            if state:
                self.adam.state[parameter] = {k: self._restored(k, v, parameter) for k, v in state.items()}

    def _restored(self, key: str, value: torch.Tensor, parameter: nn.Parameter) -> Any:
        """A part of the state as the optimizer keeps it: it counts steps where it likes, as it likes."""
        if key == "step" and self.settings.optimizer == "adamw_8bit":
            return int(value)
        return value.clone().to(parameter.device)


def _adam(groups: list[dict[str, object]], settings: OptimizerSettings) -> torch.optim.Optimizer:
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=settings.betas, eps=settings.epsilon, fused=True)
    from bitsandbytes.optim import AdamW8bit  # an optional dependency

    optimizer: torch.optim.Optimizer = AdamW8bit(groups, betas=settings.betas, eps=settings.epsilon)
    return optimizer


def _decayed_and_not(
    parameters: Iterable[nn.Parameter], rate: float, settings: OptimizerSettings
) -> list[dict[str, object]]:
    """Parameter groups with weight decay for matrices and without for biases and norms."""
    chosen = list(parameters)
    split = ([p for p in chosen if p.dim() > 1], [p for p in chosen if p.dim() <= 1])
    decay = (settings.weight_decay, 0.0)
    return [
        {"params": part, "weight_decay": d, "lr": rate, "peak": rate}
        for part, d in zip(split, decay, strict=True)
        if part
    ]
