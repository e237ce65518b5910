"""Ratings to judgements and back, and to preferences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Judgement, Message, Prompt, RatedText
from gnomon.feedback.export.preferences_from_ratings import (
    judgements_from_ratings,
    preferences_from_ratings,
    preferences_within_prompts,
    rated_texts_from_judgements,
)

PROMPTS = [Prompt(name, (Message("user", name),)) for name in ("review", "opinion")]


def ragged(count: int, seed: int = 0) -> list[RatedText]:
    rng = np.random.default_rng(seed)
    return [
        RatedText(f"t{n}", f"text {n}", tuple(map(float, rng.integers(-4, 5, rng.integers(1, 7)))))
        for n in range(count)
    ]


def test_one_judgement_for_every_rating() -> None:
    judgements = list(judgements_from_ratings([RatedText("film-reviews:3", "Tepid.", (-1.0, 0.0))]))
    assert judgements[1] == Judgement(
        id="film-reviews:3:r01",
        rater="film-reviews:3:r01",
        prompt_id="film-reviews:3",
        shown=("film-reviews:3",),
        value=(0.0,),
    )
    assert len(judgements) == 2


def test_ratings_survive_a_round_trip() -> None:
    items = ragged(30)
    texts = {item.id: item.text for item in items}
    assert rated_texts_from_judgements(judgements_from_ratings(items), texts) == items


def test_several_completions_in_one_judgement_and_a_correction() -> None:
    """Ann corrects her 1 for x to -1, which replaces the first, next to Bob's rating."""
    judgements = [
        Judgement("1", "ann", "p", ("x", "y"), (1.0, 2.0)),
        Judgement("2", "bob", "p", ("y", "x"), (3.0, 4.0)),
        Judgement("3", "ann", "p", ("x",), (-1.0,)),
    ]
    texts = {"x": "X", "y": "Y", "z": "Z"}
    assert rated_texts_from_judgements(judgements, texts) == [
        RatedText("x", "X", (-1.0, 4.0)),
        RatedText("y", "Y", (2.0, 3.0)),
    ]


def test_judgements_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="judgement 7 has 1 values for 2 completions"):
        rated_texts_from_judgements([Judgement("7", "ann", "p", ("x", "y"), (1.0,))], {"x": "", "y": ""})
    with pytest.raises(DataError, match="unknown completion 'x'"):
        rated_texts_from_judgements([Judgement("7", "ann", "p", ("x",), (1.0,))], {})


def test_probability_and_margin_by_hand() -> None:
    """a: 1, 2, 3 against b: 2, 2, 0. Of nine pairs of ratings a wins five and ties two: (5 + 2/2) / 9 = 2/3."""
    items = [RatedText("b", "B", (2.0, 2.0, 0.0)), RatedText("a", "A", (1.0, 2.0, 3.0))]
    for seed in range(4):
        [pair] = preferences_from_ratings(items, PROMPTS, group_size=2, seed=seed).preferences
        assert (pair.chosen.id, pair.chosen.text, pair.rejected.id) == ("a", "A", "b")
        assert pair.probability == pytest.approx(2 / 3)
        assert pair.margin == pytest.approx(2 - 4 / 3)
        assert pair.weight == 1.0


def test_groups_share_a_prompt_of_their_own() -> None:
    """Ten texts in groups of 4: pairs 6 + 6 + 1; prompts in turn, each under the group's own id."""
    result = preferences_from_ratings(ragged(10), PROMPTS, group_size=4, seed=0)
    ids = [pair.prompt.id for pair in result.preferences]
    assert ids == ["review#0000"] * 6 + ["opinion#0001"] * 6 + ["review#0002"]
    assert result.preferences[6].prompt.messages == PROMPTS[1].messages
    assert result.groups == 3
    assert result.left_over == 0
    # A text is in one group only.
    for group in set(ids):
        members = {
            side.id
            for pair in result.preferences
            if pair.prompt.id == group
            for side in (pair.chosen, pair.rejected)
        }
        others = {
            side.id
            for pair in result.preferences
            if pair.prompt.id != group
            for side in (pair.chosen, pair.rejected)
        }
        assert not members & others


def test_a_text_alone_is_left_over() -> None:
    result = preferences_from_ratings(ragged(9), PROMPTS, group_size=4, seed=0)
    assert (result.groups, result.left_over, len(result.preferences)) == (2, 1, 12)


