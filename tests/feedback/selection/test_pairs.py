"""Which answers are compared: all of few, else a random floor, every answer once, then the uncertain ones."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.types import Completion
from gnomon.feedback.selection.pairs import ComparisonPair, pairs, rankings, uncertainty

LN3 = math.log(3)  # σ(ln 3) = 3/4


def answers_of(*sources: str) -> list[Completion]:
    """Answers a0, a1, …, of these sources."""
    return [Completion(f"a{n}", f"第{n}个回答", source) for n, source in enumerate(sources)]


def certain_but(size: int, **doubts: float) -> NDArray[np.float64]:
    """Uncertainty 0.01 of every pair but those named, as in `a0a3=0.2`."""
    found = np.full((size, size), 0.01)
    for name, doubt in doubts.items():
        a, b = int(name[1]), int(name[3])
        found[a, b] = found[b, a] = doubt
    return found


def ids(chosen: Sequence[ComparisonPair], why: str) -> list[str]:
    return ["".join(pair.ids) for pair in chosen if pair.why == why]


def test_an_ensemble_is_uncertain_where_its_members_disagree() -> None:
    """Of a0 and a1 one member says 3/4, the other 1/4: variance 1/16. Of a0 and a2 both say 3/4: 0."""
    found = uncertainty([[LN3, 0.0, 0.0], [0.0, LN3, -LN3]])
    assert found[0, 1] == pytest.approx(1 / 16)
    assert found[0, 2] == pytest.approx(0)
    assert found[1, 2] == pytest.approx(((0.5 - 0.9) / 2) ** 2), "σ(2·ln 3) = 9/10"
    assert np.array_equal(found.diagonal(), np.zeros(3))
    assert np.allclose(found, found.T)


def test_a_single_model_is_uncertain_where_it_says_one_half() -> None:
    """p(1 − p): 3/16 at 3/4, 1/4 at 1/2; it does not matter whether the scores are a row or a matrix."""
    found = uncertainty([LN3, 0.0, 0.0])
    assert found[0, 1] == pytest.approx(3 / 16)
    assert found[1, 2] == pytest.approx(1 / 4)
    assert np.array_equal(found, uncertainty([[LN3, 0.0, 0.0]]))
    assert np.isfinite(uncertainty([1e6, -1e6])).all()


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 0), (2, 1), (3, 3)])
def test_all_pairs_of_few_answers(size: int, expected: int) -> None:
    chosen = pairs(answers_of(*"abc"[:size]), 1, None, {}, seed=0)
    assert len(chosen) == expected
    assert all((pair.why, pair.probability) == ("all", 1.0) for pair in chosen)


def test_all_pairs_where_as_many_are_wanted() -> None:
    assert len(ids(pairs(answers_of(*"aabb"), 6, None, {}, seed=0), "all")) == 6
    assert ids(pairs(answers_of(*"aabb"), 5, None, {}, seed=0), "all") == []


def test_the_random_pairs_are_drawn_uniformly_and_say_how_probably() -> None:
    """Of 10 pairs 2 are drawn: each with probability 1/5, whatever else is known. 2,000 draws: 400 ± 18."""
    answers, doubt, drawn = answers_of(*"aabbc"), certain_but(5, a0a1=0.25), Counter[str]()
    for seed in range(2000):
        chosen = pairs(answers, 6, doubt, {frozenset(("a0", "a2")): 9}, seed)
        assert [pair.probability for pair in chosen] == [0.2, 0.2, None, None, None, None]
        drawn.update(ids(chosen, "random"))
    assert len(drawn) == 10
    assert all(abs(times - 400) < 90 for times in drawn.values())


def test_an_estimate_from_the_random_pairs_is_unbiased_and_from_all_it_is_not() -> None:
    """A quantity that is 1 for a0a1, where the model is uncertain, and 0 else: its sum over all pairs is 1."""
    answers, doubt = answers_of(*"aaaaa"), certain_but(5, a0a1=0.25)
    draws = [pairs(answers, 5, doubt, {}, seed) for seed in range(3000)]
    weighed = [sum(1 / p.probability for p in made if p.ids == ("a0", "a1") and p.probability) for made in draws]
    naive = [10 * np.mean([p.ids == ("a0", "a1") for p in made]) for made in draws]
    assert np.mean(weighed) == pytest.approx(1, abs=0.25), "standard error 0.055"
    assert np.mean(naive) > 1.9


def test_prompts_with_one_seed_draw_differently() -> None:
    draws = set()
    for prompt in range(30):
        answers = [Completion(f"p{prompt}-{n}", "", "m") for n in range(6)]
        chosen = pairs(answers, 5, None, {}, seed=7)
        draws.add(tuple(name[-1] for name in chosen[0].ids))
    assert len(draws) > 8, "of 15 places"


def test_uncertain_pairs_come_first_and_less_so_when_they_were_compared() -> None:
    """0.2 compared once is worth 0.1, less than 0.15 that nobody saw."""
    answers, doubt = answers_of(*"aaaa"), certain_but(4, a0a1=0.25, a0a2=0.2, a0a3=0.15)
    assert ids(pairs(answers, 4, doubt, {}, 0, floor=0), "cover") == ["a0a1", "a2a3"]
    assert ids(pairs(answers, 4, doubt, {}, 0, floor=0), "uncertain") == ["a0a2", "a0a3"]
    seen = {frozenset(("a2", "a0")): 1}
    assert ids(pairs(answers, 4, doubt, seen, 0, floor=0), "uncertain") == ["a0a3", "a0a2"]
    assert ids(pairs(answers, 4, doubt, seen, 0, floor=0), "random") == []


def test_covering_prefers_different_sources_to_uncertain_pairs() -> None:
    """The most uncertain pairs are of one source; the cover crosses sources all the same, then they come."""
    answers, doubt = answers_of(*"xxyy"), certain_but(4, a0a1=0.25, a2a3=0.24, a0a3=0.1)
    chosen = pairs(answers, 4, doubt, {}, 0, floor=0)
    assert ids(chosen, "cover") == ["a0a3", "a1a2"]
    assert ids(chosen, "uncertain") == ["a0a1", "a2a3"]


def test_the_source_with_most_answers_goes_first() -> None:
    """Were b and c paired, which the model doubts most, two of source a would be left for each other."""
    chosen = pairs(answers_of("a", "a", "b", "c"), 2, certain_but(4, a2a3=0.25), {}, 0, floor=0)
    assert sorted(ids(chosen, "cover")) in (["a0a2", "a1a3"], ["a0a3", "a1a2"])


def test_without_a_reward_model_what_was_seen_least_comes_first() -> None:
    seen = {frozenset(two): 2 for two in combinations(("a0", "a1", "a2", "a3"), 2)} | {frozenset(("a1", "a3")): 0}
    chosen = pairs(answers_of(*"aaaa"), 3, None, seen, 0, floor=0)
    assert ids(chosen, "cover")[0] == "a1a3"


cases = st.tuples(
    st.lists(st.sampled_from(["基线", "sft", "ppo"]), min_size=4, max_size=9),
    st.integers(1, 20),
    st.floats(0, 1),
    st.integers(0, 99),
)


@settings(max_examples=200, deadline=None)
@given(cases, st.randoms(use_true_random=False))
def test_laws(case: tuple[list[str], int, float, int], order: random.Random) -> None:
    """As many as wanted, none twice, the floor kept, answers covered, the same whatever the answers' order."""
    sources, count, floor, seed = case
    answers, size = answers_of(*sources), len(sources)
    scores = np.random.default_rng(seed).normal(size=(4, size))
    chosen = pairs(answers, count, uncertainty(scores), {}, seed, floor)
    total = math.comb(size, 2)
    assert len(chosen) == min(count, total)
    assert len({frozenset(pair.ids) for pair in chosen}) == len(chosen)
    assert all(len(set(pair.ids)) == 2 for pair in chosen)
    places = list(range(size))
    order.shuffle(places)
    shuffled = pairs([answers[p] for p in places], count, uncertainty(scores[:, places]), {}, seed, floor)
    assert shuffled == chosen
    if count >= total:
        return
    drawn = ids(chosen, "random")
    assert floor * count - 1e-6 <= len(drawn) < floor * count + 1
    covered = {name for pair in chosen for name in pair.ids}
    bare = size - len({name for pair in chosen if pair.why == "random" for name in pair.ids})
    left = count - len(drawn)
    assert len(covered) == size - max(0, bare - 2 * left), "two more answers with every pair that is left"
    assert len(ids(chosen, "cover")) == min(left, math.ceil(bare / 2))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=4, max_size=10), st.integers(0, 9))
