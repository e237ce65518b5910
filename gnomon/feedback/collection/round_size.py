"""Size of the next round: the prompts that should give the missing preferences, by the yield so far."""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST_ROUND = 20  # prompts, until as many items are judged
LARGEST_ROUND = 500  # prompts
GROWTH = 4  # a round has at most so many times the prompts before it


@dataclass(frozen=True)
class PreferenceYield:
    """Valid preferences that the items of a project gave so far.

    Attributes:
        preferences: number of valid preferences.
        judged_items: number of items with all the judgements that they need.
        items: number of items.
        prompts: number of prompts with items.
    """

    preferences: int
    judged_items: int
    items: int
    prompts: int

    @property
    def per_item(self) -> float:
        """Valid preferences per judged item; one item that gave one preference is added, so it is never 0."""
        return (self.preferences + 1) / (self.judged_items + 1)

    @property
    def items_per_prompt(self) -> float:
        """Items per prompt; 1 without any."""
        return self.items / self.prompts if self.prompts else 1.0


def round_prompts(
    missing: int,
    so_far: PreferenceYield,
    open_items: int,
    *,
    votes_per_item: int = 1,
    judgements_left: int | None = None,
) -> int:
    """Return the number of prompts of the next round, at least 1.

    Open items are expected to give as many preferences as judged ones did. The first round is small, since the
    yield is not known; later ones may be several times as large as all before.

    Args:
        missing: preferences that are missing.
        so_far: what the project's items gave.
        open_items: items that are not resolved.
        votes_per_item: judgements of an item.
        judgements_left: judgements that the budget allows; `None`: any number.
    """
    per_prompt = so_far.per_item * so_far.items_per_prompt
    wanted = math.ceil((missing - open_items * so_far.per_item) / per_prompt)
    most = FIRST_ROUND
    if so_far.judged_items >= FIRST_ROUND:
        most = min(LARGEST_ROUND, max(FIRST_ROUND, GROWTH * so_far.prompts))
    if judgements_left is not None:
        most = min(most, int(judgements_left / (votes_per_item * so_far.items_per_prompt)))
    return max(1, min(wanted, most))
