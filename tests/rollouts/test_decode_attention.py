"""Attention of one token equals transformers' kernel for any sharing of prompts, in any precision."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_policy
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from gnomon.rollouts.decode_attention import decoding_with, one_token_attention
from gnomon.rollouts.kv_cache import SlotCache


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("prompt_of", [[0, 1, 2, 3, 4], [0, 2, 0, 1, 0], [1, 1, 1, 1, 1]])
def test_the_same_as_the_kernel(dtype: torch.dtype, heads: int, shared: int, prompt_of: list[int]) -> None:
    draw = torch.Generator().manual_seed(0)
    prompts, lengths = max(prompt_of) + 1, [4, 1, 7, 3, 2][: max(prompt_of) + 1]
    cache = SlotCache(dtype)
    of_prompts = [torch.randn(prompts, shared, 7, 8, generator=draw).to(dtype) for _ in range(2)]
    cache.add_prompts([of_prompts], lengths)
    cache.enter(prompt_of)
    own = [torch.randn(5, shared, 3, 8, generator=draw).to(dtype) for _ in range(2)]
    for step in range(3):
        cache.extend(torch.device("cpu"))
        key, value = cache.update(own[0][:, :, step : step + 1], own[1][:, :, step : step + 1], 0)
    query = torch.randn(5, heads, 1, 8, generator=draw)
    keys, values = (torch.cat([a[prompt_of], b], dim=2).double() for a, b in zip(of_prompts, own, strict=True))
    visible = torch.cat([torch.arange(7) < torch.tensor(lengths)[prompt_of, None], torch.ones(5, 3) > 0], dim=1)
    mask = visible[:, None, None]
    expected = scaled_dot_product_attention(
        query.double(), keys, values, attn_mask=mask, scale=0.3, enable_gqa=True
    )
    lower = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
    with lower, decoding_with(tiny_policy(), cache):
        result, _ = one_token_attention(nn.Module(), query, key, value, None, scaling=0.3)
        plain, _ = one_token_attention(nn.Module(), query, key, value, None)
        same, _ = one_token_attention(nn.Module(), query, key, value, None, scaling=8**-0.5)
    assert result.shape == (5, 1, heads, 8)
    torch.testing.assert_close(result.transpose(1, 2).double(), expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(plain, same)


def test_afterwards_the_model_attends_as_before() -> None:
    policy = tiny_policy()
    config = policy.network.config
    with pytest.raises(KeyError, match="gnomon_one_token"), decoding_with(policy, SlotCache(torch.float32)):
        raise KeyError(config._attn_implementation)
    assert config._attn_implementation == "sdpa"
