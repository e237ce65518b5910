"""Simulated annotators: their errors and biases have the configured size."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import pytest

from gnomon.core.errors import ConfigError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.feedback.annotators.simulated import (
    BEHAVIORS,
    SimulatedAnnotator,
    SimulatedBehavior,
    parse_behavior,
    random_utility,
)
from gnomon.feedback.task_types import Setup, check_answer
from gnomon.feedback.tasks.queue import AnnotationTask
from gnomon.stats.bradley_terry import choice_probabilities

N = 3000


def near(observed: float, expected: float, n: int = N) -> bool:
    return abs(observed - expected) <= 4 * math.sqrt(max(expected * (1 - expected), 1e-6) / n)


def task(number: int, texts: tuple[str, ...], kind: str = "pair") -> AnnotationTask:
    """An item whose completions `a`, `b`, … have different ids in each item."""
    shown = tuple(Completion(f"{'abcdefghi'[index]}{number}", text) for index, text in enumerate(texts))
    return AnnotationTask(number, "p", kind, Prompt(f"p{number}", (Message("user", "Which?"),)), shown, 0.0)


def choices(
    behavior: SimulatedBehavior, texts: tuple[str, str] = ("same", "size"), a: float = 0.0, b: float = 0.0
) -> list[str]:
    rater = SimulatedAnnotator(behavior, lambda _, one: {"a": a, "b": b}[one.id[0]])
    result = []
    for number in range(N):
        answer = rater.judge(task(number, texts), Setup(), number).answer
        assert answer is not None
        result.append(check_answer("pair", Setup(), 2, answer)["choice"])
    return result


def share(answers: list[str], choice: str) -> float:
    return answers.count(choice) / len(answers)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_davidson_by_hand() -> None:
    """Equal utilities and a tie's weight of 2: exp(0), exp(0), 2. A difference of ln 9 without ties: 9 to 1."""
    assert choice_probabilities(0.0, 2.0) == {"first": 0.25, "second": 0.25, "tie": 0.5}
    probabilities = choice_probabilities(math.log(9))
    assert probabilities == pytest.approx({"first": 0.9, "second": 0.1, "tie": 0.0})
    # A tie's chance is its weight times the geometric mean of the others' (Davidson's equation 2.3).
    probabilities = choice_probabilities(1.3, 0.7)
    assert probabilities["tie"] == pytest.approx(
        0.7 * math.sqrt(probabilities["first"] * probabilities["second"])
    )
    assert choice_probabilities(5000.0, 1.0)["first"] == 1.0


def test_choices_follow_bradley_terry() -> None:
    assert near(share(choices(SimulatedBehavior(sharpness=2.0), a=0.6, b=0.1), "first"), sigmoid(1.0))
    assert near(share(choices(SimulatedBehavior(sharpness=0.0), a=9.0), "first"), 0.5)
    assert share(choices(SimulatedBehavior(sharpness=500.0), a=0.2), "first") == 1.0


def test_biases_are_in_logits() -> None:
    assert near(share(choices(SimulatedBehavior(position=1.0)), "first"), sigmoid(1.0))
    # Eight characters against two are two doublings.
    assert near(share(choices(SimulatedBehavior(length=0.5), ("12345678", "12")), "first"), sigmoid(1.0))
    assert near(share(choices(SimulatedBehavior(ties=2.0)), "tie"), 0.5)


def test_spam_and_always_first() -> None:
    assert near(share(choices(BEHAVIORS["spammer"], a=9.0), "first"), 0.5)
    assert share(choices(BEHAVIORS["always-first"], b=9.0), "first") == 1.0
    half = choices(SimulatedBehavior(sharpness=500.0, spam=0.3, first=0.2), b=1.0)
    assert near(share(half, "first"), 0.3 / 2 + 0.2)


def test_a_tired_annotator_judges_at_random() -> None:
    answers = choices(SimulatedBehavior(sharpness=500.0, tires_after=1000), a=1.0)
    assert share(answers[:1000], "first") == 1.0
    assert near(share(answers[1000:], "first"), 0.5, 2000)


@pytest.mark.parametrize(("number", "sure"), [(4, True), (5, False)])
def test_tires_after_counts_judgements(number: int, sure: bool) -> None:
    rater = SimulatedAnnotator(
        SimulatedBehavior(sharpness=500.0, tires_after=5), lambda _, one: float(one.id[0] == "a")
    )
    judged = [rater.judge(task(n, ("x", "y")), Setup(), number).answer for n in range(200)]
    assert (judged == [{"choice": "first"}] * 200) == sure


def test_skips_are_a_share_of_items() -> None:
    rater = SimulatedAnnotator(SimulatedBehavior(skips=0.25))
    back = [rater.judge(task(n, ("a", "b")), Setup(), n).answer is None for n in range(N)]
    assert near(sum(back) / N, 0.25)


