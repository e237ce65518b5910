"""Collections with programs and people: why they end, what they add, and that they continue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from collecting import Chooser, Writer, collector, make_project, noise
from tiny import prompts_of

from gnomon.core.errors import DataError, RunError
from gnomon.core.types import Completion
from gnomon.feedback.annotators.programmatic import ProgramJudgement, register
from gnomon.feedback.collection.state import read_state
from gnomon.feedback.export.exporter import ExportSpec
from gnomon.feedback.generation.requests import GenerationSettings
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.task_types import Setup
from gnomon.feedback.tasks.queue import AnnotationTask, NewJudgement, Queue


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    feedback_store = Store(database)
    yield feedback_store
    feedback_store.close()


def test_rounds_until_the_target(store: Store, tmp_path: Path) -> None:
    """Every second judgement is a tie, so 12 preferences take two rounds.

    12 prompts, as one preference each is assumed, give 6. Then (6 + 1) / (12 + 1) per item is assumed, so the
    missing 6 need 6 · 13 / 7 = 11.1, 12 prompts, which give 6 again.
    """
    make_project(store, 30)
    alternating = Chooser("a", lambda number: "tie" if number % 2 else "longer")
    summary = collector(store, tmp_path, 12, writers=[Writer("w")], programs=[alternating]).run()
    assert (summary.outcome, summary.valid, summary.added, summary.missing) == ("reached", 12, 12, 0)
    assert (summary.rounds, summary.prompts, summary.items) == (2, 24, 24)
    assert (summary.completions, summary.judgements, summary.unused_prompts) == (48, 24, 6)
    assert summary.left_out == {"tied_items": 12}
    assert summary.sentence() == "12 of 12 valid preferences; the target is reached."
    assert summary.advice == ""


def test_a_target_that_is_met_does_nothing(store: Store, tmp_path: Path) -> None:
    make_project(store, 5)
    collector(store, tmp_path, 3, writers=[Writer("w")], programs=[Chooser("a")]).run()
    writer = Writer("w")

    def people() -> Any:
        raise AssertionError("nobody is needed")

    summary = collector(store, tmp_path, 3, writers=[writer], tools={"people": people}).run()
    assert (summary.outcome, summary.rounds, summary.added, writer.calls) == ("reached", 0, 0, 0)


def test_open_items_are_judged_before_new_prompts(store: Store, tmp_path: Path) -> None:
    make_project(store, 5)
    add_completions(store, "p", [("p0", Completion(n, noise(n, length=k)), {}) for n, k in (("x", 9), ("y", 40))])
    add_items(store, "p", [["x", "y"]])
    writer = Writer("w")
    summary = collector(store, tmp_path, 1, writers=[writer], programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.rounds, summary.judgements, writer.calls) == ("reached", 0, 1, 0)


def test_no_more_items_are_judged_than_are_needed(store: Store, tmp_path: Path) -> None:
    """30 open items and 3 missing preferences: one per item is assumed, so each program judges three."""
    make_project(store, 30, votes_per_item=2)
    sides = (("x", 9), ("y", 40))
    texts: list[tuple[str, Completion, dict[str, Any]]] = [
        (f"p{n}", Completion(f"{side}{n}", noise(n, side, length=length)), {})
        for n in range(30)
        for side, length in sides
    ]
    add_completions(store, "p", texts)
    add_items(store, "p", [[f"x{n}", f"y{n}"] for n in range(30)])
    summary = collector(store, tmp_path, 3, programs=[Chooser("a"), Chooser("b")]).run()
    assert (summary.outcome, summary.valid, summary.judgements, summary.open_items) == ("reached", 3, 6, 27)


@pytest.mark.parametrize(
    ("choice", "advice"),
    [("tie", "annotators see no difference"), ("bad", "annotators find both completions bad")],
)
def test_a_yield_of_zero_ends_with_advice(store: Store, tmp_path: Path, choice: str, advice: str) -> None:
    """The first round has 20 prompts; after 20 judged items without a preference the collection ends."""
    make_project(store, 60)
    never = Chooser("a", lambda number: choice)
    summary = collector(store, tmp_path, 50, writers=[Writer("w")], programs=[never]).run()
    assert (summary.outcome, summary.judgements, summary.valid, summary.rounds) == ("no_yield", 20, 0, 1)
    assert summary.advice.startswith(advice)
    assert summary.sentence() == (
        "0 of 50 valid preferences; the last judged items gave no valid preference; missing: 50; open items: 0; "
        "items for a reviewer: 0; unused prompts: 40."
    )


def test_disagreement_ends_with_advice(store: Store, tmp_path: Path) -> None:
    """Two programs that always choose opposite sides: every item is disputed."""
    make_project(store, 60, votes_per_item=2)
    programs = [Chooser("a"), Chooser("b", lambda number: "tie")]
    summary = collector(store, tmp_path, 50, writers=[Writer("w")], programs=programs).run()
    assert (summary.outcome, summary.disputed_items) == ("no_yield", 20)
    assert summary.advice.startswith("annotators disagree")


def test_a_filter_that_drops_everything_is_named(store: Store, tmp_path: Path) -> None:
    make_project(store, 60)
    spec = ExportSpec(filters={"length": {"max_characters": 5}})
    programs = [Chooser("a")]
    summary = collector(store, tmp_path, 50, writers=[Writer("w")], programs=programs, spec=spec).run()
    assert (summary.outcome, summary.left_out) == ("no_yield", {"rows_dropped_by_length": 20})
    assert summary.advice == "the filter length drops the preferences; lower its bound, or leave it out"


def test_a_rare_preference_is_waited_for(store: Store, tmp_path: Path) -> None:
    """One preference in ten items: after it, five times as many items may give none."""
    make_project(store, 200)
    rare = Chooser("a", lambda number: "longer" if number in (9, 55) else "tie")
    summary = collector(store, tmp_path, 2, writers=[Writer("w")], programs=[rare]).run()
    assert (summary.outcome, summary.valid) == ("reached", 2)


def test_prompts_run_out(store: Store, tmp_path: Path) -> None:
    make_project(store, 5)
    summary = collector(store, tmp_path, 50, writers=[Writer("w")], programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.valid, summary.missing, summary.unused_prompts) == ("no_prompts", 5, 45, 0)
    assert "add prompts with --prompts" in summary.advice


def test_unused_prompts_need_a_model(store: Store, tmp_path: Path) -> None:
    """Eight prompts without completions, and no generator; one of them gets two completions of its own."""
    make_project(store, 8)
    summary = collector(store, tmp_path, 5, programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.rounds, summary.advice) == ("no_model", 0, "add a model with --from")
    assert summary.sentence() == (
        "0 of 5 valid preferences; no model is given for the 8 unused prompts; missing: 5; open items: 0; "
        "items for a reviewer: 0; unused prompts: 8."
    )
    add_completions(store, "p", [("p0", Completion(n, noise(n, length=k)), {}) for n, k in (("x", 9), ("y", 40))])
    summary = collector(store, tmp_path, 5, programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.valid, summary.unused_prompts) == ("no_model", 1, 7)
    summary = collector(store, tmp_path, 50, writers=[Writer("w")], programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.valid, summary.unused_prompts) == ("no_prompts", 8, 0)


def test_a_model_is_not_missing_where_it_has_nothing_to_complete(store: Store, tmp_path: Path) -> None:
    """Without a generator: all prompts have items, and a near-duplicate of one is left."""
    make_project(store, 1)
    collector(store, tmp_path, 1, writers=[Writer("w")], programs=[Chooser("a")]).run()
    add_prompts(store, "p", [BankPrompt(one) for one in prompts_of("x", noise(0) + "z")[1:]])
    summary = collector(store, tmp_path, 5, programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.unused_prompts) == ("no_prompts", 1)


def test_near_duplicates_of_used_prompts_are_not_used(store: Store, tmp_path: Path) -> None:
    """Also of those of an earlier round."""
    make_project(store, 3)
    collector(store, tmp_path, 3, writers=[Writer("w")], programs=[Chooser("a")]).run()
    add_prompts(store, "p", [BankPrompt(one) for one in prompts_of("x", "x", "x", noise(0) + "z", noise(77))[3:]])
    summary = collector(store, tmp_path, 50, writers=[Writer("w")], programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.prompts, summary.unused_prompts) == ("no_prompts", 1, 1)


def test_a_budget_of_judgements_is_kept(store: Store, tmp_path: Path) -> None:
    """Seven judgements, three an item: rounds of two prompts and of one, of which one judgement is made."""
    make_project(store, 30, votes_per_item=3)
    programs = [Chooser(name) for name in "abc"]
    limits = {"max_judgements": 7}
    summary = collector(store, tmp_path, 50, writers=[Writer("w")], programs=programs, limits=limits).run()
    assert (summary.outcome, summary.judgements, summary.valid, summary.open_items) == ("max_judgements", 7, 2, 1)
    summary = collector(store, tmp_path, 50, writers=[Writer("w")], programs=programs, limits=limits).run()
    assert (summary.outcome, summary.judgements, summary.valid) == ("max_judgements", 7, 4)


def test_a_budget_is_shared_among_programs(store: Store, tmp_path: Path) -> None:
    """30 open items of two judgements and a budget of eight: four items are completed, not eight begun."""
    make_project(store, 30, votes_per_item=2)
    collector(store, tmp_path, 50, writers=[Writer("w")], programs=[Chooser("z"), Chooser("y")]).run()
    store.set_annotator(register(store, Chooser("z")), "withdrawn")
    store.set_annotator(register(store, Chooser("y")), "withdrawn")
    limits = {"max_judgements": 8}
    summary = collector(store, tmp_path, 50, programs=[Chooser("a"), Chooser("b")], limits=limits).run()
    assert (summary.outcome, summary.valid, summary.judgements) == ("max_judgements", 4, 8)


def test_a_budget_of_hours_is_kept(store: Store, tmp_path: Path) -> None:
    """A clock that moves on by a minute whenever it is read."""
    make_project(store, 60)
    minutes = iter(range(10**6))
    tools = {"clock": lambda: 60.0 * next(minutes)}
    limits = {"max_hours": 0.5}
    programs = [Chooser("a")]
    summary = collector(
        store, tmp_path, 50, writers=[Writer("w")], programs=programs, limits=limits, tools=tools
    ).run()
    assert (summary.outcome, summary.valid < 50) == ("max_hours", True)
    assert summary.hours >= 0.5


def test_a_generator_that_fails_leaves_the_work_to_the_others(store: Store, tmp_path: Path) -> None:
    """It is tried in three rounds, and not again.

    Judgements 0, 7, 14, … are preferences, so rounds of 6, 18, 10 and 6 prompts give 1, 3, 1 and 1: the second
    needs 5 · 7 / 2 = 17.5, the third 2 · 25 / 5, the last 35 / 6 = 5.8.
    """
    make_project(store, 100)
    broken, works = Writer("broken", fails=True), Writer("works")
    seventh = Chooser("a", lambda number: "tie" if number % 7 else "longer")
    summary = collector(store, tmp_path, 6, writers=[broken, works], programs=[seventh]).run()
    assert (summary.outcome, summary.failures) == (
        "reached",
        {"broken": "broken cannot be reached; try again later."},
    )
    assert (summary.rounds, summary.items, broken.calls) == (4, 40, 3)


def test_prompts_are_tried_again_if_a_generator_failed(store: Store, tmp_path: Path) -> None:
    """One completion of each of two models: while one fails there are no pairs, and no prompt is used up."""
    make_project(store, 10)
    first, second = Writer("first"), Writer("second", fails=True)
    generation = GenerationSettings(count=1)
    second.text_of = lambda request: noise(request.prompt.id, 2, length=60)

    def recovers(request: Any) -> str:
        second.fails = False
        return noise(request.prompt.id, length=20)

    first.text_of = recovers
    programs = [Chooser("a")]
    summary = collector(
        store, tmp_path, 10, writers=[second, first], programs=programs, generation=generation
    ).run()
    assert (summary.outcome, summary.valid, summary.rounds) == ("reached", 10, 2)
    assert list(summary.failures) == ["second"]


def test_one_completion_a_prompt_is_no_pair(store: Store, tmp_path: Path) -> None:
    make_project(store, 60)
    writers, generation = [Writer("w"), Writer("gone", fails=True)], GenerationSettings(count=1)
    summary = collector(
        store, tmp_path, 40, writers=writers, programs=[Chooser("a")], generation=generation
    ).run()
    assert (summary.outcome, summary.items) == ("no_items", 0)
    assert summary.advice == "correct the sources of --from that failed"


class Scorer:
    """A program that ranks by length, and gives the score 5 to long texts and 1 to others."""

    name, kind, identity = "scorer", "rule", {"name": "scorer"}

    def judge(self, task: AnnotationTask, setup: Setup, number: int) -> ProgramJudgement:
        lengths = [len(one.text) for one in task.completions]
        if task.kind == "ranking":
            return ProgramJudgement({"order": sorted(range(len(lengths)), key=lambda index: -lengths[index])})
        return ProgramJudgement({"scores": [{"overall": 5 if length > 30 else 1} for length in lengths]})


@pytest.mark.parametrize(
    ("task", "items", "valid"), [("ranking", 2, 12), ("likert", 8, 8)], ids=["ranking", "likert"]
)
def test_other_tasks_give_preferences_too(
    store: Store, tmp_path: Path, task: str, items: int, valid: int
) -> None:
    """Two prompts with four completions, two of them long: a ranking gives six preferences, scores give four."""
    store.add_project(Project("p", "Better?", task, 1, 1, settings={"gold_rate": 0}))
    add_prompts(store, "p", [BankPrompt(one) for one in prompts_of(*map(noise, range(2)))])
    generation = GenerationSettings(count=4, temperatures=(0.5, 1.0))
    writer = Writer("w", lambda request: noise(request.seed, length=20 if request.temperature < 1 else 60))
    summary = collector(store, tmp_path, 99, writers=[writer], programs=[Scorer()], generation=generation).run()
    assert (summary.outcome, summary.items, summary.valid) == ("no_prompts", items, valid)


def test_without_a_generator_that_works_the_collection_ends(store: Store, tmp_path: Path) -> None:
    make_project(store, 30)
    broken = Writer("broken", fails=True)
    summary = collector(store, tmp_path, 50, writers=[broken], programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.items, broken.calls) == ("no_generators", 0, 3)
    assert "cannot be reached" in summary.failures["broken"]
    broken.fails = False
    summary = collector(store, tmp_path, 5, writers=[broken], programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.valid) == ("reached", 5), "no prompt is lost"


def test_completions_that_are_too_alike_end_with_advice(store: Store, tmp_path: Path) -> None:
    make_project(store, 60)
    same = Writer("w", lambda request: "The same to everybody, always.")
    summary = collector(store, tmp_path, 50, writers=[same], programs=[Chooser("a")]).run()
    assert (summary.outcome, summary.items, summary.unused_prompts) == ("no_items", 0, 60)
    assert "completions of a prompt are too alike" in summary.advice


def test_fewer_programs_than_judgements_of_an_item(store: Store, tmp_path: Path) -> None:
    """Nothing is generated that nobody could complete; a paused program does not count."""
    make_project(store, 30, votes_per_item=2)
    writer = Writer("w")
    programs = [Chooser("a"), Chooser("b")]
    store.set_annotator(register(store, programs[1]), "paused")
    summary = collector(store, tmp_path, 50, writers=[writer], programs=programs).run()
    assert (summary.outcome, summary.items, writer.calls) == ("too_few_annotators", 0, 0)


def test_skipped_items_are_counted(store: Store, tmp_path: Path) -> None:
    make_project(store, 30)
    summary = collector(
        store, tmp_path, 50, writers=[Writer("w")], programs=[Chooser("a", lambda number: "skip")]
    ).run()
    assert (summary.outcome, summary.skipped) == ("no_prompts", {"a: too hard": 30})


class After:
    """False the first times it is looked at."""

    def __init__(self, looks: int):
        self.left = looks

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("looks", [1, 7, 30, 45, 80])
def test_a_stopped_collection_continues(store: Store, tmp_path: Path, looks: int) -> None:
    """Stopped anywhere, it loses and repeats nothing: each prompt has one item with one judgement."""
    make_project(store, 40)
    writers, programs = [Writer("w")], [Chooser("a")]
    summary = collector(store, tmp_path, 30, writers=writers, programs=programs, stop=After(looks)).run()
    assert summary.outcome == "stopped"
    rest = collector(store, tmp_path, 30, writers=writers, programs=programs).run()
    assert (rest.outcome, rest.valid) == ("reached", 30)
    state = read_state(store, "p", ExportSpec())
    assert (state.judgements, state.so_far.items, state.so_far.prompts) == (30, 30, 30)
    assert summary.completions + rest.completions == 60


def test_low_agreement_is_no_success(store: Store, tmp_path: Path) -> None:
    """Both programs agree on 4 of 5 items, but by their first choices alone alpha is far below 0.99."""
    make_project(store, 60, votes_per_item=2)
    programs = [Chooser("a"), Chooser("b", lambda number: "tie" if number % 5 == 0 else "longer")]
    spec = ExportSpec(min_alpha=0.99)
    summary = collector(store, tmp_path, 10, writers=[Writer("w")], programs=programs, spec=spec).run()
    assert (summary.outcome, summary.valid >= 10) == ("low_agreement", True)
    assert "Krippendorff's alpha" in summary.advice


@dataclass
class Crowd:
    """People who judge an item each whenever the collection waits, and a clock that moves by the waiting."""

    store: Store
    names: tuple[str, ...] = ("ann", "bob")
    now: float = 0.0
    open: bool = False
    fails_after: float = 1e9
    choice: Callable[[int], str] = lambda number: "longer"
    judged: int = 0
    most_open: int = 0

    def __post_init__(self) -> None:
        for name in self.names:
            self.store.add_annotator(name, id=name)

    @contextmanager
    def people(self) -> Iterator[Callable[[], None]]:
        self.open = True
        yield self.check
        self.open = False

    def check(self) -> None:
        if self.now > self.fails_after:
            raise RunError("the annotation server has ended; run the same command again.")

    def sleep(self, seconds: float) -> None:
        assert self.open
        self.now += seconds
        queue = Queue(self.store, "p")
        for name in self.names:
            if (task := queue.take(name)) is not None:
                judgement = Chooser(name, self.choice).judge(task, None, self.judged)  # type: ignore[arg-type]
                assert judgement.answer is not None
                queue.submit(NewJudgement(f"{name}-{task.item}", task.item, name, judgement.answer))
                self.judged += 1

    def tools(self) -> dict[str, Any]:
        return {"people": self.people, "clock": lambda: self.now, "sleep": self.sleep}


def test_people_get_the_next_round_before_the_items_run_out(store: Store, tmp_path: Path) -> None:
    make_project(store, 60, votes_per_item=2)
    crowd = Crowd(store)
    summary = collector(store, tmp_path, 40, writers=[Writer("w")], tools=crowd.tools()).run()
    assert (summary.outcome, summary.valid, summary.rounds) == ("reached", 40, 2)
    assert (summary.prompts, crowd.open) == (40, False)


def test_people_are_waited_for_when_prompts_have_run_out(store: Store, tmp_path: Path) -> None:
    make_project(store, 15, votes_per_item=2)
    crowd = Crowd(store)
    summary = collector(store, tmp_path, 40, writers=[Writer("w")], tools=crowd.tools()).run()
    assert (summary.outcome, summary.valid, summary.open_items) == ("no_prompts", 15, 0)


def test_people_wait_for_no_items_that_cannot_be_made(store: Store, tmp_path: Path) -> None:
    """A round that makes no item has nothing to judge; the collection goes on to other prompts and ends."""
    make_project(store, 60)
    crowd = Crowd(store)
    same = Writer("w", lambda request: "The same to everybody, always.")
    summary = collector(store, tmp_path, 40, writers=[same], tools=crowd.tools()).run()
    assert (summary.outcome, summary.items, crowd.now) == ("no_items", 0, 0.0)


def test_programs_and_people_share_items(store: Store, tmp_path: Path) -> None:
    make_project(store, 30, votes_per_item=2)
    crowd = Crowd(store, ("ann",))
    summary = collector(
        store, tmp_path, 10, writers=[Writer("w")], programs=[Chooser("a")], tools=crowd.tools()
    ).run()
    assert (summary.outcome, summary.valid, summary.judgements) == ("reached", 10, 20)


def test_hours_end_even_if_nobody_comes(store: Store, tmp_path: Path) -> None:
    make_project(store, 30)
    crowd = Crowd(store, ())
    limits = {"max_hours": 0.01}
    summary = collector(store, tmp_path, 10, writers=[Writer("w")], tools=crowd.tools(), limits=limits).run()
    assert (summary.outcome, summary.open_items, summary.rounds) == ("max_hours", 10, 1)
    assert 36 <= crowd.now < 37


def test_a_server_that_ends_ends_the_collection(store: Store, tmp_path: Path) -> None:
    make_project(store, 30)
    crowd = Crowd(store, (), fails_after=5.0)
    with pytest.raises(RunError, match="the annotation server has ended"):
        collector(store, tmp_path, 10, writers=[Writer("w")], tools=crowd.tools()).run()


def test_an_annotator_who_is_paused_at_the_end_does_not_count(store: Store, tmp_path: Path) -> None:
    """A project that pauses below a reliability of 0.9 after five judgements.

    Two programs choose the longer text, one the shorter, so that its κ with the others is negative. Its votes are
    needed for three votes per item: once it is paused no item has enough, and a fourth program is missing.
    """
    make_project(store, 60, votes_per_item=3, min_reliability=0.5, min_votes_before_pause=5)
    programs = [Chooser("a"), Chooser("b"), Chooser("c", lambda number: ("first", "second")[number % 2])]
    summary = collector(store, tmp_path, 15, writers=[Writer("w")], programs=programs).run()
    assert summary.outcome == "too_few_annotators"
    assert summary.valid == 0
    assert summary.left_out["paused_judgements"] == summary.left_out["unresolved_items"]


def test_a_project_without_preferences_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no project 'p'"):
        collector(store, tmp_path, 3, programs=[Chooser("a")])
