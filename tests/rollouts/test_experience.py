"""Experience from rollouts: positions of scores, truncated completions, the KL penalty."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import prompts_of

from gnomon.core.batches import StepTotals, TokenGroups
from gnomon.core.experience import Experience, FinishReason, Rollout
from gnomon.core.types import Completion, Prompt
from gnomon.rollouts.experience import (
    apply_kl_penalty,
    build_experience,
    cap_truncated,
    last_token,
    sequence_kl,
    token_groups_of,
)


def rollout(
    prompt: Prompt, ids: tuple[int, ...], logprobs: tuple[float, ...], reason: FinishReason = "end"
) -> Rollout:
    completion = Completion(id="c", text="", token_ids=ids)
    return Rollout(prompt, (1, 2, len(prompt.id)), completion, logprobs, reason)


A, B = prompts_of("same words", "same words")
ROLLOUTS = [
    rollout(A, (5, 6, 0), (-0.1, -0.2, -0.3)),
    rollout(B, (7,), (-0.4,), reason="length"),
    rollout(A, (8, 0), (-0.5, -0.6)),
]


def test_groups_are_by_prompt_id_and_not_by_equal_text() -> None:
    groups = token_groups_of(ROLLOUTS)
    assert groups.group.tolist() == [0, 1, 0]
    assert len(groups.prompts) == 2
    assert [c.tolist() for c in groups.completions] == [[5, 6, 0], [7], [8, 0]]


def test_one_id_with_the_tokens_of_two_prompts_is_a_fault() -> None:
    other = replace(ROLLOUTS[2], prompt_ids=(9, 9))
    with pytest.raises(AssertionError, match="a prompt id stands for one prompt"):
        token_groups_of([*ROLLOUTS[:2], other])
    assert len(token_groups_of([*ROLLOUTS[:2], replace(other, policy_version=1)]).prompts) == 3


def test_experience_has_the_samplers_logprobs_and_step_totals() -> None:
    result = build_experience(ROLLOUTS, torch.tensor([1.0, 2.0, 3.0]))
    expected = torch.tensor([[-0.1, -0.2, -0.3], [-0.4, 0, 0], [-0.5, -0.6, 0]])
    torch.testing.assert_close(result.old_logprobs, expected)
    assert result.finished.tolist() == [True, False, True]
    assert result.totals == StepTotals(rows=3, tokens=6.0)


def test_the_score_lands_on_the_last_token_that_counts() -> None:
    """Not on the first padding, and not on a tool's output that came last."""
    mask = torch.tensor([[True, True, True], [True, False, False], [True, True, False], [True, False, True]])
    result = last_token(torch.tensor([1.0, 2.0, 3.0, 4.0]), mask)
    assert result.tolist() == [[0, 0, 1], [2, 0, 0], [0, 3, 0], [0, 0, 4]]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([5.0, 5.0, -9.0], [5.0, -1.0, -9.0]),  # the penalty, but never more than its own score
        ([-5.0, 0.0, -3.0], [-5.0, -5.0, -5.0]),  # nor more than the one that ended
        ([-5.0, -6.0, -5.0], [-5.0, -6.0, -5.0]),
    ],
)
def test_a_completion_that_was_cut_off_gets_the_least_of_three(
    scores: list[float], expected: list[float]
) -> None:
    finished = torch.tensor([True, False, False])
    assert cap_truncated(torch.tensor(scores), finished, -1.0).tolist() == expected
    assert torch.equal(cap_truncated(torch.tensor(scores), finished, None), torch.tensor(scores))


def test_the_lowest_of_several_that_ended_bounds_those_that_were_cut_off() -> None:
    finished = torch.tensor([True, False, True, False])
    result = cap_truncated(torch.tensor([2.0, 3.0, -4.0, -7.0]), finished, -1.0)
    assert result.tolist() == [2.0, -4.0, -4.0, -7.0]


def test_where_none_ended_each_gets_its_own_score_up_to_the_penalty() -> None:
    result = cap_truncated(torch.tensor([2.0, -3.0]), torch.tensor([False, False]), -1.0)
    assert result.tolist() == [-1.0, -3.0]


def experience() -> Experience:
    """Log-ratios to the reference of ½, −0.25 and (masked) 9 in row 0, 1 in row 1."""
    groups = TokenGroups.build([[1]], [[1, 2, 3], [4]], [0, 0], [[True, True, False], [True]])
    logprobs = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, float("nan"), float("nan")]])
    result = Experience(
        groups, logprobs, torch.tensor([2.0, -1.0]), torch.tensor([True, True]), StepTotals(2, 3.0)
    )
    return replace(result, reference_logprobs=torch.tensor([[-1.5, -1.75, -9.5], [-4.0, 0.0, 0.0]]))


def test_apply_kl_penalty_hand_numbers() -> None:
    """β = 0.1: row 0 pays 0.05 and −0.025 and earns 2 on its second token; row 1 pays 0.1 and earns −1."""
    rewards = apply_kl_penalty(experience(), 0.1).rewards
    assert rewards is not None
    assert rewards[0].tolist() == pytest.approx([-0.05, 2.025, 0.0])
    assert rewards[1].tolist() == pytest.approx([-1.1, 0.0, 0.0])


def test_sequence_kl_hand_numbers() -> None:
    """0.5 − 0.25 and 1; what is masked was not chosen and costs nothing."""
    assert sequence_kl(experience()).tolist() == pytest.approx([0.25, 1.0])


def test_a_free_nat_leaves_the_score_alone() -> None:
    rewards = apply_kl_penalty(experience(), 0.0).rewards
    assert rewards is not None
    assert rewards.tolist() == [[0, 2, 0], [-1, 0, 0]]
