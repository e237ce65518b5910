"""The forward engine: packed equals plain equals transformers on one sequence; nothing leaks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny import CPU, gradients, naive_logprobs, ragged_groups, rows_of, tiny_network, tiny_policy
from torch import Tensor

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.forward import LayoutName, can_pack, completion_states, to_padded
from gnomon.models.layout import ATTENTION_TOKENS, fill_rows, packed_layout, plain_layout
from gnomon.models.policy import Policy

KINDS = ["llama", "qwen2", "gpt2"]


def learning_policy(kind: str) -> Policy:
    policy = tiny_policy(kind=kind)
    policy.network.requires_grad_(True)
    return policy


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", ["branched", "packed", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_logprobs_equal_those_of_each_sequence_alone(kind: str, layout: LayoutName, groups: TokenGroups) -> None:
    policy = tiny_policy(kind=kind)
    policy.layout = layout
    with torch.no_grad():
        found = policy.logprobs(groups, temperature=0.7)
        expected = naive_logprobs(policy.network, groups, temperature=0.7)
    for row, wanted in zip(rows_of(found, groups), expected, strict=True):
        close(row, wanted)
    assert (found[~groups.mask] == 0).all()


@pytest.mark.parametrize("quick", ["branched", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_those_of_the_plain_layout(kind: str, quick: LayoutName, groups: TokenGroups) -> None:
    weights = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    found: dict[str, dict[str, Tensor]] = {}
    for layout in (quick, "plain"):
        policy = learning_policy(kind)
        policy.layout = layout
        found[layout] = gradients(policy, (policy.logprobs(groups) * weights).sum())
    assert len(found[quick]) > 10
    for name, gradient in found[quick].items():
        torch.testing.assert_close(gradient, found["plain"][name], atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("quick", ["branched", "packed"])
@pytest.mark.parametrize("at", ["state", "end"])
def test_states_before_and_after_each_token(at: str, quick: LayoutName, groups: TokenGroups) -> None:
    """`end` has read the token; `state` has not: for the first token it is the prompt's last."""
    network = tiny_network()
    trunk = network.base_model
    packed, plain = (
        completion_states(trunk, groups, at=at, layout=layout)  # type: ignore[arg-type]
        for layout in (quick, "plain")
    )
    close(packed, plain)
    rows = rows_of(to_padded(packed, groups), groups)
    for g, completion, row in zip(groups.group.tolist(), groups.completions, rows, strict=True):
        ids = torch.cat([groups.prompts[g], completion])
        hidden = trunk(ids[None]).last_hidden_state[0]
        close(row, hidden[-len(completion) :] if at == "end" else hidden[-len(completion) - 1 : -1])


def test_the_fixture_packs_several_groups_in_a_row(groups: TokenGroups) -> None:
    """Or tests of leaks between groups would prove nothing: 5+4+6+5, 2+1+2 and 7+3 tokens in a row of 35."""
    assert packed_layout(groups).input_ids.shape == (1, 35)
    assert plain_layout(groups).input_ids.shape == (6, 11)


@pytest.mark.parametrize("kind", KINDS)
def test_order_company_and_padding_change_nothing(kind: str, groups: TokenGroups) -> None:
    policy = tiny_policy(kind=kind)
    with torch.no_grad():
        whole = rows_of(policy.logprobs(groups), groups)
        for rows in ([3, 5, 0, 4, 2, 1], [1], [5, 2], [1, 3, 4]):
            part = groups.select(rows)
            for row, found in zip(rows, rows_of(policy.logprobs(part), part), strict=True):
                close(found, whole[row])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_leaks_between_completions_or_groups(kind: str, groups: TokenGroups) -> None:
    """Changing the first token of one completion, or one prompt, moves those it belongs to and no other."""
    policy = tiny_policy(kind=kind)
    with torch.no_grad():
        before = policy.logprobs(groups)
        for changed in range(6):
            completions = list(groups.completions)
            completions[changed] = (completions[changed] + 1) % 61
            after = policy.logprobs(replace(groups, completions=tuple(completions)))
            moved = [(after[n] - before[n]).abs().max() > 1e-3 for n in range(6)]
            assert moved == [n == changed for n in range(6)]
        for g in range(3):
            prompts = list(groups.prompts)
            prompts[g] = (prompts[g] + 1) % 61
            after = policy.logprobs(replace(groups, prompts=tuple(prompts)))
            moved = [(after[n] - before[n]).abs().max() > 1e-4 for n in range(6)]
            assert moved == (groups.group == g).tolist()


