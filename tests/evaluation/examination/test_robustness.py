"""Robustness and sensitivity to the prompt, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from examined_cases import PLAIN, cases_of, examined

from gnomon.core.types import Message
from gnomon.evaluation.examination.measures.robustness import perturb, prompt_figures, robustness
from gnomon.evaluation.examination.results import ModelExamination, Robustness

PAIRS = (("one", "good. one", "bad. two"), ("two", "fine", "poor one"), ("three", "right three", "wrong"))
PERTURBED = PLAIN.model_copy(update={"perturbed": 10})


def model_of(*pairs: tuple[str, str, str], score: Any) -> ModelExamination:
    return examined(cases_of(*pairs), score, settings=PERTURBED).models[0]


def change(model: ModelExamination, name: str) -> Robustness:
    return next(one for one in model.robustness if one.change == name)


def test_a_reward_that_changes_do_not_touch() -> None:
    """It looks for the preferred words in any case."""
    words = ("good", "fine", "right")
    model = model_of(*PAIRS, score=lambda p, t: float(any(word in t.lower() for word in words)))
    for name in ("lower_case", "upper_case", "blanks", "markdown", "praise", "special_tokens"):
        one = change(model, name)
        if one.pairs:
            assert (one.flips, one.shift, one.overtakes) == (0, 0, 0), name
    assert (change(model, "lower_case").pairs, change(model, "lower_case").unchanged) == (0, 3)
    assert change(model, "lower_case").flips is None
    assert (change(model, "shuffled").pairs, change(model, "shuffled").unchanged) == (1, 2)


def test_praise_that_is_rewarded_by_hand() -> None:
    """Scores 1 and 0, and 2 for praise: no verdict of two praised texts flips, each praised worse one overtakes.

    The standard deviation of 1, 0, 1, 0, 1, 0 is 1/2; preferred texts gain 2, the others 2: four of them.
    """
    preferred = {pair[1] for pair in PAIRS}

    def score(prompt: str, text: str) -> float:
        plain = text.removesuffix(" This answer is excellent.")
        return float(plain in preferred) + 2.0 * (plain != text)

    one = change(model_of(*PAIRS, score=score), "praise")
    assert (one.flips, one.shift, one.overtakes, one.ordered) == (0, 4, 1, 3)


def test_flips_by_hand() -> None:
    """Upper case turns the first pair around and makes the second equal: two of three verdicts are others."""
    scores = {
        "good. one": 1,
        "GOOD. ONE": 0,
        "BAD. TWO": 1,
        "fine": 1,
        "FINE": 2,
        "POOR ONE": 2,
        "right three": 1,
    }
    one = change(model_of(*PAIRS, score=lambda p, t: float(scores.get(t, t == "RIGHT THREE"))), "upper_case")
    assert one.flips == pytest.approx(2 / 3)
    assert one.overtakes == pytest.approx(1 / 3), "2 passes 1; 1 equals 1, and 0 is below"


def test_only_a_worse_text_that_was_behind_overtakes() -> None:
    """The reward has the first pair right and the others wrong; changes make no difference to it."""
    model = model_of(*PAIRS, score=lambda p, t: float("good" in t.lower()) - float("fine" in t.lower()) - float(
        "right" in t.lower()
    ))  # fmt: skip
    one = change(model, "praise")
    assert (one.ordered, one.overtakes) == (1, 0)
    wrong = change(
        model_of(*PAIRS, score=lambda p, t: -float(t.lower()[:4] in ("good", "fine", "righ"))), "praise"
    )
    assert (wrong.ordered, wrong.overtakes) == (0, None)


def test_pairs_whose_changed_texts_have_no_score_do_not_count() -> None:
    def score(prompt: str, text: str) -> float:
        if text == "FINE":
            raise ValueError("no")
        return float(len(text))

    model = model_of(*PAIRS, score=score)
    assert change(model, "upper_case").pairs == 2
    assert (model.failed, model.failed_changed, model.scored) == ([], 1, 6)


def test_the_own_prompt_by_hand() -> None:
    """Of one, two and three, two preferred texts name their prompt, and none names another's."""
    model = model_of(*PAIRS, score=lambda p, t: float(p in t))
    assert model.prompts is not None
    own = model.prompts.own
    assert own.value == pytest.approx(2 / 3)
    assert (own.pairs, own.equal, own.excluded) == (3, 1, 0)
    ignorant = model_of(*PAIRS, score=lambda p, t: float(len(t))).prompts
    assert ignorant is not None
    assert (ignorant.own.value, ignorant.own.equal) == (0, 3)


def test_each_text_is_put_under_another_prompt() -> None:
    cases = cases_of(*[(f"p{n % 7}", f"a{n}", f"b{n}") for n in range(20)])
    perturbed = perturb(cases, 20, 0)
    own = [cases.texts.prompts[pair.first].id for pair in perturbed.pairs]
    other = [cases.texts.prompts[index].id for index in perturbed.elsewhere]
    assert all(one != two for one, two in zip(own, other, strict=True))
    assert {*other} == {*own}
    words = [cases.texts.completions[index].text for index in perturbed.elsewhere]
    assert words == [f"a{n}" for n in range(20)]


def test_without_other_prompts_or_pairs() -> None:
    one = cases_of(("p", "a", "b"), ("p", "c", "d"))
    assert perturb(one, 10, 0).elsewhere == []
    assert prompt_figures(perturb(one, 10, 0), np.zeros(100), 0, 100) is None
    assert robustness(perturb(one, 0, 0), np.zeros(100), 0, 100) == []
    assert examined(one, lambda p, t: float(len(t))).models[0].robustness == []


def test_answers_of_several_turns_are_not_changed() -> None:
    cases = cases_of(*PAIRS)
    first = cases.texts.completions[cases.pairs[0].first]
    turns = (Message("assistant", "good."), Message("user", "and?"), Message("assistant", "one"))
    cases.texts.completions[cases.pairs[0].first] = type(first)(first.id, first.text, turns=turns)
    assert len(perturb(cases, 10, 0).pairs) == 2


def test_pairs_are_evenly_spaced() -> None:
    cases = cases_of(*[(f"p{n}", f"a{n}", f"b{n}") for n in range(10)])
    assert [pair.clusters[0] for pair in perturb(cases, 5, 0).pairs] == [0, 2, 4, 6, 8]
