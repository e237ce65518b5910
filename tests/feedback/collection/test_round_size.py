"""Size of the next round, by hand."""

from __future__ import annotations

import pytest

from gnomon.feedback.collection.round_size import PreferenceYield, round_prompts

NOTHING = PreferenceYield(0, 0, 0, 0)


def test_the_yield_is_never_zero() -> None:
    """One item that gave one preference is added: (0 + 1) / (9 + 1), (30 + 1) / (61 + 1)."""
    assert PreferenceYield(0, 9, 9, 9).per_item == 0.1
    assert PreferenceYield(30, 61, 80, 40).per_item == 0.5
    assert (NOTHING.per_item, NOTHING.items_per_prompt) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("missing", "so_far", "open_items", "expected"),
    [
        (7, NOTHING, 0, 7),  # one preference of each prompt is assumed
        (500, NOTHING, 0, 20),  # the first round is small
        (500, PreferenceYield(9, 19, 19, 19), 0, 20),  # as long as fewer than 20 items are judged
        (100, PreferenceYield(30, 61, 80, 40), 0, 100),  # 0.5 per item, 2 items per prompt: 1 per prompt
        (100, PreferenceYield(30, 61, 80, 40), 20, 90),  # 20 open items are expected to give 10
        (500, PreferenceYield(30, 61, 80, 40), 0, 160),  # at most four times the 40 prompts so far
        (5000, PreferenceYield(999, 999, 999, 999), 0, 500),  # never more than 500
        (3, PreferenceYield(30, 61, 80, 40), 400, 1),  # at least one, even if open items may be enough
        (50, PreferenceYield(0, 24, 24, 24), 0, 96),  # no preference so far: 1 of 25, so 1,250 would be needed
    ],
)
def test_rounds_follow_the_yield(missing: int, so_far: PreferenceYield, open_items: int, expected: int) -> None:
    assert round_prompts(missing, so_far, open_items) == expected


@pytest.mark.parametrize(("left", "expected"), [(100, 16), (7, 1), (1, 1), (10_000, 100)])
def test_a_budget_limits_the_round(left: int, expected: int) -> None:
    """Two items per prompt with three judgements each: 100 judgements are enough for 16 prompts."""
    so_far = PreferenceYield(30, 61, 80, 40)
    assert round_prompts(100, so_far, 0, votes_per_item=3, judgements_left=left) == expected
