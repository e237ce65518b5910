"""Attention piece by piece: each token attends to its path and itself, with the plain kernel's numbers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from tiny import tiny_network
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from gnomon.core.batches import TokenGroups
from gnomon.models.engine.forward import best_layout, completion_states
from gnomon.models.engine.sequence_layout import SLICE, Layout, Piece, branched_layout
from gnomon.models.engine.tree_attention import NAME, branched_attention

LENGTHS = st.one_of(st.integers(1, 40), st.integers(SLICE - 2, 3 * SLICE))
GROUPS = st.lists(st.tuples(LENGTHS, st.lists(LENGTHS, min_size=1, max_size=9)), min_size=1, max_size=4)


def groups_of(shapes: list[tuple[int, list[int]]], stem: int) -> TokenGroups:
    """Prompts of so many tokens behind a stem, each with completions of so many."""
    count = itertools.count(5)
    prompts = [[1] * stem + [next(count) for _ in range(n)] for n, _ in shapes]
    completions = [[3] * n for _, lengths in shapes for n in lengths]
    return TokenGroups.build(prompts, completions, [g for g, (_, ls) in enumerate(shapes) for _ in ls])


def visible(pieces: tuple[Piece, ...]) -> Tensor:
    """Who sees whom, `[T, T]`, as the pieces have it."""
    total = pieces[-1].stop
    result = torch.zeros(total, total, dtype=torch.bool)
    start = 0
    for piece in pieces:
        seen = torch.cat([torch.arange(*stretch) for stretch in piece.seen])
        answers = torch.ones(piece.stop - start, len(seen), dtype=torch.bool)
        answers[:, len(seen) - piece.hidden.shape[1] :] = ~piece.hidden
        result[start : piece.stop, seen] = answers
        start = piece.stop
    return result


def expected(groups: TokenGroups, plan: Layout) -> Tensor:
    """Who sees whom by what a sequence is: a prompt's tokens in order, then those of one completion."""
    result = torch.eye(plan.input_ids.shape[1], dtype=torch.bool)
    paths = dict(plan.prompts)
    at = 0
    for g, completion in zip(groups.group.tolist(), groups.completions, strict=True):
        row = torch.cat([paths[g], plan.end[at : at + len(completion)]])
        at += len(completion)
        for n, token in enumerate(row.tolist()):
            result[token, row[:n]] = True
    return result


@settings(deadline=None, max_examples=60)
@given(GROUPS, st.sampled_from([0, 1, 30, SLICE + 5]))
def test_a_token_sees_its_own_sequence_up_to_itself(shapes: list[tuple[int, list[int]]], stem: int) -> None:
    groups = groups_of(shapes, stem)
    plan = branched_layout(groups)
    assert plan.input_ids.shape == (1, plan.pieces[-1].stop)
    assert torch.equal(visible(plan.pieces), expected(groups, plan))


def test_short_segments_share_a_piece_and_long_ones_are_sliced() -> None:
    """A call is 5,000 pairs: 26 tokens are one, two prompts of 40 as well; the rest is counted by hand.

    The prompt of 128 alone costs 16,384; with 40 tokens after it 168² = 28,224, over 16,384 + 40·168 + 5,000.
    Two answers of 40 ask 80·208 = 16,640 together and 2·6,720 + 5,000 apart; a third makes it 120·248 = 29,760.
    """

    def stops(prompt: int, completions: list[int], times: int = 1) -> list[int]:
        return [p.stop for p in branched_layout(groups_of([(prompt, completions)] * times, 0)).pieces]

    assert stops(10, [2] * 8) == [26]
    assert stops(30, [10], times=2) == [80]
    assert stops(128, [40] * 4) == [128, 208, 288]
    assert stops(300, [1]) == [128, 256, 301]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scaling", [None, 0.4])
def test_values_and_gradients_are_the_plain_kernels(scaling: float | None, dtype: torch.dtype) -> None:
    """Six heads that ask two heads of keys; the mask of the plain kernel has what the pieces say."""
    torch.manual_seed(0)
    pieces = branched_layout(groups_of([(SLICE + 30, [9, 20, 3]), (4, [5]), (17, [150, 2])], 3)).pieces
    total = pieces[-1].stop
    whole = [torch.randn(1, heads, total, 8) for heads in (6, 2, 2)]
    weights = torch.randn(1, total, 6, 8)
    result: list[list[Tensor | None]] = []
    for quick in (True, False):
        query, key, value = own = [t.clone().requires_grad_() for t in whole]
        if quick:
            inputs = (query.to(dtype), key.to(dtype), value.to(dtype), None)
            output, _ = branched_attention(nn.Module(), *inputs, scaling=scaling, pieces=pieces)
        else:
            keys, values = (t.repeat_interleave(3, dim=1) for t in (key, value))
            output = scaled_dot_product_attention(query, keys, values, visible(pieces), scale=scaling).transpose(
                1, 2
            )
        (output.float() * weights).sum().backward()  # type: ignore[no-untyped-call]
        result.append([output.detach().float(), *(t.grad for t in own)])
    for quick_value, plain in zip(*result, strict=True):
        assert isinstance(quick_value, Tensor)
        assert isinstance(plain, Tensor)
        near = 1e-5 if dtype == torch.float32 else 0.02 * float(plain.abs().max())
        torch.testing.assert_close(quick_value, plain, atol=near, rtol=1e-4)


def test_without_pieces_it_is_the_kernels_own() -> None:
    query, key = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8)
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool).tril()
    result, _ = branched_attention(nn.Module(), query, key, key, mask)
    torch.testing.assert_close(result.transpose(1, 2), scaled_dot_product_attention(query, key, key, mask))


def test_a_model_that_has_met_pieces_still_generates(groups: TokenGroups) -> None:
    network: Any = tiny_network()
    ids = groups.prompts[0][None]
    before = network.generate(ids, max_new_tokens=5, do_sample=False)
    with torch.no_grad():
        completion_states(network.base_model, groups, at="end", layout="branched")
    assert network.config._attn_implementation == NAME
    assert torch.equal(network.generate(ids, max_new_tokens=5, do_sample=False), before)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_pass_fails_if_attention_does_not_get_the_pieces(groups: TokenGroups) -> None:
    network = tiny_network("gptj", rotary_dim=4, n_embd=32, n_head=4, n_layer=2)
    assert best_layout(network.config, torch.device("cpu")) == "packed"
    with pytest.raises(RuntimeError, match="must match"):
        completion_states(network.base_model, groups, at="end", layout="branched")


def test_where_it_is_chosen() -> None:
    network = tiny_network()
    assert best_layout(network.config, torch.device("cpu")) == "branched"
    assert best_layout(network.config, torch.device("cuda")) == "packed"
    network.set_attn_implementation("eager")
    assert best_layout(network.config, torch.device("cpu")) == "packed"
