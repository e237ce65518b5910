"""Votes bought from simulated annotators: as many as were paid for, the same by seed, and worth something."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from gnomon.core.types import Message, Prompt, RatedText
from gnomon.feedback.store.schema import AssignmentRow, ItemRow, JudgementRow
from gnomon.feedback.store.store import Store

pytestmark = pytest.mark.long
FOLDER = Path(__file__).parents[2] / "benchmarks"
PROMPT = Prompt("p", (Message("user", "写一句话"),))
TEXTS, HELD_OUT, WIDTH, PLACES = 120, 200, 6, 7


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of one name, of the folder of the replay."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return lambda name: importlib.import_module(f"replay.{name}")


def world(noise: float) -> tuple[list[RatedText], np.ndarray[Any, np.dtype[np.float64]]]:
    """Texts with random states, rated by a linear taste and noise; the first have more ratings than places."""
    rng = np.random.default_rng(5)
    states = rng.normal(size=(TEXTS + HELD_OUT, WIDTH))
    utility = states @ rng.normal(size=WIDTH)
    items = [
        RatedText(
            f"t{row}",
            f"text {row}",
            tuple(float(round(r)) for r in utility[row] + noise * rng.normal(size=PLACES + (row < 9))),
        )
        for row in range(len(states))
    ]
    return items, states


def run(script: Any, store: Path | None = None, **plan: Any) -> dict[str, Any]:
    """A replay on the first texts of the world, judged on the others; through a store if there is to be one."""
    heads, shops = script("heads"), script("shops")
    settings = script("market").Plan(**({"each": 3, "active": True, "seed": 0, "amounts": (60, 240)} | plan))
    items, states = world(noise=1.0)
    held_out = heads.HeldOut.of(items[TEXTS:], states[TEXTS:], pairs=2000)
    items, states = items[:TEXTS], states[:TEXTS]
    shop = (
        shops.PlainShop(PROMPT, items, settings.each)
        if store is None
        else shops.StoreShop(store, PROMPT, items, settings.each)
    )
    found: dict[str, Any] = script("market").replay(shop, items, states, held_out, settings)
    return found


@pytest.mark.parametrize(("each", "active"), [(1, True), (3, True), (3, False), (5, True)])
def test_the_store_holds_exactly_the_votes_that_were_bought(
    script: Any, tmp_path: Path, each: int, active: bool
) -> None:
    """And the plain twin comes to the same."""
    found = run(script, tmp_path / "f.db", each=each, active=active, amounts=(60,))
    assert [(row["votes"], row["items"]) for row in found["course"]] == [(60, 60 // each)]
    assert run(script, each=each, active=active, amounts=(60,)) == found
    store = Store(tmp_path / "f.db")
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(JudgementRow)) == 60
        assert session.scalar(select(func.count()).select_from(AssignmentRow)) == 60
        voices = (
            select(func.count(JudgementRow.annotator.distinct()), ItemRow.state)
            .join(ItemRow, ItemRow.key == JudgementRow.item)
            .group_by(ItemRow.key, ItemRow.state)
        )
        assert {tuple(row) for row in session.execute(voices)} == {(each, "done")}
        assert session.scalar(select(func.count()).select_from(ItemRow)) == 60 // each
    store.close()


@pytest.mark.parametrize("each", [1, 3, 5])
def test_chance_keeps_its_share_of_the_pairs(script: Any, each: int) -> None:
    """All before anything is known; then at least one of five."""
    asked = run(script, each=each)["asked"]
    assert sum(asked.values()) == 240 // each
    assert asked["cover"] > 0
    assert asked["random"] - 15 // each >= 0.2 * (225 // each)
    assert run(script, each=each, active=False)["asked"] == {"random": 240 // each}


@pytest.mark.parametrize("kind", ["StoreShop", "PlainShop"])
def test_a_vote_says_what_the_ratings_at_its_place_say(script: Any, tmp_path: Path, kind: str) -> None:
    ratings = {"a": (2.0, -1.0, 0.0, 3.0), "b": (1.0, 3.0, 0.0, 1.0, 4.0)}  # the fifth rater saw one text only
    items = [RatedText(name, f"text {name}", values) for name, values in ratings.items()]
    path = (tmp_path / "f.db",) if kind == "StoreShop" else ()
    shop = getattr(script("shops"), kind)(*path, PROMPT, items, 4)
    assert shop.annotators == ["place-00", "place-01", "place-02", "place-03"]
    shop.buy([("b", "a")])
    assert [shop.answer(one) for one in (*shop.annotators, "place-00")] == [True] * 4 + [False]
    (row,) = shop.bought()
    # a, b, a tie, a: two voices and a half of four.
    assert (row.chosen.text, row.rejected.id, row.probability, row.margin) == ("text a", "b", 0.625, 0.25)
    assert shop.close() == 4


def test_a_seed_gives_the_same_again_and_another_one_something_else(script: Any) -> None:
    once = run(script)
    assert run(script) == once
    assert run(script, seed=1)["course"] != once["course"]


def test_more_votes_order_texts_better_where_taste_is_linear(script: Any) -> None:
    few, many = (row["accuracy"] for row in run(script, each=1, amounts=(20, 800))["course"])
    assert few < many - 0.03
    assert many > 0.9


def test_votes_that_cannot_be_cut_into_rounds_of_whole_items_are_refused(script: Any) -> None:
    plan = script("market").Plan(each=3, active=False, seed=0, amounts=(60, 100))
    with pytest.raises(ValueError, match="40 votes are not 4 rounds of 3 an item"):
        list(plan.rounds())


def test_a_head_is_the_optimum_of_the_loss(script: Any) -> None:
    """One state, three of four voices for the first: σ(w) = 3/4 without a penalty, so w = ln 3."""
    heads = script("heads")
    pairs = heads.Pairs(np.ones((4, 1)), np.array([1.0, 1.0, 1.0, 0.0]))
    assert heads.fit(pairs, 0.0)[0] == pytest.approx(math.log(3), abs=1e-3)
    weight = heads.fit(pairs, 0.5)[0]
    assert 1 / (1 + math.exp(-weight)) - 0.75 + 0.5 * weight == pytest.approx(0, abs=heads.SLOPE)
    # −¾·ln ¾ − ¼·ln ¼, the entropy of the voices
    assert heads.loss_of(pairs, np.array([math.log(3)])) == pytest.approx(0.562335, abs=1e-6)


def test_the_penalty_is_strong_where_votes_say_nothing_and_weak_where_they_agree(script: Any) -> None:
    heads = script("heads")
    rng = np.random.default_rng(0)
    gaps = rng.normal(size=(200, 5))
    clear = heads.Pairs(gaps, (gaps[:, 0] > 0).astype(np.float64))
    noise = heads.Pairs(gaps, rng.integers(2, size=200).astype(np.float64))
    assert heads.choose_strength(clear, 0) == min(heads.STRENGTHS)
    assert heads.choose_strength(noise, 0) >= 0.3
