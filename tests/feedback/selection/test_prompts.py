"""Selection of prompts: quotas of the mix, balanced categories, no duplicates and near-duplicates."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from tiny import prompts_of

from gnomon.core.config import validate
from gnomon.core.errors import ConfigError, DataError
from gnomon.core.types import Message, Prompt
from gnomon.feedback.selection.prompts import (
    MIX_PARTS,
    CategoryCoverage,
    PromptMix,
    SelectedPrompt,
    apportion,
    coverage,
    select_prompts,
    similarity,
)
from gnomon.feedback.store.store import BankPrompt

LONG = "请用简单的语言解释量子计算的基本原理和应用场景。"
LONGER = "请用简单的语言解释一下量子计算的基本原理和应用场景。"


def one(name: str, text: str | None = None, **more: Any) -> BankPrompt:
    """A bank prompt, by default with a unique text."""
    content = text or hashlib.sha256(name.encode()).hexdigest()
    return BankPrompt(Prompt(name, (Message("user", content),)), **more)


def mix(**shares: float) -> PromptMix:
    """A mix of these shares, and 0 of the other parts."""
    return PromptMix(**{part: shares.get(part, 0.0) for part in MIX_PARTS})


def ids(picked: Sequence[SelectedPrompt]) -> list[str]:
    return [p.prompt.prompt.id for p in picked]


def parts(picked: Sequence[SelectedPrompt]) -> Counter[str]:
    return Counter(p.part for p in picked)


def test_near_duplicates_of_earlier_prompts_are_left_out() -> None:
    """The one that was selected before has no place either."""
    bank = [one("a", LONG), one("b", LONGER), one("c")]
    earlier = [Prompt("z", (Message("user", LONG),))]
    assert ids(select_prompts(bank, 3, mix(random=1), {}, 0, earlier=earlier)) == ["c"]
    assert ids(select_prompts(bank, 3, mix(random=1), {}, 0, earlier=[bank[2].prompt])) in (["a"], ["b"])


@st.composite
def banks(draw: st.DrawFn) -> tuple[list[BankPrompt], dict[str, int]]:
    size = draw(st.integers(0, 30))
    bank = [
        one(
            f"p{n}",
            category=draw(st.sampled_from(["film", "诗", "code"])),
            value=draw(st.floats(0, 1)),
            edge=draw(st.booleans()),
        )
        for n in range(size)
    ]
    return bank, {f"p{n}": draw(st.integers(0, 4)) for n in range(0, size, 2)}


@st.composite
def mixes(draw: st.DrawFn) -> PromptMix:
    numbers = draw(st.lists(st.integers(0, 5), min_size=4, max_size=4).filter(any))
    return PromptMix(**{part: number / sum(numbers) for part, number in zip(MIX_PARTS, numbers, strict=True)})


def test_shares_are_rounded_by_largest_remainder() -> None:
    """Of 7: 2.8, 2.1, 1.4 and 0.7 are 2, 2, 1 and 0; the two left go to the remainders 0.8 and 0.7."""
    shares = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}
    assert apportion(10, shares) == {"a": 4, "b": 3, "c": 2, "d": 1}
    assert apportion(7, shares) == {"a": 3, "b": 2, "c": 1, "d": 1}
    assert apportion(100, {"a": 0.29, "b": 0.57, "c": 0.14}) == {"a": 29, "b": 57, "c": 14}
    assert apportion(3, {"a": 0.5, "b": 0.5}) == {"a": 2, "b": 1}


def test_the_default_mix_fills_its_quotas() -> None:
    bank = [one(f"p{n}", category="ab"[n % 2], value=n / 100, edge=n % 5 == 0) for n in range(100)]
    picked = select_prompts(bank, 20, PromptMix(), {}, seed=3)
    assert parts(picked) == {"high_value": 8, "under_covered": 6, "edge": 4, "random": 2}
    assert all(p.prompt.edge for p in picked if p.part == "edge")
    best = [p.prompt.value for p in picked if p.part == "high_value"]
    others = {p.prompt.prompt.id for p in picked if p.part in ("edge", "random")}
    assert best == [n / 100 for n in range(99, 0, -1) if f"p{n}" not in others][:8]
    assert ids(picked) != ids(select_prompts(bank, 20, PromptMix(), {}, seed=4))


def test_the_rest_of_a_quota_goes_to_the_other_parts() -> None:
    """One edge case for a quota of four: three are left for shares of 0.4 and 0.2, so two and one."""
    bank = [one(f"p{n}", edge=n == 0) for n in range(40)]
    picked = select_prompts(bank, 10, mix(high_value=0.4, under_covered=0.2, edge=0.4), {}, seed=0)
    assert parts(picked) == {"edge": 1, "high_value": 6, "under_covered": 3}
    only = select_prompts(bank, 5, mix(edge=1), {}, seed=0)
    assert len(only) == 5, "if all parts of the mix have run out, the rest of the bank is used"
    assert ids(only)[0] == "p0"


def test_value_is_divided_by_one_plus_the_items() -> None:
    """0.9 with two items counts 0.3, 0.8 with one 0.4, and 0.35 without items 0.35."""
    bank = [one("a", value=0.9), one("b", value=0.8), one("c", value=0.35)]
    assert ids(select_prompts(bank, 3, mix(high_value=1), {"a": 2, "b": 1}, seed=0)) == ["b", "c", "a"]


def test_categories_with_the_fewest_items_come_first_up_to_an_even_share() -> None:
    """Items 6, 1 and 0 with 5 to select: an even share is 4. So 诗 gets 2 or 3, code the rest, film nothing."""
    bank = [one(f"{c}{n}", category=c) for c in ("film", "code", "诗") for n in range(9)]
    item_counts = {"film0": 6, "code0": 1}
    picked = select_prompts(bank, 5, mix(under_covered=1), item_counts, seed=0)
    assert Counter(p.prompt.category for p in picked) == {"诗": 3, "code": 2}
    assert "code0" not in ids(picked), "within a category, prompts with the fewest items come first"
    few = [one("诗0", category="诗"), *(p for p in bank if p.category == "film")]
    rest = select_prompts(few, 3, mix(under_covered=0.5, high_value=0.5), {"film0": 6}, seed=0)
    assert parts(rest) == {"high_value": 2, "under_covered": 1}, "film is above its share"


def test_no_category_gets_more_than_an_even_share() -> None:
    """Of 6 an even share is 3: a has one prompt, b gets three; two are left for the other parts."""
    bank = [one("a0", category="a"), *(one(f"b{n}", category="b") for n in range(9))]
    assert parts(select_prompts(bank, 6, mix(under_covered=1), {}, seed=0))["under_covered"] == 4


def test_prompts_of_the_other_parts_count_as_coverage() -> None:
    bank = [one(f"a{n}", category="a", value=1.0) for n in range(9)] + [
        one(f"b{n}", category="b") for n in range(9)
    ]
    picked = select_prompts(bank, 6, mix(high_value=0.5, under_covered=0.5), {}, seed=0)
    assert Counter(p.prompt.category for p in picked) == {"a": 3, "b": 3}


def test_the_random_part_is_uniform() -> None:
    """1,000 draws of one in four: 250 each, with a standard deviation of 13.7."""
    bank = [one("a", value=1.0, edge=True), one("b", value=0.0), one("c", category="x"), one("d")]
    counts = Counter(ids(select_prompts(bank, 1, mix(random=1), {"d": 50}, seed))[0] for seed in range(1000))
    assert all(abs(counts[name] - 250) < 60 for name in "abcd")


def test_similarity_by_hand() -> None:
    """Six letters have 10 padded grams; 5 hold the last letter, so 5 of 15 are shared.

    Four Chinese characters take 8 columns and have 12 grams; 6 hold the last character, so 6 of 18 are shared.
    """
    a, b, c, d, e = prompts_of("abcdef", "abcdex", "天地玄黄", "天地玄红", "")
    assert similarity(a, b) == pytest.approx(1 / 3)
    assert similarity(c, d) == pytest.approx(1 / 3)
    assert similarity(a, c) == 0
    assert (similarity(e, e), similarity(e, c)) == (1, 0)


def test_chinese_near_duplicates_are_left_out() -> None:
    """24 characters have 52 grams; 一下 in their midst adds 4 columns: 48 shared of 60."""
    assert similarity(*prompts_of(LONG, LONGER)) == pytest.approx(0.8)
    bank = [one("a", LONG), one("b", LONGER), one("c", "法国的首都是哪里？"), one("d", "德国的首都是哪里?")]
    picked = ids(select_prompts(bank, 4, PromptMix(), {}, seed=0))
    assert len(picked) == 3
    assert {"c", "d"} < set(picked), "different questions, though seven of eight characters are the same"
    assert len(select_prompts(bank, 4, PromptMix(), {}, seed=0, near_duplicate=0.81)) == 4


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("What is the capital of France?", " what IS the\ncapital of  France? "),
        ("今天天气怎么样？", "今天天气怎么样?"),
        ("ＡＢＣ是什么", "abc是什么"),
    ],
)
def test_similarity_ignores_case_whitespace_and_width(text: str, other: str) -> None:
    assert similarity(*prompts_of(text, other)) == 1
    assert len(select_prompts([one("a", text), one("b", other)], 2, PromptMix(), {}, seed=0)) == 1


def test_a_common_long_turn_does_not_make_prompts_similar() -> None:
    system = Message("system", "You are a careful assistant. " * 40)
    how, why = Message("user", "How do tides work?"), Message("user", "Name three poets of the Tang.")
    assert similarity(Prompt("a", (system, how)), Prompt("b", (system, why))) < 0.2
    assert similarity(Prompt("a", (system, how)), Prompt("b", (system, how))) == 1
    assert similarity(Prompt("a", (system, how)), Prompt("b", (how,))) == 0


@settings(max_examples=150, deadline=None)
@given(banks(), mixes(), st.integers(0, 40), st.integers(0, 9), st.randoms(use_true_random=False))
def test_selections_have_the_right_size_and_quotas_whatever_the_order_of_the_bank(
    case: tuple[list[BankPrompt], dict[str, int]], shares: PromptMix, count: int, seed: int, order: random.Random
) -> None:
    bank, item_counts = case
    picked = select_prompts(bank, count, shares, item_counts, seed)
    assert len(picked) == min(count, len(bank))
    assert len(set(ids(picked))) == len(picked)
    assert all(p.prompt.edge for p in picked if p.part == "edge")
    shuffled = list(bank)
    order.shuffle(shuffled)
    assert select_prompts(shuffled, count, shares, item_counts, seed) == picked
    if len(bank) >= count:
        quotas, counts = apportion(count, shares.shares()), parts(picked)
        short = {part for part in MIX_PARTS if counts[part] < quotas[part]}
        assert short <= {"edge", "under_covered"}, "the other two parts can use any prompt"


@settings(max_examples=80, deadline=None)
@given(banks(), st.integers(1, 20), st.integers(1, 3))
def test_prompts_with_max_items_are_left_out(
    case: tuple[list[BankPrompt], dict[str, int]], count: int, max_items: int
) -> None:
    bank, item_counts = case
    eligible = {p.prompt.id for p in bank if item_counts.get(p.prompt.id, 0) < max_items}
    picked = ids(select_prompts(bank, count, PromptMix(), item_counts, seed=1, max_items=max_items))
    assert set(picked) <= eligible
    assert len(picked) == min(count, len(eligible))


def test_coverage_has_a_row_per_category_with_the_fewest_items_first() -> None:
    bank = [one("a", category="film"), one("b", category="film"), one("c", category="诗"), one("d")]
    assert coverage(bank, {"a": 2, "b": 1, "c": 1}) == [
        CategoryCoverage("", 1, 0, 0.0),
        CategoryCoverage("诗", 1, 1, 0.25),
        CategoryCoverage("film", 2, 3, 0.75),
    ]
    assert [row.share for row in coverage(bank, {})] == [0, 0, 0]
    assert coverage([], {}) == []


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"high_value, under_covered add up to 1\.2; make it 1"):
        validate(PromptMix, {"high_value": 0.6}, "recipe.yaml")
    with pytest.raises(ConfigError, match="edge: must be at least 0 and at most 1"):
        validate(PromptMix, {"edge": -0.2, "high_value": 0.8}, "recipe.yaml")
    assert validate(PromptMix, {"high_value": 0.3, "random": 0.2}, "recipe.yaml").shares() == {
        "random": 0.2,
        "edge": 0.2,
        "high_value": 0.3,
        "under_covered": 0.3,
    }


def test_invalid_banks_counts_and_thresholds_are_refused() -> None:
    bank = [one("a"), one("b", value=0.1)]
    with pytest.raises(DataError, match="share an id"):
        select_prompts([*bank, one("a", "another")], 1, PromptMix(), {}, seed=0)
    with pytest.raises(DataError, match="prompt 'c' has the value nan"):
        select_prompts([*bank, one("c", value=float("nan"))], 1, PromptMix(), {}, seed=0)
    with pytest.raises(DataError, match="prompt 'z' is not in the bank"):
        select_prompts(bank, 1, PromptMix(), {"z": 1}, seed=0)
    with pytest.raises(DataError, match="has -1 items"):
        coverage(bank, {"a": -1})
    with pytest.raises(DataError, match="count is -1"):
        select_prompts(bank, -1, PromptMix(), {}, seed=0)
    with pytest.raises(DataError, match="near_duplicate 0; pass"):
        select_prompts(bank, 1, PromptMix(), {}, seed=0, near_duplicate=0)
