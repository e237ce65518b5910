"""The scores of JudgeBench, from a reward model's scores of its answers.

S. Tan et al., "JudgeBench: a benchmark for evaluating LLM-based judges" (ICLR 2025). One answer of each pair is
objectively correct. A judge sees the pair in both orders and is right if more of its two verdicts are right than
wrong. A reward's verdict does not depend on the order: it is right if the correct answer's score is higher; equal
scores, whose two verdicts contradict each other, are not right.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from gnomon.core.errors import DataError

CATEGORIES = {  # prefix of a pair's source → category of the paper's tables
    "mmlu-pro": "Knowledge",
    "livebench-reasoning": "Reasoning",
    "livebench-math": "Math",
    "livecodebench": "Coding",
}


def category_of(source: str) -> str:
    """Return the category of a pair's source, such as `mmlu-pro-law`; "" for an unknown one."""
    return next((name for prefix, name in CATEGORIES.items() if source.startswith(prefix)), "")


def accuracy_by_category(pairs: Sequence[tuple[str, float, float]]) -> tuple[dict[str, float], float | None]:
    """Compute the accuracy of each category, and that of all pairs together.

    Args:
        pairs: source, score of the correct answer, score of the other one.

    Returns:
        The categories that occur; and the share of all pairs, `None` without any.

    Raises:
        DataError: a score is not finite.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    for source, correct, other in pairs:
        if not (math.isfinite(correct) and math.isfinite(other)):
            raise DataError("a score is not a finite number; leave out what the reward model could not score.")
        right[category_of(source)].append(correct > other)
    shares = {name: sum(right[name]) / len(right[name]) for name in CATEGORIES.values() if name in right}
    everything = [one for some in right.values() for one in some]
    return shares, sum(everything) / len(everything) if everything else None
