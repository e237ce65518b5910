"""Attention of one token: the same as transformers' kernel, whatever the heads, lengths and precision."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_policy
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from gnomon.rollouts.one_token import one_token, one_token_attention


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "shared"), [(4, 4), (6, 2), (3, 1)])
def test_the_same_as_the_kernel(dtype: torch.dtype, heads: int, shared: int) -> None:
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(5, heads, 1, 8, generator=draw)
    key, value = (torch.randn(5, shared, 11, 8, generator=draw).to(dtype) for _ in range(2))
    mask = (torch.arange(11) < torch.tensor([1, 4, 11, 7, 2])[:, None])[:, None, None]
    expected = scaled_dot_product_attention(
        query.double(), key.double(), value.double(), attn_mask=mask, scale=0.3, enable_gqa=True
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        found, _ = one_token_attention(nn.Module(), query, key, value, mask, scaling=0.3)
    assert found.shape == (5, 1, heads, 8)
    torch.testing.assert_close(found.transpose(1, 2).double(), expected, atol=1e-6, rtol=1e-5)
    plain, _ = one_token_attention(nn.Module(), query, key, value, mask)
    whole, _ = one_token_attention(nn.Module(), query, key, value, mask, scaling=8**-0.5)
    assert torch.equal(plain, whole)


def test_afterwards_the_model_attends_as_before() -> None:
    policy = tiny_policy()
    config = policy.network.config
    with pytest.raises(KeyError, match="gnomon_one_token"), one_token(policy):
        raise KeyError(config._attn_implementation)
    assert config._attn_implementation == "sdpa"
