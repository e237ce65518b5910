"""Records to examples, examples to batches: what is shared, refused, counted."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from tiny import prompts_of

from gnomon.core.batches import Totals
from gnomon.core.types import Completion, Demonstration, Preference
from gnomon.data.batching import (
    collate_demonstrations,
    collate_preferences,
    epoch_order,
    token_groups,
    totals_of,
    within_budget,
)
from gnomon.data.encoding import (
    Example,
    Pair,
    encode_completions,
    encode_demonstrations,
    encode_preferences,
)
from gnomon.data.rendering import render_completion, render_prompt

A, B = prompts_of("first", "second")


def text(content: str, ids: tuple[int, ...] | None = None) -> Completion:
    return Completion(id=content, text=content, token_ids=ids)


def test_a_completion_in_several_pairs_is_encoded_once(chat_tokenizer: Any) -> None:
    """good > bad and good > poor of A, in two places of the file, share "good": three completions, two pairs."""
    records = [
        Preference(A, text("good"), text("bad"), probability=0.8, margin=1.5, weight=2.0),
        Preference(B, text("yes"), text("no")),
        Preference(A, text("good"), text("poor")),
    ]
    examples, rejected = encode_preferences(records, chat_tokenizer, 100)
    assert not rejected
    assert [e.prompt_id for e in examples] == ["p0", "p1"]
    assert examples[0].pairs == (Pair(0, 1, 0.8, 1.5, 2.0), Pair(0, 2, 1.0, 0.0, 1.0))
    expected = [tuple(render_completion(chat_tokenizer, t, "")) for t in ("good", "bad", "poor")]
    assert list(examples[0].completions) == expected
    assert totals_of(examples).rows == 3


def test_pairs_that_become_equal_are_rejected_by_tokens_not_text(chat_tokenizer: Any) -> None:
    """Sampled ids count, whatever the texts: these two are the same completion; "Yes " and "Yes" are not."""
    same = Preference(A, text("x", (5, 6)), text("y", (5, 6)))
    other = Preference(A, text("Yes "), text("Yes"))
    examples, rejected = encode_preferences([same, other], chat_tokenizer, 100)
    assert [r.where for r in rejected] == ["preference 1 (prompt 'p0')"]
    assert "same tokens" in rejected[0].reason
    assert len(examples[0].pairs) == 1


def test_rows_that_are_too_long_are_rejected_and_counted(chat_tokenizer: Any) -> None:
    limit = len(render_prompt(chat_tokenizer, A)) + len(render_completion(chat_tokenizer, "good", ""))
    examples, rejected = encode_demonstrations(
        [Demonstration(A, text("good")), Demonstration(A, text("good film good"))], chat_tokenizer, limit
    )
    assert len(examples) == len(rejected) == 1
    assert rejected[0].where == "demonstration 2 ('good film good')"
    assert f"more than the {limit} that max_tokens and the model's context allow" in rejected[0].reason
    pairs = [Preference(A, text("good"), text("good film good")), Preference(A, text("good"), text("a"))]
    examples, rejected = encode_preferences(pairs, chat_tokenizer, limit)
    assert [len(e.pairs) for e in examples] == [1]
    assert [r.where for r in rejected] == ["preference 1 (prompt 'p0')"]
    assert encode_preferences(pairs[:1], chat_tokenizer, limit)[0] == []


def test_sampled_ids_are_never_tokenised_again(chat_tokenizer: Any) -> None:
    """g-o-o-d as four tokens is not how the tokenizer would write it."""
    odd = tuple(chat_tokenizer.convert_tokens_to_ids(list("good")))
    assert odd != tuple(render_completion(chat_tokenizer, "good", ""))[:-1]
    sampled, written = encode_completions([A, A], [text("good", odd), text("good")], chat_tokenizer)
    assert sampled.completions == (odd,)
    assert written.completions == (tuple(render_completion(chat_tokenizer, "good", "")),)


PAIRED = [
    Example("p0", (1, 2), ((3, 4, 9), (5, 9), (6, 9)), (Pair(0, 1, 0.8, 1.0, 1.0), Pair(2, 0, 0.6, 0.0, 3.0))),
    Example("p1", (7,), ((8, 9), (9,)), (Pair(1, 0, 1.0, 0.5, 1.0),)),
]


def test_collated_pairs_point_at_their_completions() -> None:
    batch = collate_preferences(PAIRED, Totals(3, 10))
    assert batch.chosen.tolist() == [0, 2, 4]
    assert batch.rejected.tolist() == [1, 0, 3]
    assert batch.probability.tolist() == pytest.approx([0.8, 0.6, 1.0])
    assert batch.margin.tolist() == [1.0, 0.0, 0.5]
    assert batch.weight.tolist() == [1.0, 3.0, 1.0]
    assert [c.tolist() for c in batch.tokens.completions] == [[3, 4, 9], [5, 9], [6, 9], [8, 9], [9]]
    assert batch.tokens.group.tolist() == [0, 0, 0, 1, 1]


def test_totals_and_costs() -> None:
    """Rows are pairs where there are any, else completions; tokens are those of completions."""
    single = [Example("a", (1, 2, 3), ((4, 5),)), Example("b", (1,), ((6,),))]
    assert totals_of(single) == Totals(2, 3)
    assert totals_of(PAIRED) == Totals(3, 10)
    assert [e.cost for e in PAIRED] == [9, 4]
    assert totals_of([*PAIRED, *single]) == Totals(5, 13)


def test_examples_of_one_prompt_share_it() -> None:
    examples = [Example("a", (1, 2), ((3,),)), Example("b", (1, 2), ((4,),)), Example("a", (1, 2), ((5,),))]
    assert token_groups(examples).group.tolist() == [0, 1, 0]
    batch = collate_demonstrations(examples, Totals(3, 3))
    assert len(batch.tokens.prompts) == 2
    assert torch.equal(batch.weight, torch.ones(3))


@pytest.mark.parametrize("budget", [1, 7, 30, 10_000])
def test_every_item_is_in_one_part_and_parts_respect_the_budget(budget: int) -> None:
    costs = [random.Random(0).randint(1, 12) for _ in range(50)]
    parts = list(within_budget(costs, budget))
    assert sorted(item for part in parts for item in part) == list(range(50))
    for part in parts:
        assert len(part) == 1 or sum(costs[i] for i in part) <= budget
    largest = [max(costs[i] for i in part) for part in parts]
    assert largest == sorted(largest, reverse=True)
    assert len(parts) == 1 or budget < sum(costs)


def test_nothing_makes_no_parts() -> None:
    assert list(within_budget([], 10)) == []


def test_an_epochs_order_depends_on_its_arguments_only() -> None:
    torch.manual_seed(1)
    first = epoch_order(20, seed=3, epoch=1)
    torch.manual_seed(2)
    assert epoch_order(20, seed=3, epoch=1) == first
    assert sorted(first) == list(range(20))
    assert len({tuple(epoch_order(20, seed=s, epoch=e)) for s in range(3) for e in range(3)}) == 9