def test_a_token_sees_those_before_it_only(groups: TokenGroups) -> None:
    policy = tiny_policy()
    completions = list(groups.completions)
    completions[2] = completions[2].clone()
    completions[2][4] = (completions[2][4] + 1) % 61
    with torch.no_grad():
        moved = policy.logprobs(replace(groups, completions=tuple(completions))) - policy.logprobs(groups)
    assert moved[2, :4].abs().max() < 1e-6
    assert moved[2, 4].abs() > 1e-3


def test_masked_tokens_are_read_all_the_same() -> None:
    """A mask says which tokens are trained, not which exist."""
    policy = tiny_policy()
    with torch.no_grad():
        assert torch.equal(policy.logprobs(ragged_groups(masked=True)), policy.logprobs(ragged_groups()))


def test_a_sliding_window_is_served_by_the_plain_layout(groups: TokenGroups) -> None:
    policy = tiny_policy(kind="mistral", sliding_window=4)
    assert not can_pack(policy.network.config)
    with torch.no_grad():
        found = policy.logprobs(groups)
        for row, wanted in zip(rows_of(found, groups), naive_logprobs(policy.network, groups), strict=True):
            close(row, wanted)
        policy.layout = "packed"
        with pytest.raises(ModelError, match="plain layout"):
            policy.logprobs(groups)


def test_mistral_without_a_window_is_packed(groups: TokenGroups) -> None:
    assert can_pack(tiny_network("mistral", sliding_window=None).config)


def alike(*, stem: int) -> TokenGroups:
    """Prompts that begin alike: one is the whole beginning of another, and two groups have the same one."""
    generator = torch.Generator().manual_seed(3)

    def draw(count: int) -> list[int]:
        return torch.randint(0, 61, (count,), generator=generator).tolist()

    start, rest = draw(stem), draw(4)
    prompts = [[*start, *rest], start, [*start, *rest], [*start, *draw(3)], [*start, *rest, *draw(2)]]
    completions = [draw(n) for n in (4, 1, 6, 3, 2, 5, 2, 3)]
    return TokenGroups.build(prompts, completions, [0, 1, 0, 2, 3, 4, 2, 1])