def test_a_cover_crosses_sources_as_often_as_can_be(sources: list[str], seed: int) -> None:
    """At most half the answers make pairs, and each pair needs one that is not of the commonest source."""
    answers = answers_of(*sources)
    of = {one.id: one.source for one in answers}
    chosen = pairs(answers, len(sources) // 2, None, {}, seed, floor=0)
    crossing = sum(of[pair.ids[0]] != of[pair.ids[1]] for pair in chosen)
    assert crossing == min(len(sources) // 2, len(sources) - max(Counter(sources).values()))


def spread(sets: Sequence[tuple[str, ...]], names: Sequence[str], size: int) -> tuple[int, int]:
    """How often the rarest and the commonest of all sub-sets of that size come up."""
    times = Counter(two for one in sets for two in combinations(sorted(one), size))
    counts = [times[two] for two in combinations(sorted(names), size)]
    return min(counts), max(counts)


def test_rankings_by_twos_are_a_tournament() -> None:
    """Four answers two by two: all six pairs once each."""
    sets = rankings(answers_of(*"aabb"), 2, seed=0)
    assert sorted(sets) == sorted(combinations(("a0", "a1", "a2", "a3"), 2))


@pytest.mark.parametrize(("size", "k", "sets"), [(9, 3, 12), (8, 4, 5), (7, 3, 7), (10, 4, 8)])
def test_rankings_hold_as_many_pairs_as_there_are(size: int, k: int, sets: int) -> None:
    """12 sets of 3 pairs hold the 36 pairs of nine; 5 of 6 the 28 of eight; 7 of 3 the 21 of seven."""
    for seed in range(5):
        found = rankings(answers_of(*"x" * size), k, seed)
        names = [f"a{n}" for n in range(size)]
        assert len(found) == sets
        low, high = spread(found, names, 2)
        assert high <= 3
        pairs_met = len({two for one in found for two in combinations(one, 2)})
        assert pairs_met >= 0.75 * math.comb(size, 2)
        low, high = spread(rankings(answers_of(*"x" * size), k, seed, count=3 * size), names, 2)
        assert high - low <= 2


@pytest.mark.parametrize(("size", "k"), [(6, 3), (10, 3), (11, 4)])
def test_no_answer_is_ranked_more_than_once_more_than_another(size: int, k: int) -> None:
    """Also after sets that do not use all answers up; evening out pairs before answers would fail here."""
    for count in range(1, 14):
        for seed in range(2):
            found = rankings(answers_of(*"x" * size), k, seed, count)
            low, high = spread(found, [f"a{n}" for n in range(size)], 1)
            assert high - low == (0 if count * k % size == 0 else 1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 9), st.integers(2, 6), st.integers(0, 9), st.integers(1, 12), st.randoms(use_true_random=False)
)
def test_laws_of_rankings(size: int, k: int, seed: int, count: int, order: random.Random) -> None:
    """Sets of K different answers, each answer as often as another but for one, whatever the answers' order."""
    answers = answers_of(*"x" * size)
    found = rankings(answers, k, seed, count)
    shuffled = list(answers)
    order.shuffle(shuffled)
    assert rankings(shuffled, k, seed, count) == found
    if size <= k:
        assert found == ([tuple(one.id for one in answers)] if size > 1 else [])
        return
    assert len(found) == count
    assert all(len(set(one)) == k for one in found)
    low, high = spread(found, [one.id for one in answers], 1)
    assert high - low <= 1


def test_bad_input_is_refused() -> None:
    answers = answers_of(*"abcd")
    with pytest.raises(DataError, match="share an id"):
        pairs([*answers, answers[0]], 2, None, {}, seed=0)
    with pytest.raises(DataError, match="share an id"):
        rankings([*answers, answers[0]], 2, seed=0)
    with pytest.raises(DataError, match="count of at least 1"):
        pairs(answers, 0, None, {}, seed=0)
    with pytest.raises(DataError, match="floor in"):
        pairs(answers, 2, None, {}, seed=0, floor=1.1)
    with pytest.raises(DataError, match=r"uncertainty of 4 answers is \[3, 3\]"):
        pairs(answers, 2, certain_but(3), {}, seed=0)
    with pytest.raises(DataError, match="sets of at least 2"):
        rankings(answers, 1, seed=0)
    with pytest.raises(DataError, match="scores must be finite"):
        uncertainty([[0.0, float("nan")]])
    with pytest.raises(DataError, match=r"not \[1, 2, 1\]"):
        uncertainty(np.zeros((1, 2, 1)))