def test_the_seed_determines_the_groups() -> None:
    one, same, other = (preferences_from_ratings(ragged(20), PROMPTS, group_size=4, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one != other


def test_even_pairs_become_ties() -> None:
    """1, 1, 4 and 1, 1, 4 in another order tie exactly; thirds must not turn into 0.4999."""
    items = [RatedText("a", "A", (1.0, 1.0, 4.0)), RatedText("b", "B", (4.0, 1.0, 1.0))]
    result = preferences_from_ratings(items, PROMPTS, group_size=2, seed=0)
    assert result.ties == 1
    assert result.preferences[0].probability == 0.5
    assert result.preferences[0].margin == 0.0


def test_equal_texts_are_dropped_and_counted() -> None:
    items = [RatedText("a", "Same  words", (1.0,)), RatedText("b", "same words", (3.0,))]
    result = preferences_from_ratings(items, PROMPTS, group_size=2, seed=0)
    assert (result.preferences, result.equal_texts, result.ties) == ([], 1, 0)


def test_minimum_margin_drops_close_pairs() -> None:
    """Means 0, 1 and 3: pairs with differences 1, 2 and 3."""
    items = [RatedText(str(m), str(m), (float(m),)) for m in (0, 1, 3)]
    result = preferences_from_ratings(items, PROMPTS, group_size=3, seed=0, minimum_margin=2.0)
    assert sorted(pair.margin for pair in result.preferences) == [2.0, 3.0]
    assert result.close == 1
    with_prompt = [replace(item, prompt=PROMPTS[0]) for item in items]
    within = preferences_within_prompts(with_prompt, group_size=3, seed=0, minimum_margin=2.0)
    assert (sorted(pair.margin for pair in within.preferences), within.close) == ([2.0, 3.0], 1)


def test_the_preferred_text_may_have_the_lower_mean() -> None:
    """a: 1, 1, -4 beats b: 0, 0, 0 in six of nine pairs of ratings, with a mean of -2/3 against 0."""
    items = [RatedText("a", "A", (1.0, 1.0, -4.0)), RatedText("b", "B", (0.0, 0.0, 0.0))]
    [pair] = preferences_from_ratings(items, PROMPTS, group_size=2, seed=0).preferences
    assert pair.chosen.id == "a"
    assert pair.probability == pytest.approx(2 / 3)
    assert pair.margin == pytest.approx(-2 / 3)


def test_input_that_makes_no_pairs_is_refused() -> None:
    with pytest.raises(DataError, match="at least one prompt"):
        preferences_from_ratings(ragged(4), [], group_size=2, seed=0)
    with pytest.raises(DataError, match="at least 2 texts"):
        preferences_from_ratings(ragged(4), PROMPTS, group_size=1, seed=0)
    with pytest.raises(DataError, match="text mute has no ratings"):
        preferences_from_ratings([RatedText("mute", "", ())], PROMPTS, group_size=2, seed=0)


def test_known_raters_and_prompts_keep_their_ids() -> None:
    item = RatedText("a", "A", (1.0, 2.0), PROMPTS[0], ("ann", ""))
    result = [(j.id, j.rater, j.prompt_id) for j in judgements_from_ratings([item])]
    assert result == [("a:r00", "ann", PROMPTS[0].id), ("a:r01", "a:r01", PROMPTS[0].id)]


def test_texts_are_compared_within_their_prompt_only() -> None:
    """Seven answers in groups of at most three: 3 + 2 + 2, so five pairs; a single answer makes none."""
    items = [RatedText(f"a{n}", f"A{n}", (float(n),), PROMPTS[0]) for n in range(7)]
    items.append(RatedText("b", "B", (9.0,), PROMPTS[1]))
    result = preferences_within_prompts(items, group_size=3, seed=0)
    assert (result.groups, len(result.preferences), result.left_over) == (3, 3 + 1 + 1, 1)
    assert {pair.prompt.messages for pair in result.preferences} == {PROMPTS[0].messages}
    assert {pair.prompt.id for pair in result.preferences} == {f"{PROMPTS[0].id}#{n:04d}" for n in range(3)}
    assert all(pair.margin > 0 and pair.probability == 1.0 for pair in result.preferences)
    with pytest.raises(DataError, match="text c has no prompt"):
        preferences_within_prompts([RatedText("c", "C", (1.0,))], group_size=2, seed=0)
