"""The vocabulary head: hidden states in, log-probabilities of given tokens out, a chunk of positions at a time.

No `[tokens, vocab]` tensor outlives a chunk. Where the head itself does not learn (an adapter, frozen lower
layers) the gradient of a log-probability with respect to its hidden state, `(W[y] − Σ_v p_v·W[v]) / temperature`,
is found in the same pass and kept as `[tokens, d]`, so the backward pass never meets the vocabulary again. A head
that learns computes its logits again there; so do heads with a bias or bent logits, in the plain way.
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

CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")  # in configurations
CHUNK = 128  # positions whose logits exist at once
# Factors on logits by their name in a configuration: architectures that apply them, and as which power.
FACTORS: dict[str, tuple[tuple[str, ...], int]] = {
    "logit_scale": (("cohere",), 1),
    "logits_scaling": (("granite", "minicpm3"), -1),
    "lm_head_multiplier": (("falcon_h1",), 1),
    "output_multiplier": ((), 1),
}


def logits(head: nn.Module, config: Any, hidden: Tensor) -> Tensor:
    """Logits with what the architecture does to them, float32, `[…, d] -> […, vocab]`."""
    return _as_configured(head(hidden), config)


def _as_configured(raw: Tensor, config: Any) -> Tensor:
    """Raw logits with the architecture's factor and cap, float32."""
    raw = raw.float()
    factor, cap = logit_factor(config), _soft_cap(config)
    if factor != 1:
        raw = raw * factor
    return cap * torch.tanh(raw / cap) if cap else raw


def logit_factor(config: Any) -> float:
    """What an architecture multiplies its logits by.

    Raises:
        ModelError: the configuration speaks of a factor, and the architecture is none that is known to use it.
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
    """Logits are bent so as to stay within ± this (Gemma Team 2024)."""
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
    """Log-probabilities of `targets` `[M]` at `temperature`, and if asked the entropy (no gradient), `[M]`."""
    states = states.float()
    learns = any(p.requires_grad for p in head.parameters())
    if isinstance(head, nn.Linear) and head.bias is None and not _soft_cap(config):
        scaled = temperature / logit_factor(config)
        if torch.is_grad_enabled() and (learns or states.requires_grad):
            way = _LearningHead if learns else _FrozenHead
            found, spread = way.apply(states, head.weight, targets, scaled, entropy)
        else:
            found, spread = states.new_empty(len(targets)), states.new_empty(len(targets))
            for _ in _read(states, head.weight, targets, scaled, found, spread if entropy else None):
                pass
        return found, spread if entropy else None
    parts = [
        _chunk(head, config, states[i : i + CHUNK], targets[i : i + CHUNK], temperature, entropy)
        for i in range(0, len(targets), CHUNK)
    ]
    spreads = [spread for _, spread in parts if spread is not None]
    return torch.cat([found for found, _ in parts]), torch.cat(spreads) if entropy else None


@dataclass(frozen=True)
class ReferenceHead:
    """The vocabulary head of a reference: the weights that its logits are made with, shared and not copied."""

    weight: Tensor  # [vocab, d]
    bias: Tensor | None = None

    @classmethod
    def of(cls, head: nn.Module) -> ReferenceHead:
        """The weights as they are now; where a module's are replaced later, these stay.

        Raises:
            ModelError: the head is no linear layer: an adapter sits on it.
        """
        if not isinstance(head, nn.Linear) or hasattr(head, "base_layer"):
            raise ModelError(
                "the KL over the whole vocabulary needs a head without an adapter; take the head out of the "
                "adapter's targets, or set kl.estimator to k1 or k3."
            )
        return cls(head.weight.data, None if head.bias is None else head.bias.data)

    def logits(self, states: Tensor, config: Any) -> Tensor:
        """Logits of states `[M, d]`, float32, `[M, vocab]`."""
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

    Exact: over the whole vocabulary, not over what was drawn. Its gradient with respect to the policy is that of
    this sum. Chunks of positions are computed again on the way back, so no `[M, vocab]` is kept.

    Args:
        head: the policy's.
        config: of the network, which both share.
        states: the policy's hidden states, `[M, d]`.
        reference: the reference's head.
        reference_states: its hidden states at the same places, `[M, d]`.
        temperature: of both distributions.
    """

    def chunk(states: Tensor, others: Tensor) -> Tensor:
        own = (logits(head, config, states) / temperature).log_softmax(dim=-1)
        with torch.no_grad():
            other = (reference.logits(others, config) / temperature).log_softmax(dim=-1)
        found: Tensor = (own.exp() * (own - other)).sum(dim=-1)
        return found

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
    """The plain way; with a gradient, logits are computed again on the way back rather than kept."""

    def plain(states: Tensor) -> tuple[Tensor, Tensor | None]:
        scaled = logits(head, config, states) / temperature
        log_normalizer = scaled.logsumexp(dim=-1)
        found = scaled.gather(1, targets[:, None]).squeeze(1) - log_normalizer
        if not entropy:
            return found, None
        with torch.no_grad():
            return found, log_normalizer - (scaled.softmax(dim=-1) * scaled).sum(dim=-1)

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
        found, spread = states.new_empty(len(targets)), states.new_zeros(len(targets))
        gradient = torch.empty_like(states)
        answers = found, spread if entropy else None
        for part, scaled, log_normalizer in _read(states, weight, targets, temperature, *answers):
            probability = scaled.sub_(log_normalizer[:, None]).exp_()
            mean = torch.mm(probability, weight.float())
            gradient[part] = (weight[targets[part]].float() - mean) / temperature
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(spread)
        return found, spread

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0][:, None], None, None, None, None


