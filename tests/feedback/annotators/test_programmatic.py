"""Programs as annotators: rules and rewards, with the same queue, leases and counts as people."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from function_reward import FunctionReward
from sqlalchemy import select
from tiny import prompts_of

from gnomon.core.errors import ConfigError
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.annotators.programmatic import (
    ProgramAnnotator,
    ScoringAnnotator,
    answer_from_scores,
    judge_items,
    register,
)
from gnomon.feedback.annotators.rules import rule_annotator
from gnomon.feedback.annotators.simulated import BEHAVIORS, SimulatedAnnotator, SimulatedBehavior
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import AnnotatorRow, JudgementRow
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.task_types import Setup, check_answer
from gnomon.feedback.tasks.queue import AnnotationTask, NewJudgement, Queue


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """Ten items: `aN` is a long answer, `bN` a short one."""
    feedback_store = Store(database)
    feedback_store.add_project(Project("films", "Which is better?", "pair", 2, 3))
    add_prompts(feedback_store, "films", [BankPrompt(p) for p in prompts_of(*(f"film {i}?" for i in range(10)))])
    texts = [(i, side, "a long answer" if side == "a" else "short") for i in range(10) for side in "ab"]
    add_completions(
        feedback_store,
        "films",
        [(f"p{i}", Completion(f"{side}{i}", f"{text} {i}"), {}) for i, side, text in texts],
    )
    add_items(feedback_store, "films", [[f"a{i}", f"b{i}"] for i in range(10)])
    yield feedback_store
    feedback_store.close()


def judgements(store: Store) -> list[JudgementRow]:
    with store.reading() as session:
        return list(session.scalars(select(JudgementRow).order_by(JudgementRow.sequence)))


def chosen(row: JudgementRow) -> str:
    index = ("first", "second").index(row.answer["choice"])
    return str(row.shown[index])[0]


def test_a_rule_judges_each_item_once(store: Store) -> None:
    summary = judge_items(store, "films", rule_annotator("longer"))
    assert (summary.judged, summary.skipped) == (10, [])
    rows = judgements(store)
    assert [chosen(row) for row in rows] == ["a"] * 10
    assert {row.answer["choice"] for row in rows} == {"first", "second"}  # in its own order
    assert Queue(store, "films").progress()["open"] == 10  # two votes are required
    assert judge_items(store, "films", rule_annotator("longer")).judged == 0  # nobody judges an item twice
    assert judge_items(store, "films", rule_annotator("shorter")).judged == 10
    progress = Queue(store, "films").progress()
    assert (progress["open"], progress["judgements"], progress["surplus"]) == (10, 20, 0), (
        "a third vote is required"
    )


def test_a_program_is_an_annotator_in_the_store(store: Store) -> None:
    raters: list[ProgramAnnotator] = [
        rule_annotator("longer"),
        SimulatedAnnotator(SimulatedBehavior(), seed=1),
        SimulatedAnnotator(SimulatedBehavior(), seed=2),
    ]
    ids = [register(store, one) for one in raters]
    assert len(set(ids)) == 3
    assert ids == [register(store, one) for one in raters]
    assert register(store, rule_annotator("longer", tie=1.0)) not in ids
    with store.reading() as session:
        kinds = {row.name: row.kind for row in session.scalars(select(AnnotatorRow))}
    assert kinds == {"rule: longer": "rule", "simulated 1": "simulated", "simulated 2": "simulated"}


def test_a_paused_program_gets_no_items(store: Store) -> None:
    store.set_annotator(register(store, rule_annotator("longer")), "paused")
    assert judge_items(store, "films", rule_annotator("longer")).judged == 0


def test_max_judgements_limits_one_call(store: Store) -> None:
    """The annotator tires at the same judgement, in one run or in two."""
    rater = SimulatedAnnotator(
        SimulatedBehavior(sharpness=500.0, tires_after=6), lambda _, one: float(one.id[0] == "a")
    )
    assert judge_items(store, "films", rater, max_judgements=4).judged == 4
    assert judge_items(store, "films", rater).judged == 6
    rows = [chosen(row) for row in judgements(store)]
    assert rows[:6] == ["a"] * 6
    assert "b" in rows[6:]


def test_a_run_that_was_killed_adds_nothing_twice(store: Store) -> None:
    """A judgement without an acknowledgement is submitted again under the same id."""
    judge_items(store, "films", rule_annotator("longer"))
    row = judgements(store)[0]
    receipt = Queue(store, "films").submit(NewJudgement(row.id, row.item, row.annotator, row.answer))
    assert receipt.duplicate
    assert len(judgements(store)) == 10


def test_an_item_without_a_judgement_is_skipped(store: Store) -> None:
    """`exact` needs a reference answer, which these prompts lack; the item goes to another annotator."""
    summary = judge_items(store, "films", rule_annotator("exact"))
    assert (summary.judged, len(summary.skipped), summary.skipped[0][1]) == (0, 10, "the prompt has no answer")
    assert judge_items(store, "films", rule_annotator("longer")).judged == 10


def test_equal_identities_are_the_same_annotator(store: Store) -> None:
    same = [
        SimulatedAnnotator(BEHAVIORS["noisy"], seed=4, utility_name=utility_name)
        for utility_name in ("made up", "made up")
    ]
    assert register(store, same[0]) == register(store, same[1])
    assert judge_items(store, "films", same[0]).judged == 10
    with store.reading() as session:
        (who,) = session.scalars(select(AnnotatorRow.id))
    assert {row.annotator for row in judgements(store)} == {who}


def test_a_stop_ends_after_the_current_item(store: Store) -> None:
    class Stop:
        checks = 0

        def __bool__(self) -> bool:
            self.checks += 1
            return self.checks > 3

    assert judge_items(store, "films", rule_annotator("longer"), stop=Stop()).judged == 3


def test_scores_as_answers_of_each_task() -> None:
    setup = Setup()
    assert answer_from_scores([1.0, 0.5], "pair", setup) == {"choice": "first"}
    assert answer_from_scores([0.5, 1.0], "pair", setup) == {"choice": "second"}
    assert answer_from_scores([1.0, 0.5], "pair", setup, tie=0.5) == {"choice": "tie"}
    assert answer_from_scores([0.1, 0.9, 0.4], "ranking", setup) == {"order": [1, 2, 0]}
    # The worst has 1, the best 10, half way between 1 + 4.5, rounded up; logits have σ(0) = 1/2, σ(±∞) = 0 and 1.
    spread = answer_from_scores([0.0, 50.0, 100.0], "rating", setup)["scores"]
    assert [one["helpful"] for one in spread] == [1, 6, 10]
    assert set(spread[0]) == {"helpful", "harmless", "honest"}
    logits = answer_from_scores([0.0, -800.0, 800.0], "likert", setup, unit=True)["scores"]
    assert [one["overall"] for one in logits] == [3, 1, 5]
    assert answer_from_scores([7.0], "likert", setup)["scores"] == [{"overall": 3}]
    for task, scores in (
        ("pair", [1.0, 2.0]),
        ("ranking", [3.0, 1.0, 2.0]),
        ("rating", [0.1]),
        ("likert", [5.0, 6.0]),
    ):
        check_answer(task, setup, len(scores), answer_from_scores(scores, task, setup))


def by_rule(spec: str, *texts: str, answer: str | None = None, tie: float = 0.0) -> str:
    (plain,) = prompts_of("?")
    prompt = Prompt(plain.id, plain.messages, answer)
    shown = tuple(Completion(str(n), text) for n, text in enumerate(texts))
    result = (
        rule_annotator(spec, tie=tie).judge(AnnotationTask(1, "p", "pair", prompt, shown, 0.0), Setup(), 0).answer
    )
    assert result is not None
    return str(result["choice"])


@pytest.mark.parametrize(
    ("rule", "texts", "choice"),
    [
        ("longer", ("abc", "ab"), "first"),
        ("longer", ("ab", "cd"), "tie"),
        ("shorter", ("abc", "ab"), "second"),
        ("contains=Sorry", ("fine", "so SORRY"), "second"),
        ("contains=a=b", ("a=b", "a-b"), "first"),
        (r"format=\d+", ("12", "12 apples"), "first"),
        ("exact", ("42 ", "43"), "first"),
        (r"exact=(\d+)\.", ("It is 41.", "So 42."), "second"),
        ("repetition", ("abcabcabcabc", "abcdefghijkl"), "second"),
        ("repetition=1", ("aab", "abc"), "second"),
        ("diversity", ("same words", "same words"), "tie"),
    ],
)
def test_rules(rule: str, texts: tuple[str, str], choice: str) -> None:
    assert by_rule(rule, *texts, answer="42") == choice
    backwards = {"first": "second", "second": "first", "tie": "tie"}[choice]
    assert by_rule(rule, *texts[::-1], answer="42") == backwards


def test_a_rules_tie() -> None:
    assert by_rule("longer", "abc", "ab", tie=1.0) == "tie"
    assert by_rule("longer", "abcd", "ab", tie=1.0) == "first"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("prettier", "no rule 'prettier'; give one of longer"),
        ("contains", "give contains=TEXT"),
        ("format=(", "no regular expression"),
        ("longer=3", "takes no value"),
        ("repetition=0", "n-gram length"),
        ("diversity=x", "n-gram length"),
    ],
)
def test_invalid_rules_are_refused(rule: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rule_annotator(rule)


def test_an_invalid_tie_is_refused() -> None:
    for tie in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="difference of a tie"):
            rule_annotator("longer", tie=tie)


def test_an_item_with_a_failed_score_is_skipped(store: Store) -> None:
    def score(prompt: Prompt, text: str) -> float:
        if prompt.id == "p3":
            raise ValueError("no opinion on film 3")
        return float(len(text))

    rater = ScoringAnnotator(FunctionReward(score, "mine"), "judge", {"judge": "mine"})
    summary = judge_items(store, "films", rater)
    assert (summary.judged, [reason for _, reason in summary.skipped]) == (
        9,
        ["ValueError: no opinion on film 3"],
    )
