"""Many architectures, one engine: packed equals plain equals transformers, or the model is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kinds import HEADS, PACKED, PLAIN, TRIED
from tiny import CPU, gradients, naive_logprobs, rows_of, tiny_network
from torch import nn

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models import verify_forward
from gnomon.models.engine.forward import can_pack, completion_states
from gnomon.models.roles import Critic, Policy
from gnomon.models.verify_forward import VERIFIED, verified

# transformers warns that kernels of its own choice are missing, and of aliases inside its own models.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def built(kind: str, settings: dict[str, Any]) -> Policy:
    policy = Policy(tiny_network(kind, layers=3, **settings), None, CPU)
    policy.network.requires_grad_(True)
    return policy


@pytest.mark.parametrize(
    ("kind", "settings", "packs"),
    [(k, s, True) for k, s in PACKED.items()] + [(k, s, False) for k, s in (PLAIN | TRIED).items()],
    ids=str,
)
def test_logprobs_and_gradients_are_transformers_own(
    kind: str, settings: dict[str, Any], packs: bool, groups: TokenGroups
) -> None:
    policy = built(kind, settings)
    assert can_pack(policy.network.config) == packs
    alone = naive_logprobs(policy.network, groups)
    weights = [torch.linspace(-1, 1, len(row)) for row in alone]
    wanted = gradients(policy, torch.stack([(r * w).sum() for r, w in zip(alone, weights, strict=True)]).sum())
    assert sum(g.abs().max() > 1e-4 for g in wanted.values()) > len(wanted) / 2
    for layout in ("auto", "packed", "plain") if packs else ("auto", "plain"):
        policy.layout = layout
        rows = rows_of(policy.logprobs(groups), groups)
        for row, expected in zip(rows, alone, strict=True):
            torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)
        result = gradients(policy, torch.stack([(r * w).sum() for r, w in zip(rows, weights, strict=True)]).sum())
        for name, gradient in wanted.items():
            near = 1e-5 * max(1.0, float(gradient.abs().max()))
            torch.testing.assert_close(result[name], gradient, atol=near, rtol=1e-4, msg=f"{layout} {name}")


def test_the_verified_are_those_tested_here() -> None:
    assert {*PACKED, *PLAIN} == VERIFIED


@pytest.mark.parametrize("kind", PACKED)
def test_the_question_to_the_unknown_is_one_that_sound_models_pass(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_forward, "VERIFIED", frozenset())
    assert verified(built(kind, PACKED[kind])).layout == "auto"


def test_eager_attention_is_packed_too(groups: TokenGroups) -> None:
    network = tiny_network()
    with torch.no_grad():
        expected = completion_states(network.base_model, groups, at="end", layout="packed")
        network.set_attn_implementation("eager")
        result = completion_states(network.base_model, groups, at="end", layout="packed")
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        ("hyperclovax", {"logits_scaling": 2.0}, r"models with logits_scaling \(hyperclovax\) are not supported"),
        (
            "modernbert-decoder",
            {"pad_token_id": 0},
            "modernbert-decoder models are not supported: the forward engine does not reproduce",
        ),
        ("llama4_text", HEADS, "llama4_text models are not supported: their decoder is not separate"),
    ],
    ids=str,
)
def test_unsupported_architectures_are_refused_by_name(
    kind: str, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        verified(built(kind, settings))


class Crossed(nn.Module):
    """A layer that lets neighbours in a row see each other, as a recurrent one does."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Any, *args: Any, **kwargs: Any) -> Any:
        result: Any = self.inner(hidden, *args, **kwargs)
        return result + result.cumsum(1)


@pytest.mark.parametrize("kind", [Policy, Critic])
def test_a_model_that_packing_misleads_gets_the_plain_layout(kind: Any, groups: TokenGroups) -> None:
    network = tiny_network()
    network.model.layers[0].mlp = Crossed(network.model.layers[0].mlp)
    network.config.model_type = "made-up"
    assert can_pack(network.config)
    model = verified(kind(network, None, CPU))
    assert model.layout == "plain"
    if kind is Policy:
        with torch.no_grad():
            for row, expected in zip(
                rows_of(model.logprobs(groups), groups), naive_logprobs(network, groups), strict=True
            ):
                torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)
