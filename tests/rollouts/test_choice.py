"""The chosen decoder draws from the distribution that it reports, and is the fastest that does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from kinds import PACKED, PLAIN, TRIED
from tiny import CPU, naive_logprobs, prompts_of, tiny_network, tiny_policy
from torch import Tensor

from gnomon.core.errors import ModelError
from gnomon.models.engine.device import Compute
from gnomon.models.roles import Policy
from gnomon.models.verify_forward import verified
from gnomon.rollouts import choice
from gnomon.rollouts.choice import DECODERS, choose_decoder, decoder_deviation, fast_decoder
from gnomon.rollouts.decoding import PaddedDecoder, SlotDecoder
from gnomon.rollouts.experience import token_groups_of
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling

PROMPTS = prompts_of("a", "b a c a b a c", "c c", "a b")
# transformers warns that kernels of its own choice are missing, and of aliases inside its own models.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
LATENT = {"head_dim": 4, "kv_lora_rank": 8, "q_lora_rank": 8, "num_key_value_heads": 4}
LATENT |= {"qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 12}
EXPERTS = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1}
LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8}
LINEAR |= {"linear_value_head_dim": 12, "head_dim": 12}
# Each fools the decoders before its own: by what it changes after the cache, by padding, by a cache of its own.
FOOLING: dict[str, tuple[dict[str, Any], str]] = {
    "diffllama": ({}, "padded"),
    "deepseek_v3": ({**LATENT, **EXPERTS, "topk_group": 1, "first_k_dense_replace": 1}, "padded"),
    "falcon_mamba": ({"state_size": 4}, "padded"),
    "qwen3_5_text": (
        {**LINEAR, "layer_types": ["linear_attention", "full_attention", "linear_attention"]},
        "padded",
    ),
    "minimax": ({"num_local_experts": 4, "head_dim": 12, "block_size": 4}, "alone"),
    "rwkv": ({"attention_hidden_size": 32}, "alone"),
    "recurrent_gemma": (TRIED["recurrent_gemma"], "recomputing"),
    "openai-gpt": ({"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}, "recomputing"),
}


def assert_reports_what_it_draws_from(policy: Policy, near: float = 1e-4) -> None:
    """Ragged prompts and completions, which wait, join and leave, beside transformers' own forward pass."""
    sampling = Sampling(completions=3, max_tokens=9, temperature=3.0, batch=4)
    rollouts = NativeSampler(policy).sample(PROMPTS, sampling, seed=2)
    assert len({len(r.token_ids) for r in rollouts}) > 2
    with torch.no_grad():
        expected = naive_logprobs(policy.network, token_groups_of(rollouts), temperature=3.0)
        for rollout, own in zip(rollouts, expected, strict=True):
            torch.testing.assert_close(torch.tensor(rollout.logprobs), own, atol=near, rtol=0)


@pytest.mark.parametrize(("kind", "settings"), [*PACKED.items(), *PLAIN.items()], ids=str)
def test_the_verified_are_drawn_from_as_they_are(kind: str, settings: dict[str, Any], words: Any) -> None:
    policy = tiny_policy(words, kind=kind, layers=3, **settings)
    assert choose_decoder(policy) == fast_decoder(policy.trunk)
    assert_reports_what_it_draws_from(policy)


@pytest.mark.parametrize(("kind", "settings", "decoder"), [(k, *v) for k, v in FOOLING.items()], ids=str)
def test_a_model_unsuited_to_a_decoder_uses_the_next(
    kind: str, settings: dict[str, Any], decoder: str, words: Any
) -> None:
    policy = verified(tiny_policy(words, kind=kind, layers=3, **settings))
    assert_reports_what_it_draws_from(policy)
    assert policy.decoder == decoder


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("kind", ["llama", "mistral", "falcon_mamba"])
def test_decoders_agree_where_they_work(name: Any, kind: str, words: Any) -> None:
    """Each of them is right for what it claims; with a window of 4, no text of the trial fits into it."""
    window: dict[str, Any] = {"sliding_window": 4} if kind == "mistral" else {}
    policy = tiny_policy(words, kind=kind, **window)
    gap = decoder_deviation(policy, DECODERS[name])
    assert gap < 1e-5 if name != "slots" or kind == "llama" else gap > 0.1


