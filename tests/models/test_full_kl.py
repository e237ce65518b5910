"""The KL over the whole vocabulary equals the plain formula in value and gradient."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_policy
from torch import Tensor, nn
from transformers import Gemma2Config

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.engine import lm_head as heads
from gnomon.models.engine.lm_head import ReferenceHead, full_kl, logits
from gnomon.models.settings import Trainable

TOKENS = TokenGroups.build([[1, 2], [3]], [[5, 6, 7], [8], [9, 5]], [0, 0, 1])


def plain(own: Tensor, other: Tensor, temperature: float) -> Tensor:
    p, q = ((x / temperature).log_softmax(-1) for x in (own, other))
    return (p.exp() * (p - q)).sum(-1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("cap", [None, 3.0])
def test_value_and_gradient_are_those_of_the_formula(
    bias: bool, cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven positions in chunks of three, at temperature 0.7; the head learns."""
    monkeypatch.setattr(heads, "CHUNK", 3)
    torch.manual_seed(0)
    head, other = nn.Linear(4, 11, bias=bias), nn.Linear(4, 11, bias=bias)
    states, others = torch.randn(7, 4, requires_grad=True), torch.randn(7, 4)
    weight = torch.randn(7)
    config = Gemma2Config(final_logit_softcapping=cap)

    def gradients(result: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad((result * weight).sum(), [states, *head.parameters()]))

    result = full_kl(head, config, states, ReferenceHead.of(other), others, temperature=0.7)
    expected = plain(logits(head, config, states), logits(other, config, others).detach(), 0.7)
    torch.testing.assert_close(result, expected)
    assert (result > 0).all()
    for ours, reference in zip(gradients(result), gradients(expected), strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("trainable", [Trainable(rank=4), Trainable(adapter="none")], ids=["lora", "full"])
def test_a_policy_beside_its_reference(trainable: Trainable) -> None:
    """0 before it has learned anything; then the same from a pass with a gradient and from kept states."""
    policy = tiny_policy(trainable=trainable)
    weights = None if policy.adapter else policy.reference_weights()

    def reference() -> Tensor:
        with torch.no_grad(), policy.reference_mode(weights):
            policy.remember_reference_head()
            return policy.token_states(TOKENS)

    states = reference()
    with torch.no_grad():
        assert policy.full_kl(TOKENS, policy.token_states(TOKENS), states).abs().max() < 1e-6
    torch.manual_seed(1)
    for p in policy.trainable().values():
        p.data += 0.1 * torch.randn_like(p)
    states = reference()  # not moved by what the policy learned
    logprobs, entropy, kl = policy.logprobs_entropy_and_kl(TOKENS, states, temperature=0.9)
    assert kl.shape == logprobs.shape == entropy.shape == (3, 3)
    assert (kl[TOKENS.mask] > 1e-4).all()
    assert (kl[~TOKENS.mask] == 0).all()
    again = policy.full_kl(TOKENS, policy.token_states(TOKENS).detach(), states, temperature=0.9)
    torch.testing.assert_close(again, kl.detach())
    torch.testing.assert_close(logprobs, policy.logprobs(TOKENS, temperature=0.9))
    gradients = torch.autograd.grad(kl.sum(), list(policy.trainable().values()))
    assert all(bool((g != 0).any()) for g in gradients)


def test_a_head_under_an_adapter_is_refused() -> None:
    class Wrapped(nn.Module):
        """What peft puts in a layer's place."""

    with pytest.raises(ModelError, match="needs a head without an adapter"):
        ReferenceHead.of(Wrapped())
