"""Stored examples from easy to hard: how hard each is, and the batches of each part of a curriculum.

Bengio et al. 2009, "Curriculum learning". The parts have equally many examples and steps. A part of a `staged`
curriculum holds its own examples, one of a `cumulative` curriculum those of all parts before it too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from gnomon.core.errors import ConfigError
from gnomon.data.batching import epoch_order
from gnomon.data.encoding import Example
from gnomon.training.settings import EasyToHard

ORDER = 500_000  # the first "epoch" of a curriculum's own orders


def pair_difficulty(example: Example, by: str) -> float:
    """Compute how hard an example's pairs are on average; more is harder.

    Args:
        example: with pairs.
        by: `margin`: a small difference of ratings is hard; `agreement`: a share of raters near ½ is;
            `length_gap`: sides of about the same length are, since length shows nothing.
    """
    if by == "margin":
        values = [-abs(pair.margin) for pair in example.pairs]
    elif by == "agreement":
        values = [-abs(pair.probability - 0.5) for pair in example.pairs]
    else:
        lengths = [len(completion) for completion in example.completions]
        values = [-abs(math.log(lengths[pair.chosen] / lengths[pair.rejected])) for pair in example.pairs]
    return sum(values) / len(values)


def check_pairs(examples: Sequence[Example], by: str, label: str) -> None:
    """Refuse a curriculum that needs pairs for data without them, or margins for pairs that have none.

    Args:
        examples: of the stage.
        by: what the curriculum goes by.
        label: of the stage.

    Raises:
        ConfigError: it cannot order the examples.
    """
    if by == "loss":
        return
    fix = f"stage '{label}': training.curriculum.by is {by}"
    margins: set[float] = set()
    for example in examples:
        if not example.pairs:
            raise ConfigError(f"{fix}, but the data have examples without pairs; set it to loss.")
        margins |= {pair.margin for pair in example.pairs} if len(margins) < 2 else set()
    if by == "margin" and len(margins) < 2:
        raise ConfigError(f"{fix}, but all pairs have the same margin; set it to agreement, length_gap or loss.")


def part_count(curriculum: EasyToHard, examples: int, steps: int) -> int:
    """Return the number of parts: that of the settings, but no more than there are examples or steps.

    Args:
        curriculum: its settings.
        examples: of the stage.
        steps: of the stage.
    """
    return min(curriculum.parts, examples, steps)


def part_of_step(step: int, steps: int, parts: int) -> int:
    """Return the part to which a step belongs, from 0.

    Args:
        step: from 0 to `steps` − 1.
        steps: of the stage.
        parts: number of parts.
    """
    starts = [round(steps * part / parts) for part in range(parts)]
    return max(part for part, start in enumerate(starts) if start <= step)


def curriculum_batches(
    difficulty: Sequence[float], curriculum: EasyToHard, steps: int, size: int, seed: int
) -> Iterator[list[int]]:
    """Yield the rows of each step's batch, as indices of examples; the order within a part depends on the seed.

    Args:
        difficulty: of each example.
        curriculum: its settings.
        steps: of the stage.
        size: examples of a batch.
        seed: of the orders.
    """
    ranked = sorted(range(len(difficulty)), key=lambda row: (difficulty[row], row))
    parts = part_count(curriculum, len(ranked), steps)
    ends = [round(len(ranked) * part / parts) for part in range(parts + 1)]
    counts = [0] * parts
    for step in range(steps):
        counts[part_of_step(step, steps, parts)] += 1
    for part, count in enumerate(counts):
        allowed = ranked[0 if curriculum.cumulative else ends[part] : ends[part + 1]]
        orders = (epoch_order(len(allowed), seed, ORDER + 1000 * part + epoch) for epoch in itertools.count())
        drawn = (allowed[index] for order in orders for index in order)
        for _ in range(count):
            yield list(itertools.islice(drawn, min(size, len(allowed))))
