"""The forward engine: packed equals plain equals transformers on one sequence; nothing leaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import CPU, gradients, naive_logprobs, ragged_groups, rows_of, tiny_network, tiny_policy
from torch import Tensor
from transformers import CONFIG_MAPPING

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ModelError
from gnomon.models.engine.forward import LayoutName, can_pack, completion_states, to_padded
from gnomon.models.engine.sequence_layout import packed_layout, plain_layout
from gnomon.models.roles import Policy

KINDS = ["llama", "qwen2", "gpt2"]


def learning_policy(kind: str) -> Policy:
    policy = tiny_policy(kind=kind)
    policy.network.requires_grad_(True)
    return policy


def close(result: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layout", ["branched", "packed", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_logprobs_equal_those_of_each_sequence_alone(kind: str, layout: LayoutName, groups: TokenGroups) -> None:
    policy = tiny_policy(kind=kind)
    policy.layout = layout
    with torch.no_grad():
        result = policy.logprobs(groups, temperature=0.7)
        expected = naive_logprobs(policy.network, groups, temperature=0.7)
    for row, wanted in zip(rows_of(result, groups), expected, strict=True):
        close(row, wanted)
    assert (result[~groups.mask] == 0).all()


@pytest.mark.parametrize("quick", ["branched", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_those_of_the_plain_layout(kind: str, quick: LayoutName, groups: TokenGroups) -> None:
    weights = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    result: dict[str, dict[str, Tensor]] = {}
    for layout in (quick, "plain"):
        policy = learning_policy(kind)
        policy.layout = layout
        result[layout] = gradients(policy, (policy.logprobs(groups) * weights).sum())
    assert len(result[quick]) > 10
    for name, gradient in result[quick].items():
        torch.testing.assert_close(gradient, result["plain"][name], atol=2e-5, rtol=1e-4, msg=name)


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
def test_outputs_do_not_depend_on_order_batch_or_padding(kind: str, groups: TokenGroups) -> None:
    policy = tiny_policy(kind=kind)
    with torch.no_grad():
        whole = rows_of(policy.logprobs(groups), groups)
        for rows in ([3, 5, 0, 4, 2, 1], [1], [5, 2], [1, 3, 4]):
            part = groups.select(rows)
            for row, result in zip(rows, rows_of(policy.logprobs(part), part), strict=True):
                close(result, whole[row])


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
    """A mask selects the trained tokens, not those that exist."""
    policy = tiny_policy()
    with torch.no_grad():
        assert torch.equal(policy.logprobs(ragged_groups(masked=True)), policy.logprobs(ragged_groups()))


def test_a_sliding_window_is_served_by_the_plain_layout(groups: TokenGroups) -> None:
    policy = tiny_policy(kind="mistral", sliding_window=4)
    assert not can_pack(policy.network.config)
    with torch.no_grad():
        result = policy.logprobs(groups)
        for row, wanted in zip(rows_of(result, groups), naive_logprobs(policy.network, groups), strict=True):
            close(row, wanted)
        policy.layout = "packed"
        with pytest.raises(ModelError, match="plain layout"):
            policy.logprobs(groups)


def test_mistral_without_a_window_is_packed(groups: TokenGroups) -> None:
    assert can_pack(tiny_network("mistral", sliding_window=None).config)
    assert not can_pack(
        CONFIG_MAPPING["gemma3"](text_config={"sliding_window": 4})
    )  # windows of the part that reads


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
def test_a_common_prefix_of_prompts_is_read_once(kind: str, quick: LayoutName) -> None:
    """To the same log-probs and gradients as in the plain layout, and as transformers has it."""
    groups, result = alike(stem=5), {}
    weights = torch.randn(len(groups), int(groups.lengths.max()), generator=torch.Generator().manual_seed(1))
    for layout in (quick, "plain"):
        policy = learning_policy(kind)
        policy.layout = layout
        logprobs = policy.logprobs(groups)
        result[layout] = logprobs.detach(), gradients(policy, (logprobs * weights).sum())
    close(result[quick][0], result["plain"][0])
    for name, gradient in result[quick][1].items():
        torch.testing.assert_close(gradient, result["plain"][1][name], atol=2e-5, rtol=1e-4, msg=name)
    network = learning_policy(kind).network
    for row, wanted in zip(rows_of(result[quick][0], groups), naive_logprobs(network, groups), strict=True):
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


def test_nothing_leaks_between_prompts_with_a_common_prefix() -> None:
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


def test_bfloat16_logprobs_are_float32_and_near(groups: TokenGroups) -> None:
    policy = tiny_policy()
    rough = Policy(policy.network, None, replace(CPU, dtype=torch.bfloat16))
    with torch.no_grad():
        exact, result = policy.logprobs(groups), rough.logprobs(groups)
    assert result.dtype == torch.float32
    assert (result - exact).abs().max() < 0.5
    assert not torch.equal(result, exact)