def faulty(decoder: Any) -> Any:
    """The same with a fault: one token too late, states of a row's neighbor."""

    class Faulty(decoder):  # type: ignore[misc]
        def decode(self, tokens: Sequence[int]) -> Tensor:
            states: Tensor = super().decode(tokens)
            return states.roll(1, 0)

    return Faulty


def unknown(words: Any, **settings: Any) -> Policy:
    """A llama that nobody knows."""
    policy = tiny_policy(words, **settings)
    policy.network.config.model_type = "made-up"
    return policy


def test_a_wrong_decoder_is_replaced_by_the_next(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_decoder(unknown(words)) == "slots"
    passed = []
    for name, decoder in list(DECODERS.items()):
        monkeypatch.setitem(DECODERS, name, faulty(decoder))
        policy = unknown(words)
        if name != "recomputing":
            passed.append(choose_decoder(policy))
            assert policy.decoder == passed[-1]
            continue
        with pytest.raises(ModelError, match="made-up models cannot be sampled from: no decoder"):
            NativeSampler(policy)
    assert passed == ["padded", "unpadded", "alone", "recomputing"]


def test_a_failing_decoder_is_replaced_by_the_next(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(policy: Policy) -> Any:
        raise NotImplementedError("no such layer")

    monkeypatch.setitem(DECODERS, "slots", raising)
    assert choose_decoder(unknown(words)) == "padded"


def test_the_trial_is_made_once_and_not_for_the_verified(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decoders_tried: list[str] = []
    plain = choice.decoder_deviation

    def counting(policy: Policy, make: Any) -> float:
        decoders_tried.append("trial")
        return plain(policy, make)

    monkeypatch.setattr(choice, "decoder_deviation", counting)
    NativeSampler(tiny_policy(words))
    assert not decoders_tried
    policy = unknown(words)
    for _ in range(2):
        NativeSampler(policy)
    assert decoders_tried == ["trial"]


def test_a_model_with_rounded_weights_is_tried_in_float32(words: Any) -> None:
    policy = unknown(words)
    policy.compute = Compute(CPU.device, torch.bfloat16)
    policy.round_weights()
    before = {name: p.data_ptr() for name, p in policy.network.named_parameters()}
    assert choose_decoder(policy) == "slots"
    assert {name: p.data_ptr() for name, p in policy.network.named_parameters()} == before
    assert any(p.dtype == torch.bfloat16 for p in policy.network.parameters())


def test_a_decoder_that_fails_in_bfloat16_is_replaced(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def float32_only(policy: Policy) -> Any:
        if policy.compute.dtype != torch.float32:
            raise RuntimeError("expected m1 and m2 to have the same dtype")
        return SlotDecoder(policy)

    monkeypatch.setitem(DECODERS, "slots", float32_only)
    policy = unknown(words)
    assert choose_decoder(policy) == "slots"
    policy = unknown(words)
    policy.compute = Compute(CPU.device, torch.bfloat16)
    assert choose_decoder(policy) == "padded"
    assert isinstance(choice.decoder_for(policy), PaddedDecoder)


@pytest.mark.parametrize("kind", ["bart", "marian", "mbart", "pegasus"])
def test_decoders_of_translators_are_refused(kind: str, words: Any) -> None:
    shape: dict[str, Any] = {"decoder_layers": 1, "decoder_ffn_dim": 16, "encoder_layers": 1, "pad_token_id": 0}
    network = tiny_network(kind, vocab=len(words), **shape)
    with pytest.raises(ModelError, match=f"{kind} models are not supported: their decoder depends on an enc"):
        verified(Policy(network, words, CPU))


def test_a_model_with_noncausal_attention_is_refused(words: Any) -> None:
    kind: dict[str, Any] = {"kind": "bert-generation", "pad_token_id": 0}
    assert verified(tiny_policy(words, is_decoder=True, **kind)).layout == "auto"
    with pytest.raises(
        ModelError, match="bert-generation models are not supported as this one is configured: its"
    ):
        verified(tiny_policy(words, is_decoder=False, **kind))
