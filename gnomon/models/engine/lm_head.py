"""The vocabulary head: log-probabilities of given tokens from hidden states, in chunks of positions.

No `[tokens, vocab]` tensor outlives a chunk. If the head is frozen, the gradient of a log-probability with
respect to its hidden state, `(W[y] − Σ_v p_v·W[v]) / temperature`, is computed in the same pass and saved as
`[tokens, d]`, so the backward pass needs no logits. A head that learns recomputes its logits there; so do heads
with a bias or capped logits, by PyTorch's checkpointing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gnomon.core.errors import ModelError

CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")  # keys of configurations
CHUNK = 128  # positions whose logits exist at once
# Factors of logits by their key in a configuration: architectures that apply them, and the exponent.
FACTORS: dict[str, tuple[tuple[str, ...], int]] = {
    "logit_scale": (("cohere",), 1),
    "logits_scaling": (("granite", "minicpm3"), -1),
    "lm_head_multiplier": (("falcon_h1",), 1),
    "output_multiplier": ((), 1),
}


def logits(head: nn.Module, config: Any, hidden: Tensor) -> Tensor:
    """Compute logits with the architecture's factor and cap, float32, `[…, d] -> […, vocab]`.

    Args:
        head: the vocabulary head.
        config: of the network.
        hidden: `[…, d]`.
    """
    return _as_configured(head(hidden), config)


def _as_configured(raw: Tensor, config: Any) -> Tensor:
    """Apply the architecture's factor and cap to raw logits, float32."""
    raw = raw.float()
    factor, cap = logit_factor(config), _soft_cap(config)
    if factor != 1:
        raw = raw * factor
    return cap * torch.tanh(raw / cap) if cap else raw


def logit_factor(config: Any) -> float:
    """Return the factor by which an architecture multiplies its logits.

    Raises:
        ModelError: the configuration has a factor that the architecture is not known to use.
    """
    config, factor = config.get_text_config(), 1.0
    for name, (kinds, power) in FACTORS.items():
        value = getattr(config, name, None)
        if value in (None, 1.0):
            continue
        if not config.model_type.startswith(kinds):
            raise ModelError(f"models with {name} ({config.model_type}) are not supported.")
        factor *= float(value) ** power
    return factor


def _soft_cap(config: Any) -> float | None:
    """Return the bound of soft-capped logits (Gemma Team 2024); `None` without capping."""
    text = config.get_text_config()
    caps = (getattr(text, name, None) for name in CAPS)
    return next((float(cap) for cap in caps if cap), None)


def target_logprobs(
    head: nn.Module,
    config: Any,
    states: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Compute log-probabilities of `targets` and, on request, the entropy without gradient, `[M]`.

    Args:
        head: the vocabulary head.
        config: of the network.
        states: before each target, `[M, d]`.
        targets: token ids, `[M]`.
        temperature: divides the logits.
        entropy: compute the entropy; otherwise it is `None`.
    """
    states = states.float()
    learns = any(p.requires_grad for p in head.parameters())
    if isinstance(head, nn.Linear) and head.bias is None and not _soft_cap(config):
        scaled = temperature / logit_factor(config)
        if torch.is_grad_enabled() and (learns or states.requires_grad):
            function = _LearningHead if learns else _FrozenHead
            logprobs, spread = function.apply(states, head.weight, targets, scaled, entropy)
        else:
            logprobs, spread = states.new_empty(len(targets)), states.new_empty(len(targets))
            for _ in _write_logprobs(states, head.weight, targets, scaled, logprobs, spread if entropy else None):
                pass
        return logprobs, spread if entropy else None
    parts = [
        _chunk(head, config, states[i : i + CHUNK], targets[i : i + CHUNK], temperature, entropy)
        for i in range(0, len(targets), CHUNK)
    ]
    spreads = [spread for _, spread in parts if spread is not None]
    return torch.cat([logprobs for logprobs, _ in parts]), torch.cat(spreads) if entropy else None


@dataclass(frozen=True)
class ReferenceHead:
    """The vocabulary head of a reference: its weights, shared and not copied."""

    weight: Tensor  # [vocab, d]
    bias: Tensor | None = None

    @classmethod
    def of(cls, head: nn.Module) -> ReferenceHead:
        """Store the current weights of a head; replacing the module's weights later does not change them.

        Raises:
            ModelError: the head is no plain linear layer, for example because it has an adapter.
        """
        if not isinstance(head, nn.Linear) or hasattr(head, "base_layer"):
            raise ModelError(
                "the KL over the whole vocabulary needs a head without an adapter; take the head out of the "
                "adapter's targets, or set kl.estimator to k1 or k3."
            )
        return cls(head.weight.data, None if head.bias is None else head.bias.data)

    def logits(self, states: Tensor, config: Any) -> Tensor:
        """Compute logits of states `[M, d]`, float32, `[M, vocab]`."""
        return _as_configured(functional.linear(states.to(self.weight.dtype), self.weight, self.bias), config)


def full_kl(
    head: nn.Module,
    config: Any,
    states: Tensor,
    reference: ReferenceHead,
    reference_states: Tensor,
    *,
    temperature: float = 1.0,
) -> Tensor:
    """`Σ_v π(v)·(log π(v) − log π_ref(v))` of the next token at each state, in nats, `[M]`.

    Exact: over the whole vocabulary, not over sampled tokens. Its gradient with respect to the policy is that of
    this sum. Chunks of positions are recomputed in the backward pass, so no `[M, vocab]` tensor is saved.

    Args:
        head: the policy's.
        config: of the network, which both share.
        states: the policy's hidden states, `[M, d]`.
        reference: the reference's head.
        reference_states: its hidden states at the same positions, `[M, d]`.
        temperature: of both distributions.
    """

    def chunk(states: Tensor, others: Tensor) -> Tensor:  # [m, d], [m, d] -> [m]
        own = (logits(head, config, states) / temperature).log_softmax(dim=-1)
        with torch.no_grad():
            other = (reference.logits(others, config) / temperature).log_softmax(dim=-1)
        kl: Tensor = (own.exp() * (own - other)).sum(dim=-1)
        return kl

    parts = []
    for start in range(0, len(states), CHUNK):
        own, others = (x[start : start + CHUNK].float() for x in (states, reference_states))
        parts.append(
            checkpoint(chunk, own, others, use_reentrant=False) if torch.is_grad_enabled() else chunk(own, others)
        )
    return torch.cat(parts)


def _chunk(
    head: nn.Module, config: Any, states: Tensor, targets: Tensor, temperature: float, entropy: bool
) -> tuple[Tensor, Tensor | None]:
    """Compute a chunk by autograd; with gradients, logits are recomputed in the backward pass, not saved."""

    def plain(states: Tensor) -> tuple[Tensor, Tensor | None]:  # [m, d] -> [m], [m]
        scaled = logits(head, config, states) / temperature
        log_normalizer = scaled.logsumexp(dim=-1)
        logprobs = scaled.gather(1, targets[:, None]).squeeze(1) - log_normalizer
        if not entropy:
            return logprobs, None
        with torch.no_grad():
            return logprobs, log_normalizer - (scaled.softmax(dim=-1) * scaled).sum(dim=-1)

    if torch.is_grad_enabled():
        result: tuple[Tensor, Tensor | None] = checkpoint(plain, states, use_reentrant=False)
        return result
    return plain(states)


class _FrozenHead(torch.autograd.Function):
    """Log-probabilities and their gradient with respect to the states, in one pass over the vocabulary."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor]:
        logprobs, spread = states.new_empty(len(targets)), states.new_zeros(len(targets))
        gradient = torch.empty_like(states)
        outputs = logprobs, spread if entropy else None
        for part, scaled, log_normalizer in _write_logprobs(states, weight, targets, temperature, *outputs):
            probability = scaled.sub_(log_normalizer[:, None]).exp_()
            mean = torch.mm(probability, weight.float())
            gradient[part] = (weight[targets[part]].float() - mean) / temperature
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(spread)
        return logprobs, spread

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0][:, None], None, None, None, None


