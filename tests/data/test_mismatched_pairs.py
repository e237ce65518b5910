"""Mismatched pairs: partners, lengths that do not fit, and refused data."""

from __future__ import annotations

from collections import Counter

import pytest

from gnomon.core.errors import DataError
from gnomon.data.encoding import Example
from gnomon.data.mismatched_pairs import mismatched_pairs

LONG = 100


def rows(*prompts: str) -> list[Example]:
    """One completion each, its only token the row's number; the prompt's token encodes its letter."""
    return [Example(name, (ord(name),), ((n,),), good=n % 2 == 0) for n, name in enumerate(prompts)]


def test_each_prompt_meets_the_completion_of_another() -> None:
    examples = rows(*"aabbccddee")
    result = mismatched_pairs(examples, LONG, seed=0)
    for row, own in enumerate(examples):
        other = result[row]
        assert (other.prompt_id, other.prompt) == (own.prompt_id, own.prompt)
        assert examples[other.completions[0][0]].prompt_id != own.prompt_id
    assert max(Counter(other.completions[0] for other in result.values()).values()) <= 3
    assert result == mismatched_pairs(examples, LONG, seed=0)
    assert result != mismatched_pairs(examples, LONG, seed=1)


def test_masks_travel_with_the_completion() -> None:
    examples = [Example("a", (1,), ((2, 3),), masks=((True, False),)), Example("b", (4,), ((5,),))]
    pairs = mismatched_pairs(examples, LONG, seed=0)
    first, second = pairs[0], pairs[1]
    assert (first.completions, first.masks) == (((5,),), ())
    assert (second.completions, second.masks) == (((2, 3),), ((True, False),))


def test_partners_that_do_not_fit_are_left_out() -> None:
    """Prompt b with a's three tokens would be six, over the limit of five; a with b's one is fine."""
    examples = [Example("a", (1,), ((2, 3, 4),)), Example("b", (5, 6, 7), ((8,),))]
    assert list(mismatched_pairs(examples, 5, seed=0)) == [0]


def test_a_single_prompt_is_refused_with_advice() -> None:
    with pytest.raises(DataError, match="add another prompt"):
        mismatched_pairs(rows("a", "a"), LONG, seed=0)
