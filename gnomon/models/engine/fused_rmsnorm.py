"""RMSNorm that saves only its input and one number per token for the backward pass.

Autograd would save the normalized states too and read whole states a dozen times; in a small model that is a
twentieth of a training step's time and a seventh of its activations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gnomon.models.library_patches import change_class

_FUSED: dict[type[nn.Module], type[nn.Module]] = {}


def fuse_rms_norms(network: nn.Module) -> None:
    """Make each module of the network that equals RMSNorm in float32 compute by `rms_norm`.

    A trial decides which do: architectures differ in their factors and in when they round.
    """
    for module in network.modules():
        if type(module).__name__.endswith("RMSNorm") and _is_equal(module):
            change_class(module, _fused(type(module)))


def rms_norm(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """`weight · x / sqrt(mean(x²) + ε)`, `[…, d]` in float32 (Zhang and Sennrich 2019, equation 4).

    Args:
        states: x, `[…, d]`.
        weight: `[d]`.
        epsilon: ε.
    """
    if not torch.is_grad_enabled():  # for single tokens, autograd takes longer than the norm itself
        return (states * _scale(states, epsilon)).mul_(weight)
    normed: Tensor = _RMSNorm.apply(states, weight, epsilon)  # type: ignore[no-untyped-call]
    return normed


def _scale(states: Tensor, epsilon: float) -> Tensor:
    """Compute the factor of each token, `[…, 1]`."""
    size: Tensor = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    return (size.square_() / states.shape[-1] + epsilon).rsqrt_()


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        scale = _scale(states, epsilon)
        ctx.save_for_backward(states, weight, scale)
        normed: Tensor = (states * scale).mul_(weight)
        return normed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        states, weight, scale = ctx.saved_tensors
        (grad,) = grads
        normal = states * scale
        to_weight = (grad * normal).flatten(0, -2).sum(dim=0) if ctx.needs_input_grad[1] else None
        change = grad * weight
        mean = (change * normal).mean(dim=-1, keepdim=True)
        to_states: Tensor = change.addcmul_(normal, mean, value=-1).mul_(scale)
        return to_states, to_weight, None


class FusedRMSNorm(nn.Module):
    """Mixin that makes a class of norms compute by `rms_norm` in float32."""

    weight: nn.Parameter
    variance_epsilon: float

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Normalize states `[…, d]`; in a lower precision by the architecture's own code."""
        if hidden_states.dtype != torch.float32 or self.weight.dtype != torch.float32:
            plain: Tensor = super().forward(hidden_states)
            return plain
        return rms_norm(hidden_states, self.weight, self.variance_epsilon)


def _fused(kind: type[nn.Module]) -> type[nn.Module]:
    """Return the fused subclass of a class of norms, created once."""
    if issubclass(kind, FusedRMSNorm):
        return kind
    if kind not in _FUSED:
        _FUSED[kind] = type(f"Fused{kind.__name__}", (FusedRMSNorm, kind), {})
    return _FUSED[kind]


@torch.no_grad()
def _is_equal(module: Any) -> bool:
    weight, epsilon = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not isinstance(weight, nn.Parameter) or weight.dtype != torch.float32 or not isinstance(epsilon, float):
        return False
    trial = torch.linspace(-2, 3, 2 * len(weight), device=weight.device).view(2, -1)
    return torch.allclose(module(trial), rms_norm(trial, weight, epsilon), rtol=1e-5, atol=1e-6)