class _LearningHead(torch.autograd.Function):
    """Log-probabilities; the backward pass recomputes logits, and the weight's gradient is one matrix."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor]:
        logprobs, spread = states.new_empty(len(targets)), states.new_zeros(len(targets))
        log_normalizer = torch.empty_like(logprobs)
        outputs = logprobs, spread if entropy else None
        for part, _, of_part in _write_logprobs(states, weight, targets, temperature, *outputs):
            log_normalizer[part] = of_part
        ctx.save_for_backward(states, weight, targets, log_normalizer)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(spread)
        return logprobs, spread

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        states, weight, targets, log_normalizer = ctx.saved_tensors
        grad = (grads[0] / ctx.temperature)[:, None]
        to_states, to_weight = torch.empty_like(states), torch.zeros_like(weight, dtype=torch.float32)
        for part, scaled in _chunks(states, weight, ctx.temperature):
            probability = scaled.sub_(log_normalizer[part, None]).exp_()
            change = probability.mul_(-grad[part]).scatter_add_(1, targets[part, None], grad[part])
            torch.mm(change, weight.float(), out=to_states[part])
            to_weight.addmm_(change.T, states[part])
        return to_states, to_weight.to(weight.dtype), None, None, None


def _chunks(states: Tensor, weight: Tensor, temperature: float) -> Iterator[tuple[slice, Tensor]]:
    """Yield scaled logits `[≤ CHUNK, vocab]` of the states in chunks, in a buffer that each chunk overwrites."""
    count = len(states)
    buffer = states.new_empty(min(CHUNK, count), weight.shape[0])
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        scaled = torch.mm(states[part], weight.float().T, out=buffer[: part.stop - start])
        yield part, scaled if temperature == 1.0 else scaled.div_(temperature)


def _write_logprobs(
    states: Tensor, weight: Tensor, targets: Tensor, temperature: float, logprobs: Tensor, spread: Tensor | None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Write log-probabilities of the targets to `logprobs` and the entropy to `spread`, `[M]`, in chunks.

    Yields the chunk, its scaled logits and their log Σ exp.
    """
    for part, scaled in _chunks(states, weight, temperature):
        log_normalizer = scaled.logsumexp(dim=-1)
        logprobs[part] = scaled.gather(1, targets[part, None]).squeeze(1) - log_normalizer
        if spread is not None:  # p·z where p is 0: z is at least finite
            probability = (scaled - log_normalizer[:, None]).exp_()
            spread[part] = log_normalizer - torch.linalg.vecdot(probability, scaled)
        yield part, scaled, log_normalizer
