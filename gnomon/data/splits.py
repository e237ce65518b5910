"""Splits of rated texts: a holdout for the judge, parts for training and testing, a balanced sample.

The splits are by text, not by row: two rows with the same text are always in the same part. Otherwise a test
would use texts that the model was trained on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.types import RatedText

JUDGE_HOLDOUT = "judge_holdout"


def normalized_text(text: str) -> str:
    """Normalize a text for comparison: case folded, every run of white space one space."""
    return " ".join(text.casefold().split())


def split_items(
    items: Sequence[RatedText], sizes: Mapping[str, int], judge_holdout: float, seed: int
) -> dict[str, list[RatedText]]:
    """Split a set into disjoint parts.

    The outcome depends on the items and the seed, not on the order of the items. Texts that are equal after
    `normalized_text` are in one part together.

    Args:
        items: the rated texts; ids must be unique.
        sizes: number of items for each named part.
        judge_holdout: share of all items that goes into the part "judge_holdout" first; in [0, 1).
        seed: of the shuffle.

    Returns:
        The part "judge_holdout", then the named parts, each in shuffled order. Remaining items are in no part.

    Raises:
        DataError: the items do not suffice, or an argument makes no sense.
    """
    if not 0 <= judge_holdout < 1:
        raise DataError(f"the judge_holdout share must be at least 0 and below 1, not {judge_holdout}.")
    if JUDGE_HOLDOUT in sizes or any(size < 0 for size in sizes.values()):
        raise DataError(
            f"parts need a size of at least 0 and a name other than {JUDGE_HOLDOUT!r}: {dict(sizes)}."
        )
    targets = {JUDGE_HOLDOUT: round(judge_holdout * len(items)), **sizes}
    if sum(targets.values()) > len(items):
        raise DataError(f"{len(items)} items are too few for the parts {targets}; set smaller parts.")

    groups = _shuffled_groups(items, seed)
    parts: dict[str, list[RatedText]] = {}
    for name, size in targets.items():
        part: list[RatedText] = []
        skipped = []
        for index, group in enumerate(groups):
            if len(part) == size:
                skipped += groups[index:]
                break
            if len(part) + len(group) <= size:
                part += group
            else:  # equal texts that would overfill this part wait for the next
                skipped.append(group)
        if len(part) < size:
            raise DataError(f"part {name!r} cannot get {size} items without separating equal texts; resize it.")
        parts[name], groups = part, skipped
    return parts


def _shuffled_groups(items: Sequence[RatedText], seed: int) -> list[list[RatedText]]:
    """Group the items by equal text, the groups in random order."""
    if len({item.id for item in items}) < len(items):
        raise DataError("two items share an id; give each item its own.")
    by_text: defaultdict[str, list[RatedText]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.id):
        by_text[normalized_text(item.text)].append(item)
    groups = list(by_text.values())
    return [groups[index] for index in np.random.default_rng(seed).permutation(len(groups))]


def neutral_sample(items: Sequence[RatedText], n: int, seed: int) -> list[RatedText]:
    """Draw a random sample whose overall mean rating is as near to 0 as possible.

    A model that imitates the sample starts without a bias to either side, so later changes are due to alignment.
    Every item that pushes the running total away from 0 is followed by a random one from the other side: the
    total never exceeds one item's mean, however long the sample. The last item is not random but the one that
    cancels the total best.

    Args:
        items: the rated texts.
        n: size of the sample.
        seed: of the sample.

    Raises:
        DataError: too few items, or too few on one side of 0.
    """
    if n < 1:
        raise DataError(f"a sample needs at least one item, not {n}.")
    order = np.random.default_rng(seed).permutation(len(items))
    shuffled = [items[index] for index in order]
    above = [item for item in shuffled if item.mean > 0]
    not_above = [item for item in shuffled if item.mean <= 0]
    sample: list[RatedText] = []
    total = 0.0
    while len(sample) < n - 1:
        side = not_above if total >= 0 else above
        if not side:
            break
        sample.append(side.pop())
        total += sample[-1].mean
    rest = above + not_above
    if len(sample) < n - 1 or not rest:
        raise DataError(f"the items do not suffice for a balanced sample of {n}: one side of 0 runs out.")
    return [*sample, min(rest, key=lambda item: abs(total + item.mean))]
