"""Prompts with completions of other prompts, on which the KL baseline of KTO is estimated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gnomon.core.errors import DataError
from gnomon.data.batching import epoch_order
from gnomon.data.encoding import Example

ORDER = 2_000  # an "epoch" of its own, so that partners have nothing to do with the order of training


def mismatched_pairs(examples: Sequence[Example], max_tokens: int, seed: int) -> list[Example | None]:
    """Pair each example's prompt with another prompt's completions; the same partners for the same seed.

    Partners are neighbors on a ring in random order, so each completion is used about once.

    Args:
        examples: encoded examples of at least two prompts.
        max_tokens: length limit of prompt and completion together.
        seed: of the order.

    Returns:
        One for each example; `None` if no completions fit with the prompt.

    Raises:
        DataError: all examples are of one prompt.
    """
    if len({e.prompt_id for e in examples}) < 2:
        raise DataError(
            "all rows have the same prompt, and this algorithm compares completions of two; add another prompt."
        )
    ring = epoch_order(len(examples), seed, ORDER)
    partners: list[Example | None] = [None] * len(examples)
    for position, i in enumerate(ring):
        own = examples[i]
        for step in range(1, len(ring)):
            other = examples[ring[(position + step) % len(ring)]]
            longest = max(map(len, other.completions))
            if other.prompt_id != own.prompt_id and len(own.prompt) + longest <= max_tokens:
                partners[i] = replace(other, prompt_id=own.prompt_id, prompt=own.prompt)
                break
    return partners