def test_judgements_depend_on_the_seed() -> None:
    def answers(seed: int, backwards: bool = False) -> list[dict[str, Any] | None]:
        rater = SimulatedAnnotator(SimulatedBehavior(), lambda _, one: 0.0, seed=seed)
        numbers = list(range(200))[:: -1 if backwards else 1]
        judged = [rater.judge(task(n, ("x", "y")), Setup(), 0).answer for n in numbers]
        return judged[:: -1 if backwards else 1]

    assert answers(0) == answers(0) == answers(0, backwards=True)
    same = sum(one == other for one, other in zip(answers(0), answers(1), strict=True))
    assert near(same / 200, 0.5, 200)


def test_rankings_follow_plackett_luce() -> None:
    """Utilities ln 3, ln 2, ln 1 at sharpness 1: the order a, b, c has the probability 3/6 · 2/3 = 1/3."""
    weights = {"a": 3.0, "b": 2.0, "c": 1.0}
    rater = SimulatedAnnotator(SimulatedBehavior(sharpness=1.0), lambda _, one: math.log(weights[one.id[0]]))
    result: dict[tuple[int, ...], int] = dict.fromkeys(permutations(range(3)), 0)
    for number in range(N):
        answer = rater.judge(task(number, ("x", "y", "z"), "ranking"), Setup(), number).answer
        assert answer is not None
        result[tuple(check_answer("ranking", Setup(), 3, answer)["order"])] += 1
    values = list(weights.values())
    for order, times in result.items():
        first, second, third = (values[index] for index in order)
        assert near(times / N, first / 6 * second / (second + third)), order


@pytest.mark.parametrize(("kind", "top"), [("rating", 10), ("likert", 5)])
def test_scores_use_the_whole_scale(kind: str, top: int) -> None:
    """Over texts with utilities from N(0, 1), all numbers are equally common; better texts have higher ones."""
    rater, setup = SimulatedAnnotator(SimulatedBehavior(sharpness=3.0)), Setup()
    counts, pairs = [0] * top, []
    for number in range(N):
        one = task(number, (f"text {number}",), kind)
        answer = rater.judge(one, setup, number).answer
        assert answer is not None
        scores = check_answer(kind, setup, 1, answer)["scores"][0]
        counts[scores[setup.criteria_of(kind)[0]] - 1] += 1
        pairs.append((random_utility(one.prompt, one.completions[0]), scores[setup.criteria_of(kind)[0]]))
    assert all(near(count / N, 1 / top) for count in counts), counts
    ordered = [score for _, score in sorted(pairs)]
    assert sum(ordered[N // 2 :]) > 1.5 * sum(ordered[: N // 2])


@pytest.mark.parametrize("name", ["spammer", "always-first"])
@pytest.mark.parametrize(("kind", "count"), [("ranking", 4), ("rating", 1), ("likert", 2)])
def test_random_answers_are_valid_for_the_task(name: str, kind: str, count: int) -> None:
    rater = SimulatedAnnotator(BEHAVIORS[name])
    for number in range(20):
        answer = rater.judge(task(number, ("x",) * count, kind), Setup(), number).answer
        assert answer is not None
        result = check_answer(kind, Setup(), count, answer)
        if name == "always-first":
            assert result.get("order", [0, 1, 2, 3]) == [0, 1, 2, 3]
            assert all(value == max(5, value) for one in result.get("scores", []) for value in one.values())


def test_an_empty_text_has_the_length_of_one_character() -> None:
    """The bias of length is in logits of doublings, and an empty text counts as one character."""
    assert choices(SimulatedBehavior(length=1.0), ("", "x")).count("first") / N == pytest.approx(0.5, abs=0.04)


def test_utilities() -> None:
    prompt = Prompt("p", (Message("user", "?"),))
    one = Completion("a", "some text")
    assert random_utility(prompt, one) == random_utility(prompt, Completion("b", "some text"))
    many = [random_utility(prompt, Completion("", str(n))) for n in range(N)]
    assert sum(many) / N == pytest.approx(0, abs=4 / math.sqrt(N))
    assert sum(u * u for u in many) / N == pytest.approx(1, abs=4 * math.sqrt(2 / N))


def test_behaviors_by_name() -> None:
    assert parse_behavior("careful") == SimulatedBehavior()
    assert parse_behavior("noisy,position=0.5,tires_after=3") == SimulatedBehavior(
        sharpness=0.5, position=0.5, tires_after=3
    )
    with pytest.raises(ConfigError, match="no simulated annotator 'lazy'; give one of careful"):
        parse_behavior("lazy")
    with pytest.raises(ConfigError, match="did you mean 'position'"):
        parse_behavior("careful,positon=1")
    with pytest.raises(ConfigError, match="spam"):
        parse_behavior("careful,spam=2")