@pytest.mark.parametrize("quick", ["branched", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_prompts_begin_alike_is_read_once(kind: str, quick: LayoutName) -> None:
    """To the same log-probs and gradients as in the plain layout, and as transformers has it."""
    groups, found = alike(stem=5), {}
    weights = torch.randn(len(groups), int(groups.lengths.max()), generator=torch.Generator().manual_seed(1))
    for layout in (quick, "plain"):
        policy = learning_policy(kind)
        policy.layout = layout
        logprobs = policy.logprobs(groups)
        found[layout] = logprobs.detach(), gradients(policy, (logprobs * weights).sum())
    close(found[quick][0], found["plain"][0])
    for name, gradient in found[quick][1].items():
        torch.testing.assert_close(gradient, found["plain"][1][name], atol=2e-5, rtol=1e-4, msg=name)
    network = learning_policy(kind).network
    for row, wanted in zip(rows_of(found[quick][0], groups), naive_logprobs(network, groups), strict=True):
        close(row, wanted.detach())


def test_how_much_a_shared_beginning_saves() -> None:
    """5 of the stem; 4 + 15 of the prompt that two groups have, 4 of the stem itself, 3 + 2, 6 + 5."""
    groups = alike(stem=5)
    plan = packed_layout(groups)
    assert plan.input_ids.shape == (1, 5 + 19 + 4 + 5 + 11)
    assert plain_layout(groups).input_ids.numel() == 8 * 16
    assert {g for g, _ in plan.prompts} == set(range(5))
    for g, path in plan.prompts:
        assert torch.equal(plan.input_ids.flatten()[path], groups.prompts[g])
        assert torch.equal(plan.position_ids.flatten()[path], torch.arange(len(path)))


def test_nothing_leaks_where_prompts_begin_alike() -> None:
    """A completion is its own; a prompt's rest belongs to those with this prompt; the stem to all."""
    groups, policy = alike(stem=5), tiny_policy()
    with torch.no_grad():
        before = policy.logprobs(groups)
        for changed in range(8):
            completions = list(groups.completions)
            completions[changed] = (completions[changed] + 1) % 61
            after = policy.logprobs(replace(groups, completions=tuple(completions)))
            assert [(after[n] - before[n]).abs().max() > 1e-3 for n in range(8)] == [
                n == changed for n in range(8)
            ]
        prompts = [p.clone() for p in groups.prompts]
        prompts[0][-1] = (prompts[0][-1] + 1) % 61
        after = policy.logprobs(replace(groups, prompts=tuple(prompts)))
        moved = [bool((after[n] - before[n]).abs().max() > 1e-4) for n in range(8)]
        assert moved == (groups.group == 0).tolist()


def test_every_group_gets_one_row() -> None:
    """Equal groups need no company; 10 and 3 cost 13 side by side, and 20 with padding."""
    assert len(fill_rows(dict.fromkeys(range(8), 300))) == 8
    assert fill_rows({0: 3, 1: 10}) == [[1, 0]]
    sizes = {3: 40, 5: 900, 6: 7, 9: 450, 11: 460}
    assert sorted(g for row in fill_rows(sizes) for g in row) == sorted(sizes)
    assert len(fill_rows(dict.fromkeys(range(8), 300), stem=300)) < 8, "a stem is worth sharing"


def every_number_of_rows(sizes: dict[int, int]) -> list[list[int]]:
    """The plain twin of `fill_rows`: each number of rows tried, the cheapest kept."""
    best: list[list[int]] = []
    for count in range(1, len(sizes) + 1):
        rows: list[list[int]] = [[] for _ in range(count)]
        for g in sorted(sizes, key=lambda g: -sizes[g]):
            min(rows, key=lambda row: sum(sizes[g] for g in row)).append(g)
        if not best or row_cost(rows, sizes) < row_cost(best, sizes):
            best = rows
    return best


def row_cost(rows: list[list[int]], sizes: dict[int, int]) -> float:
    length = max(sum(sizes[g] for g in row) for row in rows)
    return len(rows) * length * (1 + length / ATTENTION_TOKENS)


LENGTHS: dict[str, Callable[[random.Random], int]] = {
    "short": lambda r: r.randint(1, 6),
    "alike": lambda r: r.randint(20, 40),
    "long": lambda r: r.randint(400, 2500),
    "mixed": lambda r: r.randint(1, 2000),
    "a few very long": lambda r: int(20 * r.paretovariate(1.2)),
}


@pytest.mark.parametrize("kind", LENGTHS)
def test_rows_cost_hardly_more_than_the_best_of_every_number(kind: str) -> None:
    source = random.Random(0)
    for count in (1, 2, 3, 5, 8, 13, 40):
        for _ in range(3):
            sizes = {g: LENGTHS[kind](source) for g in range(count)}
            rows = fill_rows(sizes)
            assert sorted(g for row in rows for g in row) == list(range(count))
            assert row_cost(rows, sizes) <= 1.0102 * row_cost(every_number_of_rows(sizes), sizes)


@pytest.mark.parametrize("kind", LENGTHS)
def test_hundreds_of_groups_are_laid_out_in_milliseconds(kind: str) -> None:
    source = random.Random(0)
    sizes = {g: LENGTHS[kind](source) for g in range(500)}
    times = []
    for _ in range(5):
        started = time.process_time()
        fill_rows(sizes)
        times.append(time.process_time() - started)
    assert min(times) < 0.05  # 2 to 10 ms; trying every number takes seconds


def test_bfloat16_logprobs_are_float32_and_near(groups: TokenGroups) -> None:
    policy = tiny_policy()
    rough = Policy(policy.network, None, replace(CPU, dtype=torch.bfloat16))
    with torch.no_grad():
        exact, found = policy.logprobs(groups), rough.logprobs(groups)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 0.5
    assert not torch.equal(found, exact)
