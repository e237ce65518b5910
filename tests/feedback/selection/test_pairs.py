"""Choice of pairs and sets to rank: all pairs of few completions, else random, covering and uncertain pairs."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.types import Completion
from gnomon.feedback.selection.pairs import ComparisonPair, pairs, rankings, uncertainty

LN3 = math.log(3)  # σ(ln 3) = 3/4


def completions_of(*sources: str) -> list[Completion]:
    """Completions a0, a1, … of these sources."""
    return [Completion(f"a{n}", f"第{n}个回答", source) for n, source in enumerate(sources)]


def uncertainty_of(size: int, **values: float) -> NDArray[np.float64]:
    """Uncertainty of 0.01 for every pair except these, as in `a0a3=0.2`."""
    matrix = np.full((size, size), 0.01)
    for name, value in values.items():
        a, b = int(name[1]), int(name[3])
        matrix[a, b] = matrix[b, a] = value
    return matrix


def ids(chosen: Sequence[ComparisonPair], why: str) -> list[str]:
    return ["".join(pair.ids) for pair in chosen if pair.why == why]


def test_uncertainty_of_an_ensemble_is_the_variance_over_its_members() -> None:
    """For a0 and a1 one member gives 3/4, the other 1/4: variance 1/16. For a0 and a2 both give 3/4: 0."""
    result = uncertainty([[LN3, 0.0, 0.0], [0.0, LN3, -LN3]])
    assert result[0, 1] == pytest.approx(1 / 16)
    assert result[0, 2] == pytest.approx(0)
    assert result[1, 2] == pytest.approx(((0.5 - 0.9) / 2) ** 2), "σ(2·ln 3) = 9/10"
    assert np.array_equal(result.diagonal(), np.zeros(3))
    assert np.allclose(result, result.T)


def test_uncertainty_of_a_single_model_is_largest_at_one_half() -> None:
    """p(1 − p): 3/16 at 3/4, 1/4 at 1/2; the scores may be a vector or a matrix of one row."""
    result = uncertainty([LN3, 0.0, 0.0])
    assert result[0, 1] == pytest.approx(3 / 16)
    assert result[1, 2] == pytest.approx(1 / 4)
    assert np.array_equal(result, uncertainty([[LN3, 0.0, 0.0]]))
    assert np.isfinite(uncertainty([1e6, -1e6])).all()


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 0), (2, 1), (3, 3)])
def test_all_pairs_of_few_completions_are_compared(size: int, expected: int) -> None:
    chosen = pairs(completions_of(*"abc"[:size]), 1, None, {}, seed=0)
    assert len(chosen) == expected
    assert all((pair.why, pair.probability) == ("all", 1.0) for pair in chosen)


def test_all_pairs_are_compared_if_the_count_allows_it() -> None:
    assert len(ids(pairs(completions_of(*"aabb"), 6, None, {}, seed=0), "all")) == 6
    assert ids(pairs(completions_of(*"aabb"), 5, None, {}, seed=0), "all") == []


def test_random_pairs_are_drawn_uniformly_with_their_probability() -> None:
    """Of 10 pairs 2 are drawn, each with probability 1/5. 2,000 draws: 400 ± 18."""
    completions, matrix, random_counts = completions_of(*"aabbc"), uncertainty_of(5, a0a1=0.25), Counter[str]()
    for seed in range(2000):
        chosen = pairs(completions, 6, matrix, {frozenset(("a0", "a2")): 9}, seed)
        assert [pair.probability for pair in chosen] == [0.2, 0.2, None, None, None, None]
        random_counts.update(ids(chosen, "random"))
    assert len(random_counts) == 10
    assert all(abs(times - 400) < 90 for times in random_counts.values())


def test_estimates_from_the_random_pairs_are_unbiased_and_from_all_pairs_they_are_not() -> None:
    """A quantity that is 1 for a0a1, where the model is uncertain, and 0 elsewhere; its sum is 1."""
    completions, matrix = completions_of(*"aaaaa"), uncertainty_of(5, a0a1=0.25)
    draws = [pairs(completions, 5, matrix, {}, seed) for seed in range(3000)]
    weighted = [sum(1 / p.probability for p in draw if p.ids == ("a0", "a1") and p.probability) for draw in draws]
    naive = [10 * np.mean([p.ids == ("a0", "a1") for p in draw]) for draw in draws]
    assert np.mean(weighted) == pytest.approx(1, abs=0.25), "standard error 0.055"
    assert np.mean(naive) > 1.9


def test_different_prompts_draw_different_pairs_with_one_seed() -> None:
    draws = set()
    for prompt in range(30):
        completions = [Completion(f"p{prompt}-{n}", "", "m") for n in range(6)]
        chosen = pairs(completions, 5, None, {}, seed=7)
        draws.add(tuple(name[-1] for name in chosen[0].ids))
    assert len(draws) > 8, "of 15 pairs"


def test_uncertainty_is_divided_by_one_plus_the_items() -> None:
    """0.2 with one item counts 0.1, less than 0.15 without items."""
    completions, matrix = completions_of(*"aaaa"), uncertainty_of(4, a0a1=0.25, a0a2=0.2, a0a3=0.15)
    assert ids(pairs(completions, 4, matrix, {}, 0, random_share=0), "cover") == ["a0a1", "a2a3"]
    assert ids(pairs(completions, 4, matrix, {}, 0, random_share=0), "uncertain") == ["a0a2", "a0a3"]
    seen = {frozenset(("a2", "a0")): 1}
    assert ids(pairs(completions, 4, matrix, seen, 0, random_share=0), "uncertain") == ["a0a3", "a0a2"]
    assert ids(pairs(completions, 4, matrix, seen, 0, random_share=0), "random") == []


def test_covering_prefers_different_sources_to_uncertain_pairs() -> None:
    """The most uncertain pairs are of one source; the cover is of different sources, and then they come."""
    completions, matrix = completions_of(*"xxyy"), uncertainty_of(4, a0a1=0.25, a2a3=0.24, a0a3=0.1)
    chosen = pairs(completions, 4, matrix, {}, 0, random_share=0)
    assert ids(chosen, "cover") == ["a0a3", "a1a2"]
    assert ids(chosen, "uncertain") == ["a0a1", "a2a3"]


def test_the_cover_starts_with_the_source_with_most_completions() -> None:
    """If b and c were paired, the most uncertain pair, two completions of source a would be left."""
    chosen = pairs(completions_of("a", "a", "b", "c"), 2, uncertainty_of(4, a2a3=0.25), {}, 0, random_share=0)
    assert sorted(ids(chosen, "cover")) in (["a0a2", "a1a3"], ["a0a3", "a1a2"])


def test_without_uncertainty_the_least_compared_pairs_come_first() -> None:
    seen = {frozenset(two): 2 for two in combinations(("a0", "a1", "a2", "a3"), 2)} | {frozenset(("a1", "a3")): 0}
    chosen = pairs(completions_of(*"aaaa"), 3, None, seen, 0, random_share=0)
    assert ids(chosen, "cover")[0] == "a1a3"


cases = st.tuples(
    st.lists(st.sampled_from(["基线", "sft", "ppo"]), min_size=4, max_size=9),
    st.integers(1, 20),
    st.floats(0, 1),
    st.integers(0, 99),
)


@settings(max_examples=200, deadline=None)
@given(cases, st.randoms(use_true_random=False))
def test_pairs_have_the_right_count_random_share_and_cover_whatever_the_order(
    case: tuple[list[str], int, float, int], order: random.Random
) -> None:
    sources, count, random_share, seed = case
    completions, size = completions_of(*sources), len(sources)
    scores = np.random.default_rng(seed).normal(size=(4, size))
    chosen = pairs(completions, count, uncertainty(scores), {}, seed, random_share)
    total = math.comb(size, 2)
    assert len(chosen) == min(count, total)
    assert len({frozenset(pair.ids) for pair in chosen}) == len(chosen)
    assert all(len(set(pair.ids)) == 2 for pair in chosen)
    indices = list(range(size))
    order.shuffle(indices)
    reordered = [completions[n] for n in indices]
    assert pairs(reordered, count, uncertainty(scores[:, indices]), {}, seed, random_share) == chosen
    if count >= total:
        return
    random_ids = ids(chosen, "random")
    assert random_share * count - 1e-6 <= len(random_ids) < random_share * count + 1
    covered = {name for pair in chosen for name in pair.ids}
    bare = size - len({name for pair in chosen if pair.why == "random" for name in pair.ids})
    left = count - len(random_ids)
    assert len(covered) == size - max(0, bare - 2 * left), "every further pair covers two more completions"
    assert len(ids(chosen, "cover")) == min(left, math.ceil(bare / 2))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=4, max_size=10), st.integers(0, 9))
def test_a_cover_has_as_many_pairs_of_different_sources_as_possible(sources: list[str], seed: int) -> None:
    """There are N/2 pairs, and each needs a completion that is not of the most frequent source."""
    completions = completions_of(*sources)
    of = {one.id: one.source for one in completions}
    chosen = pairs(completions, len(sources) // 2, None, {}, seed, random_share=0)
    crossing = sum(of[pair.ids[0]] != of[pair.ids[1]] for pair in chosen)
    assert crossing == min(len(sources) // 2, len(sources) - max(Counter(sources).values()))


def spread(sets: Sequence[tuple[str, ...]], names: Sequence[str], size: int) -> tuple[int, int]:
    """Smallest and largest number of occurrences of the subsets of that size."""
    times = Counter(two for one in sets for two in combinations(sorted(one), size))
    counts = [times[two] for two in combinations(sorted(names), size)]
    return min(counts), max(counts)


def test_rankings_of_two_contain_every_pair_once() -> None:
    """Four completions have six pairs."""
    sets = rankings(completions_of(*"aabb"), 2, seed=0)
    assert sorted(sets) == sorted(combinations(("a0", "a1", "a2", "a3"), 2))


@pytest.mark.parametrize(("size", "k", "sets"), [(9, 3, 12), (8, 4, 5), (7, 3, 7), (10, 4, 8)])
def test_the_default_number_of_rankings_is_enough_for_all_pairs(size: int, k: int, sets: int) -> None:
    """12 sets of 3 pairs make 36, the pairs of nine; 5 of 6 at least the 28 of eight; 7 of 3 the 21 of seven."""
    for seed in range(5):
        result = rankings(completions_of(*"x" * size), k, seed)
        names = [f"a{n}" for n in range(size)]
        assert len(result) == sets
        low, high = spread(result, names, 2)
        assert high <= 3
        pairs_met = len({two for one in result for two in combinations(one, 2)})
        assert pairs_met >= 0.75 * math.comb(size, 2)
        low, high = spread(rankings(completions_of(*"x" * size), k, seed, count=3 * size), names, 2)
        assert high - low <= 2


@pytest.mark.parametrize(("size", "k"), [(6, 3), (10, 3), (11, 4)])
def test_completions_are_ranked_equally_often_up_to_one(size: int, k: int) -> None:
    """Also if the sets do not use all completions equally; balancing pairs before completions would fail here."""
    for count in range(1, 14):
        for seed in range(2):
            result = rankings(completions_of(*"x" * size), k, seed, count)
            low, high = spread(result, [f"a{n}" for n in range(size)], 1)
            assert high - low == (0 if count * k % size == 0 else 1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 9), st.integers(2, 6), st.integers(0, 9), st.integers(1, 12), st.randoms(use_true_random=False)
)
def test_rankings_are_balanced_sets_of_k_whatever_the_order(
    size: int, k: int, seed: int, count: int, order: random.Random
) -> None:
    completions = completions_of(*"x" * size)
    result = rankings(completions, k, seed, count)
    shuffled = list(completions)
    order.shuffle(shuffled)
    assert rankings(shuffled, k, seed, count) == result
    if size <= k:
        assert result == ([tuple(one.id for one in completions)] if size > 1 else [])
        return
    assert len(result) == count
    assert all(len(set(one)) == k for one in result)
    low, high = spread(result, [one.id for one in completions], 1)
    assert high - low <= 1


def test_invalid_completions_counts_and_scores_are_refused() -> None:
    completions = completions_of(*"abcd")
    with pytest.raises(DataError, match="share an id"):
        pairs([*completions, completions[0]], 2, None, {}, seed=0)
    with pytest.raises(DataError, match="share an id"):
        rankings([*completions, completions[0]], 2, seed=0)
    with pytest.raises(DataError, match="count is 0"):
        pairs(completions, 0, None, {}, seed=0)
    with pytest.raises(DataError, match=r"random_share 1\.1; pass"):
        pairs(completions, 2, None, {}, seed=0, random_share=1.1)
    with pytest.raises(DataError, match=r"uncertainty of 4 completions is \[3, 3\]"):
        pairs(completions, 2, uncertainty_of(3), {}, seed=0)
    with pytest.raises(DataError, match="a ranking has 1 completions"):
        rankings(completions, 1, seed=0)
    with pytest.raises(DataError, match="scores must be finite"):
        uncertainty([[0.0, float("nan")]])
    with pytest.raises(DataError, match=r"not \[1, 2, 1\]"):
        uncertainty(np.zeros((1, 2, 1)))
