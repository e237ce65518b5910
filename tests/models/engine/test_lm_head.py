"""The vocabulary head: the fused pass equals the plain one, in values, entropy and gradients."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gnomon.core.errors import ModelError
from gnomon.models.engine.lm_head import CHUNK, target_logprobs


class Config(SimpleNamespace):
    """A configuration without parts."""

    def get_text_config(self) -> Config:
        return self


PLAIN = Config(model_type="made-up")
COUNT, WIDTH, VOCAB = CHUNK + 37, 16, 50


def inputs(scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """States, targets, and a weight for each position's log-probability; more positions than one chunk."""
    torch.manual_seed(0)
    return scale * torch.randn(COUNT, WIDTH), torch.randint(0, VOCAB, (COUNT,)), torch.randn(COUNT)


def made_head(*, learns: bool, bias: bool = False) -> nn.Linear:
    torch.manual_seed(1)
    head = nn.Linear(WIDTH, VOCAB, bias=bias)
    head.requires_grad_(learns)
    return head


def naive(
    head: nn.Module, states: Tensor, targets: Tensor, temperature: float, cap: float
) -> tuple[Tensor, Tensor]:
    """The definition, all logits at once."""
    logits = head(states)
    logits = (cap * torch.tanh(logits / cap) if cap else logits) / temperature
    logprobs = logits.log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(1, targets[:, None]).squeeze(1), entropy


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("cap", [0.0, 2.0])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_equals_the_definition(learns: bool, bias: bool, cap: float, temperature: float) -> None:
    config = Config(model_type="made-up", final_logit_softcapping=cap or None)
    states, targets, weights = inputs()
    answers = []
    for fast in (True, False):
        head, own = made_head(learns=learns, bias=bias), states.clone().requires_grad_()
        result: tuple[Any, Any] = (
            target_logprobs(head, config, own, targets, temperature=temperature, entropy=True)
            if fast
            else naive(head, own, targets, temperature, cap)
        )
        (result[0] * weights).sum().backward()
        answers.append((*result, own.grad, *(p.grad for p in head.parameters())))
    for fast_value, slow_value in zip(*answers, strict=True):
        if learns or fast_value is not None:
            torch.testing.assert_close(fast_value, slow_value, atol=1e-4, rtol=1e-4)


def test_a_frozen_head_gets_no_gradient_and_entropy_carries_none() -> None:
    states, targets, _ = inputs()
    head, own = made_head(learns=False), states.requires_grad_()
    result, entropy = target_logprobs(head, PLAIN, own, targets, entropy=True)
    assert entropy is not None
    assert not entropy.requires_grad
    result.sum().backward()  # type: ignore[no-untyped-call]
    assert head.weight.grad is None


@pytest.mark.parametrize("cap", [0.0, 2.0])
@pytest.mark.parametrize("learns", [False, True])
def test_the_same_without_gradient(learns: bool, cap: float) -> None:
    config = Config(model_type="made-up", final_logit_softcapping=cap or None)
    states, targets, _ = inputs()
    head = made_head(learns=learns)
    with torch.no_grad():
        result, spread = target_logprobs(head, config, states, targets, temperature=0.6)
        assert spread is None
        for one, other in zip(
            target_logprobs(head, config, states, targets, temperature=0.6, entropy=True),
            naive(head, states, targets, 0.6, cap),
            strict=True,
        ):
            assert one is not None
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(result, naive(head, states, targets, 0.6, cap)[0].detach(), atol=1e-4, rtol=1e-4)


def test_extreme_logits_stay_finite() -> None:
    """Logits in the thousands: naive exponentials would overflow, and p·log p would be 0·∞."""
    states, targets, _ = inputs(scale=5000.0)
    own = states.requires_grad_()
    result, entropy = target_logprobs(made_head(learns=False), PLAIN, own, targets, entropy=True)
    result.sum().backward()  # type: ignore[no-untyped-call]
    assert entropy is not None
    assert own.grad is not None
    assert result.isfinite().all()
    assert entropy.isfinite().all()
    assert own.grad.isfinite().all()


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize(
    ("kind", "name", "factor"),
    [
        ("cohere2", "logit_scale", 0.25),
        ("granitemoe", "logits_scaling", 4.0),
        ("falcon_h1", "lm_head_multiplier", 0.25),
    ],
)
def test_known_factors_on_logits(kind: str, name: str, factor: float, learns: bool) -> None:
    """Each of them quarters the logits, as a temperature of 4 does."""
    config = Config(model_type=kind, **{name: factor})
    states, targets, weights = inputs(scale=4.0)
    head = made_head(learns=learns)
    values = []
    for result, _ in (
        target_logprobs(head, config, own := states.clone().requires_grad_(), targets, temperature=0.7),
        naive(head, other := states.clone().requires_grad_(), targets, 2.8, 0.0),
    ):
        (result * weights).sum().backward()  # type: ignore[no-untyped-call]
        values.append(result.detach())
    torch.testing.assert_close(values[0], values[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(own.grad, other.grad, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        result, _ = target_logprobs(head, config, states, targets, temperature=0.7)
    torch.testing.assert_close(result, values[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("name", ["logits_scaling", "logit_scale"])
def test_unknown_logit_factors_are_refused_by_name(name: str, learns: bool) -> None:
    config = Config(model_type="made-up", **{name: 8.0})
    states, targets, _ = inputs()
    with pytest.raises(ModelError, match=name):
        target_logprobs(made_head(learns=learns), config, states.requires_grad_(), targets)
