"""The unit of the system: masks from lengths, selections, costs, metrics that add up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnomon.core.batches import StepTotals, TokenGroups, merge_metrics, pad_rows
from gnomon.core.experience import Experience


def test_masks_come_from_lengths_and_not_from_ids() -> None:
    """Id 0 pads and ends here, as with models whose padding is their end of text."""
    groups = TokenGroups.build([[5]], [[1, 0, 0], [0]], [0, 0])
    assert groups.mask.tolist() == [[True, True, True], [True, False, False]]
    assert groups.lengths.tolist() == [3, 1]


def test_a_token_that_was_not_chosen_is_masked(masked_groups: TokenGroups) -> None:
    assert masked_groups.mask[2].tolist() == [True, True, False, False, True, True]
    assert masked_groups.mask[1].tolist() == [True] + [False] * 5


@pytest.mark.parametrize(
    ("prompts", "completions", "masks"), [([[]], [[1]], None), ([[1]], [[]], None), ([[1]], [[1, 2]], [[True]])]
)
def test_invalid_groups_are_refused(
    prompts: list[list[int]], completions: list[list[int]], masks: list[list[bool]] | None
) -> None:
    with pytest.raises(AssertionError):
        TokenGroups.build(prompts, completions, [0], masks)


def test_cost_counts_a_shared_prompt_once_and_an_unused_one_never(groups: TokenGroups) -> None:
    """Prompts of 5, 2, 7 tokens; completions of 4, 1, 6, 3, 2, 5."""
    assert groups.cost == 5 + 2 + 7 + 21
    assert groups.select([0, 2]).cost == 5 + 4 + 6


def test_select_keeps_each_completion_with_its_prompt(masked_groups: TokenGroups) -> None:
    part = masked_groups.select([4, 2, 1])
    assert len(part) == 3
    assert part.group.tolist() == [0, 1, 0]
    assert [len(p) for p in part.prompts] == [2, 5]
    for new, old in enumerate([4, 2, 1]):
        assert torch.equal(part.completions[new], masked_groups.completions[old])
        assert torch.equal(part.masks[new], masked_groups.masks[old])
        prompt, expected = part.prompts[part.group[new]], masked_groups.prompts[masked_groups.group[old]]
        assert torch.equal(prompt, expected)


def numbered(groups: TokenGroups) -> Experience:
    """Every tensor's values encode its row and column."""
    n, width = groups.mask.shape
    per_token = torch.arange(n)[:, None] * 10.0 + torch.arange(width)
    return Experience(
        tokens=groups,
        old_logprobs=per_token,
        scores=torch.arange(n) * 1.0,
        finished=torch.arange(n) % 2 == 0,
        totals=StepTotals(n, float(groups.mask.sum())),
        values=per_token + 0.5,
        critic_states=per_token[:, :, None].expand(n, width, 3),
    )


def test_experience_is_selected_and_cut_to_the_longest_row(groups: TokenGroups) -> None:
    totals = StepTotals(99, 999)
    part = numbered(groups).select([3, 1], totals)
    assert part.old_logprobs.tolist() == [[30, 31, 32], [10, 11, 12]]
    assert part.scores.tolist() == [3, 1]
    assert part.finished.tolist() == [False, False]
    assert part.totals is totals
    assert part.reference_logprobs is None
    assert part.values is not None
    assert part.values.shape == part.tokens.mask.shape == (2, 3)
    assert part.critic_states is not None
    assert part.critic_states.shape == (2, 3, 3)


def test_pad_rows() -> None:
    rows = [torch.tensor([1.0]), torch.tensor([2.0, 3.0])]
    assert pad_rows(rows, -1.0).tolist() == [[1, -1], [2, 3]]


def test_metrics_of_micro_batches_add_up() -> None:
    parts: list[dict[str, Tensor]] = [
        {"loss": torch.tensor(0.25)},
        {"loss": torch.tensor(0.5), "b": torch.tensor(1)},
    ]
    assert merge_metrics(parts) == {"loss": 0.75, "b": 1.0}