class _LearningHead(torch.autograd.Function):
    """Log-probabilities; on the way back logits are computed again, and the weight's gradient is one matrix."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor]:
        found, spread = states.new_empty(len(targets)), states.new_zeros(len(targets))
        log_normalizer = torch.empty_like(found)
        answers = found, spread if entropy else None
        for part, _, of_part in _read(states, weight, targets, temperature, *answers):
            log_normalizer[part] = of_part
        ctx.save_for_backward(states, weight, targets, log_normalizer)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(spread)
        return found, spread

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        states, weight, targets, log_normalizer = ctx.saved_tensors
        wanted = (grads[0] / ctx.temperature)[:, None]
        to_states, to_weight = torch.empty_like(states), torch.zeros_like(weight, dtype=torch.float32)
        for part, scaled in _chunks(states, weight, ctx.temperature):
            probability = scaled.sub_(log_normalizer[part, None]).exp_()
            change = probability.mul_(-wanted[part]).scatter_add_(1, targets[part, None], wanted[part])
            torch.mm(change, weight.float(), out=to_states[part])
            to_weight.addmm_(change.T, states[part])
        return to_states, to_weight.to(weight.dtype), None, None, None


def _chunks(states: Tensor, weight: Tensor, temperature: float) -> Iterator[tuple[slice, Tensor]]:
    """Scaled logits `[≤ CHUNK, vocab]` of the states, a chunk at a time, in a buffer that the next one takes."""
    count = len(states)
    buffer = states.new_empty(min(CHUNK, count), weight.shape[0])
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        scaled = torch.mm(states[part], weight.float().T, out=buffer[: part.stop - start])
        yield part, scaled if temperature == 1.0 else scaled.div_(temperature)


def _read(
    states: Tensor, weight: Tensor, targets: Tensor, temperature: float, found: Tensor, spread: Tensor | None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Write log-probabilities of the targets to `found` and the entropy to `spread`, `[M]`, a chunk at a time.

    Yields the chunk, its scaled logits and their log Σ exp.
    """
    for part, scaled in _chunks(states, weight, temperature):
        log_normalizer = scaled.logsumexp(dim=-1)
        found[part] = scaled.gather(1, targets[part, None]).squeeze(1) - log_normalizer
        if spread is not None:  # p·z where p is 0: z is at least finite
            probability = (scaled - log_normalizer[:, None]).exp_()
            spread[part] = log_normalizer - torch.linalg.vecdot(probability, scaled)
        yield part, scaled, log_normalizer
