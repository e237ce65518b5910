"""Accuracy of rewards, baselines and one person, by hand; and laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from examined_cases import PLAIN, cases_of, examined, number_in

from gnomon.core.errors import ConfigError, RunError
from gnomon.evaluation.examination.examine import examine
from gnomon.evaluation.examination.scored import FloatArray
from gnomon.rewards.python_reward import make_function_reward
from gnomon.rewards.text_reward import TextReward
from gnomon.stats.one_person import LeftOut

# Right, right, equal, wrong: (1 + 1 + 1/2 + 0)/4. Longer is the other, the preferred, the preferred, neither.
PAIRS = (("p", "a:2", "aaa:1"), ("p", "aaaa:2", "a:1"), ("q", "bb:1", "b:1"), ("r", "c:0", "c:5"))


def test_accuracy_by_hand() -> None:
    model, longer, shorter = examined(cases_of(*PAIRS), number_in).accuracy
    assert (model.overall.value, model.overall.pairs, model.overall.equal) == (0.625, 4, 1)
    assert (longer.name, longer.overall.value, longer.overall.equal) == ("always longer", 0.625, 1)
    assert shorter.overall.value == 0.375


@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[:2], PAIRS[1:]])
def test_negated_scores_have_the_rest_of_the_accuracy(pairs: tuple[tuple[str, str, str], ...]) -> None:
    one, other, *_ = examined(cases_of(*pairs), number_in, lambda p, t: -number_in(p, t)).accuracy
    assert one.overall.value == 1 - (other.overall.value or 0)
    for low, high in ((one.overall.low, other.overall.high), (one.overall.high, other.overall.low)):
        assert (low is None and high is None) or low == pytest.approx(1 - (high or 0))


def test_only_the_order_of_scores_matters() -> None:
    one, other, *_ = examined(cases_of(*PAIRS), number_in, lambda p, t: number_in(p, t) ** 3 + 7).accuracy
    assert one.overall == other.overall


def test_categories_and_few_rows() -> None:
    pairs = [("p" + str(n), f"a:{n}", "b:3") for n in range(12)]
    result = examined(cases_of(*pairs, categories=["math"] * 10 + ["code"] * 2), number_in)
    math, code = result.accuracy[0].categories
    assert (math.name, math.accuracy.value, math.few) == ("math", 0.65, False)  # 4 to 9, and 3 half
    assert (code.accuracy.value, code.few, code.accuracy.pairs) == (1, True, 2)


def test_rows_without_a_score_are_excluded_and_named() -> None:
    """One text fails, one score is NaN: their pairs are neither right nor wrong."""

    def score(prompt: str, text: str) -> float:
        if text == "aaaa:2":
            raise ValueError("too long")
        return float("nan") if text == "c:5" else number_in(prompt, text)

    result = examined(cases_of(*PAIRS), score, number_in)
    overall = result.accuracy[0].overall
    assert (overall.value, overall.pairs, overall.excluded) == (0.75, 2, 2)
    assert [(one.where, one.reason) for one in result.models[0].failed] == [
        ("pairs.jsonl, line 2", "ValueError: too long"),
        ("pairs.jsonl, line 4", "ValueError: the score is nan"),
    ]
    assert result.models[0].scored == 6
    assert result.differences[0].pairs == 2, "compared on the pairs that both scored"


def test_a_class_whose_scores_are_not_finite() -> None:
    class Texts:
        name = "infinite"

        def score_texts(self, texts: Sequence[str]) -> FloatArray:
            return np.array([np.inf if text == "c:5" else len(text) for text in texts])

    reward = TextReward(Texts())
    result = examine(cases_of(*PAIRS), [("infinite", lambda: reward)], PLAIN)
    assert [one.reason for one in result.models[0].failed] == ["its score is not a finite number"]
    assert result.accuracy[0].overall.excluded == 1


def test_a_reward_that_fails_on_all_texts_is_an_error() -> None:
    with pytest.raises(RunError, match="'reward 0' failed on every text: it abstained"):
        examined(cases_of(*PAIRS), lambda p, t: None)


def test_differences_of_each_two_rewards() -> None:
    pairs = [(f"p{n}", "a:1", "b:0") for n in range(30)]
    result = examined(cases_of(*pairs), number_in, lambda p, t: -number_in(p, t), lambda p, t: 0)
    first = result.differences[0]
    assert [(one.model, one.against, one.value) for one in result.differences] == [
        ("reward 0", "reward 1", 1),
        ("reward 0", "reward 2", 0.5),
        ("reward 1", "reward 2", -0.5),
    ]
    assert (first.low, first.high) == (1, 1)
    assert first.p == pytest.approx(2 / 1001)


def test_one_person_and_rewards_against_the_same_others() -> None:
    """Votes 1, 1, 0: the zero's others disagree with it. Votes 1, 1, 1: all agree. Persons 3/4 of 4 votes.

    The reward is right on the first pair, which counts once, and wrong on the second, which counts three times.
    """
    cases = cases_of(("p", "a:1", "b:0"), ("q", "a:0", "b:1"), ("r", "a:1", "b:0"))
    persons = ((LeftOut(0, 1),), (LeftOut(1, 1),) * 3, ())
    cases.pairs[:] = [replace(pair, persons=some) for pair, some in zip(cases.pairs, persons, strict=True)]
    person = examined(cases, number_in).person
    assert person is not None
    assert (person.pairs, person.person.value) == (2, 0.75)
    assert person.models["reward 0"].value == 0.25
    assert examined(cases_of(*PAIRS), number_in).person is None


def test_a_name_that_is_given_twice() -> None:
    reward = make_function_reward(number_in, "reward")
    with pytest.raises(ConfigError, match="'a' is given twice"):
        examine(cases_of(*PAIRS), [("a", lambda: reward), ("a", lambda: reward)], PLAIN)
