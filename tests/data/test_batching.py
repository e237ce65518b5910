"""Batching of examples: shared prompts, counts, and micro-batches within a budget."""

from __future__ import annotations

import random

import pytest
import torch

from gnomon.core.batches import StepTotals
from gnomon.data.batching import (
    collate_demonstrations,
    collate_labels,
    collate_preferences,
    collate_rankings,
    epoch_order,
    pack_by_tokens,
    token_groups,
    totals_of,
)
from gnomon.data.encoding import Example, PairIndices, RankedIndices

PAIRED = [
    Example(
        "p0",
        (1, 2),
        ((3, 4, 9), (5, 9), (6, 9)),
        (PairIndices(0, 1, 0.8, 1.0, 1.0), PairIndices(2, 0, 0.6, 0.0, 3.0)),
    ),
    Example("p1", (7,), ((8, 9), (9,)), (PairIndices(1, 0, 1.0, 0.5, 1.0),)),
]


def test_collated_pairs_point_at_their_completions() -> None:
    batch = collate_preferences(PAIRED, StepTotals(3, 10))
    assert batch.chosen.tolist() == [0, 2, 4]
    assert batch.rejected.tolist() == [1, 0, 3]
    assert batch.probability.tolist() == pytest.approx([0.8, 0.6, 1.0])
    assert batch.margin.tolist() == [1.0, 0.0, 0.5]
    assert batch.weight.tolist() == [1.0, 3.0, 1.0]
    assert batch.share is not None
    assert batch.share.tolist() == [0.5, 0.5, 1.0], "of the pairs of each prompt"
    assert [c.tolist() for c in batch.tokens.completions] == [[3, 4, 9], [5, 9], [6, 9], [8, 9], [9]]
    assert batch.tokens.group.tolist() == [0, 0, 0, 1, 1]


def test_collated_labels_keep_their_order() -> None:
    """Equal prompts share one, but no completion moves: losses pair neighbours."""
    examples = [
        Example("a", (1, 2), ((3,),), weight=2.0, good=True),
        Example("b", (1,), ((4, 5),), good=False),
        Example("a", (1, 2), ((6,),), good=False),
    ]
    batch = collate_labels(examples, StepTotals(3, 4))
    assert batch.good.tolist() == [True, False, False]
    assert batch.weight.tolist() == [2.0, 1.0, 1.0]
    assert [c.tolist() for c in batch.tokens.completions] == [[3], [4, 5], [6]]
    assert batch.tokens.group.tolist() == [0, 1, 0]
    assert batch.reference_logprobs is None


def test_collated_rankings_point_at_their_completions() -> None:
    """Two rankings of the first prompt share completions; the second prompt's rows start after its three."""
    examples = [
        Example(
            "a", (1,), ((3,), (4,), (5,)), rankings=(RankedIndices((2, 0), 1.0), RankedIndices((1, 0, 2), 0.5))
        ),
        Example("b", (2,), ((6,), (7,)), rankings=(RankedIndices((1, 0), 3.0),)),
    ]
    batch = collate_rankings(examples, totals_of(examples))
    assert [order.tolist() for order in batch.order] == [[2, 0], [1, 0, 2], [4, 3]]
    assert batch.weight.tolist() == [1.0, 0.5, 3.0]
    assert batch.totals == StepTotals(3, 5, examples=2, judged={"rankings": 3})


def test_masked_tokens_cost_but_do_not_count() -> None:
    """Of 4 tokens 2 are the policy's, of the other example all 3; the model reads 1 + 4 and 1 + 3."""
    examples = [
        Example("a", (1,), ((3, 4, 5, 6),), masks=((True, False, False, True),)),
        Example("b", (1,), ((7, 8, 9),)),
    ]
    assert totals_of(examples) == StepTotals(2, 5, examples=2)
    assert [e.cost for e in examples] == [5, 4]
    mask = collate_demonstrations(examples, totals_of(examples)).tokens.mask
    assert mask.tolist() == [[True, False, False, True], [True, True, True, False]]


def test_totals_and_costs() -> None:
    """Rows are pairs where there are any, else completions; tokens are those of completions."""
    single = [Example("a", (1, 2, 3), ((4, 5),)), Example("b", (1,), ((6,),))]
    assert totals_of(single) == StepTotals(2, 3, examples=2)
    judged = {"pairs": 3, "paired_examples": 2}
    assert totals_of(PAIRED) == StepTotals(3, 10, examples=2, judged=judged)
    assert [e.cost for e in PAIRED] == [9, 4]
    assert totals_of([*PAIRED, *single]) == StepTotals(5, 13, examples=4, judged=judged)


def test_examples_of_one_prompt_share_it() -> None:
    examples = [Example("a", (1, 2), ((3,),)), Example("b", (1, 2), ((4,),)), Example("a", (1, 2), ((5,),))]
    assert token_groups(examples).group.tolist() == [0, 1, 0]
    batch = collate_demonstrations(examples, StepTotals(3, 3))
    assert len(batch.tokens.prompts) == 2
    assert torch.equal(batch.weight, torch.ones(3))


def test_one_id_with_the_tokens_of_two_prompts_is_a_fault() -> None:
    with pytest.raises(AssertionError, match="a prompt id stands for one prompt"):
        token_groups([Example("a", (1, 2), ((3,),)), Example("a", (1, 3), ((4,),))])


@pytest.mark.parametrize("budget", [1, 7, 30, 10_000])
def test_every_item_is_in_one_part_and_parts_respect_the_budget(budget: int) -> None:
    costs = [random.Random(0).randint(1, 12) for _ in range(50)]
    parts = list(pack_by_tokens(costs, budget))
    assert sorted(item for part in parts for item in part) == list(range(50))
    for part in parts:
        assert len(part) == 1 or sum(costs[i] for i in part) <= budget
    largest = [max(costs[i] for i in part) for part in parts]
    assert largest == sorted(largest, reverse=True)
    assert len(parts) == 1 or budget < sum(costs)


def test_no_items_make_no_parts() -> None:
    assert list(pack_by_tokens([], 10)) == []


def test_an_epochs_order_depends_on_its_arguments_only() -> None:
    torch.manual_seed(1)
    first = epoch_order(20, seed=3, epoch=1)
    torch.manual_seed(2)
    assert epoch_order(20, seed=3, epoch=1) == first
    assert sorted(first) == list(range(20))
    assert len({tuple(epoch_order(20, seed=s, epoch=e)) for s in range(3) for e in range(3)}) == 9


def test_any_seed_that_settings_take_orders_an_epoch() -> None:
    assert sorted(epoch_order(5, 2**63 - 1, 10**9)) == list(range(5))
