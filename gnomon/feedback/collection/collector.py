"""Collects valid preferences in rounds: select prompts, generate completions, have items judged, check, count.

Everything is in the store after each step, and what is next follows from the store: open items are judged before
new prompts are used, and prompts whose generation was stopped come before others. A collection that was stopped
continues where it was.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from gnomon.core.errors import DataError
from gnomon.core.progress import console, format_duration, progress
from gnomon.core.types import Prompt
from gnomon.feedback.collection.next_prompts import next_prompts
from gnomon.feedback.collection.plan import CollectPlan
from gnomon.feedback.collection.programs import ProgramTeam
from gnomon.feedback.collection.round_size import round_prompts
from gnomon.feedback.collection.state import CollectionState, read_state
from gnomon.feedback.collection.summary import ADVICE, CollectSummary, Outcome, yield_advice
from gnomon.feedback.export.row_filters import check_alpha
from gnomon.feedback.generation.generate import run_generators
from gnomon.feedback.generation.generators import CompletionGenerator, GenerationCache
from gnomon.feedback.quality.monitor import REST_FACTOR, QualityMonitor
from gnomon.feedback.selection.items import create_items
from gnomon.feedback.selection.priority import ScoreFunction
from gnomon.feedback.store.store import Store

PATIENCE = (
    20  # judged items without a valid preference, or prompts without an item, after which a collection ends
)
RARE = 5  # where preferences are rare: as many times the items that a preference took so far
MAX_FAILURES = 3  # failed rounds in a row after which a generator is not used again
TURN = 50  # items that a program judges between two counts
LOW_WATER = 10  # open items below which people get the next round
POLL_SECONDS = 1.0  # between two counts while people judge
POLL_FACTOR = 20.0  # … or this many times the time of a count, so that counting takes at most 5% of the time
SLICE_SECONDS = 0.2  # of waiting, between two looks at the stop signal


@dataclass(frozen=True)
class CollectTools:
    """What a collection works with.

    Attributes:
        open_generator: opens the generator of a source.
        cache: cache of generated texts.
        scores: scores of reward models that order the items; `None`: they come in the order of the prompts.
        team: programs that judge; `None`: none do.
        people: lets people judge until its end, and gives a function that raises if they cannot any more; `None`:
            people do not judge.
        clock: monotonic clock in seconds.
        sleep: waits some seconds.
    """

    open_generator: Callable[[str], CompletionGenerator]
    cache: GenerationCache
    scores: ScoreFunction | None = None
    team: ProgramTeam | None = None
    people: Callable[[], AbstractContextManager[Callable[[], None]]] | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Collector:
    """One collection of a project's valid preferences.

    Args:
        store: the feedback store.
        project: id of the project.
        plan: target and settings.
        tools: generators, programs and people.
        stop: becomes true when the user stops it.
    """

    def __init__(self, store: Store, project: str, plan: CollectPlan, tools: CollectTools, stop: object = False):
        self.store, self.project, self.plan, self.tools = store, project, plan, tools
        self._stop = _Stop(self, stop)
        self._monitor = QualityMonitor(store, project)
        self._started = tools.clock()
        self._checked_judgements, self._check_after = -1, 0.0
        self._rounds = self._prompts = self._completions = self._items = 0
        self._tried: set[str] = set()
        self._without_items = 0  # prompts in a row that made no item
        self._exhausted = self._programs_idle = self._failed_now = False
        self._failed: Counter[str] = Counter()
        self._failures: dict[str, str] = {}
        self._dismissal = ""  # why the annotators agree too little
        self._count_seconds = 0.0
        self._check_people: Callable[[], None] = lambda: None
        # At the start, and when the number of valid preferences last changed.
        self._first = self._gain = self._measure()

    def run(self) -> CollectSummary:
        """Work until the target is reached or the collection ends for another reason.

        Raises:
            GnomonError: the store or an annotator fails; everything before is in the store.
        """
        state = self._first
        outcome = self._outcome(state)
        with ExitStack() as resources:
            if outcome is None and self.tools.people is not None:
                self._check_people = resources.enter_context(self.tools.people())
            while outcome is None:
                if self._needs_prompts(state):
                    outcome = self._next_round(state)
                    state = self._measure()
                else:
                    state = self._judge(state)
                outcome = self._outcome(state) or outcome
        return self._summary(outcome, state)

    def out_of_time(self) -> bool:
        """Return whether the budget of hours is spent."""
        hours = self.plan.target.max_hours
        return hours is not None and self._elapsed() >= 3600 * hours

    def _elapsed(self) -> float:
        return self.tools.clock() - self._started

    def _measure(self) -> CollectionState:
        """Count, after pausing annotators with a low reliability if there are new judgements."""
        before = self.tools.clock()
        state = read_state(self.store, self.project, self.plan.spec)
        self._count_seconds = self.tools.clock() - before
        if state.judgements != self._checked_judgements and (
            state.valid >= self.plan.target.until or before >= self._check_after
        ):
            start = self.tools.clock()
            paused = self._monitor.check()
            self._checked_judgements = state.judgements
            self._check_after = self.tools.clock() + REST_FACTOR * (self.tools.clock() - start)
            for name in paused:
                _print(f"annotator {name} is paused, and their judgements are left out: their reliability is low")
            if paused:
                state = read_state(self.store, self.project, self.plan.spec)
        return state

    def _outcome(self, state: CollectionState) -> Outcome | None:
        """Return why the collection ends, `None` if it goes on."""
        target = self.plan.target
        if state.valid >= target.until:
            return "reached" if self._agree() else "low_agreement"
        if self._stop.requested:
            return "stopped"
        if self.out_of_time():
            return "max_hours"
        if target.max_judgements is not None and self._new_judgements(state) >= target.max_judgements:
            return "max_judgements"
        if state.valid != self._gain.valid:  # fewer after a pause
            self._gain = state
        judged, rate = state.so_far.judged_items, self._gain.so_far
        patience = PATIENCE
        if rate.preferences:
            patience = max(PATIENCE, math.ceil(RARE * rate.judged_items / rate.preferences))
        return "no_yield" if judged - rate.judged_items >= patience else None

    def _agree(self) -> bool:
        """Return whether an export with the plan's bound on agreement would be accepted."""
        if self.plan.spec.min_alpha is not None:
            try:
                check_alpha(self.store, self.project, self.plan.spec.min_alpha)
            except DataError as error:
                self._dismissal = str(error).rstrip(".")
                return False
        return True

    def _new_judgements(self, state: CollectionState) -> int:
        return state.judgements - self._first.judgements

    def _needs_prompts(self, state: CollectionState) -> bool:
        """Return whether annotators need more items, or the prompts have run out."""
        if self.tools.team is not None and not self._programs_idle:
            return False
        if self.tools.people is None:
            return True
        if self._exhausted:
            return not state.open_items
        expected = state.valid + state.open_items * state.so_far.per_item
        return not state.open_items or (state.open_items <= LOW_WATER and expected < self.plan.target.until)

    def _next_round(self, state: CollectionState) -> Outcome | None:
        """Add the items of the next round; return why there can be none."""
        if self.tools.people is None:
            active = self.tools.team.active() if self.tools.team else 0
            if active < state.votes_per_item:
                return "too_few_annotators"
        sources = [one for one in self.plan.sources if self._failed[one] < MAX_FAILURES]
        prompts = self._select(self._size(state), generates=bool(sources))
        if not prompts:
            self._exhausted = True
            if state.open_items and self.tools.people is not None:
                return None
            if self.plan.sources:
                return "no_prompts" if sources else "no_generators"
            return "no_model" if self._select(1, generates=True) else "no_prompts"
        self._announce(state, len(prompts))
        self._failed_now = False
        if sources and not self._generate(prompts, sources):
            return None
        return self._add_items(prompts)

    def _select(self, count: int, *, generates: bool) -> list[Prompt]:
        """Choose the prompts of a round, with completions of their own unless some are generated."""
        return next_prompts(
            self.store,
            self.project,
            count,
            self.plan.mix,
            generates=generates,
            tried=self._tried,
            seed=self.plan.generation.seed,
        )

    def _size(self, state: CollectionState) -> int:
        budget = self.plan.target.max_judgements
        return round_prompts(
            self.plan.target.until - state.valid,
            state.so_far,
            state.open_items if self.tools.people is not None else 0,
            votes_per_item=state.votes_per_item,
            judgements_left=None if budget is None else budget - self._new_judgements(state),
        )

    def _generate(self, prompts: Sequence[Prompt], sources: Sequence[str]) -> bool:
        """Generate completions; return whether to make items: not after a stop, or if no generator works."""
        failures: dict[int, str] = {}
        total = len(prompts) * len(sources) * self.plan.generation.count
        with progress("completions", total) as bar:
            result = run_generators(
                self.store,
                self.project,
                prompts,
                [self.tools.open_generator(source) for source in sources],
                self.plan.generation,
                self.tools.cache,
                stop=self._stop,
                progress=bar,
                failures=failures,
            )
        self._completions, self._failed_now = self._completions + result.added, bool(failures)
        for index, source in enumerate(sources):
            self._failed[source] = self._failed[source] + 1 if index in failures else 0
            if index in failures:
                self._failures[source] = failures[index]
                _print(f"generator {source} failed: {failures[index]}")
        for prompt, reason in result.refused[:3]:
            _print(f"no completion for '{prompt}': {reason}")
        return result.whole and not (len(failures) == len(sources) and not result.added)

    def _add_items(self, prompts: Sequence[Prompt]) -> Outcome | None:
        """Create the items of a round; return `no_items` if the last prompts made none."""
        plan, before = self.plan, self.store.item_counts(self.project)
        ids = [prompt.id for prompt in prompts]
        added = create_items(
            self.store,
            self.project,
            ids,
            scores=self.tools.scores,
            count=plan.pairs,
            seed=plan.generation.seed,
            random_share=plan.random_share,
        ).added
        after = self.store.item_counts(self.project)
        filled = [name for name in ids if after.get(name, 0) > before.get(name, 0)]
        # A prompt without an item is tried again if a generator failed.
        empty = [] if self._failed_now else [name for name in ids if name not in filled]
        self._tried.update(filled, empty)
        self._rounds, self._prompts, self._items = (
            self._rounds + 1,
            self._prompts + len(filled),
            self._items + added,
        )
        self._without_items = 0 if added else self._without_items + len(empty)
        self._programs_idle = False
        return "no_items" if self._without_items >= PATIENCE else None

    def _announce(self, state: CollectionState, prompts: int) -> None:
        """Print the state and the size of the next round."""
        so_far, gained = state.so_far, state.valid - self._first.valid
        rate = f", {so_far.preferences / so_far.judged_items:.2f} per item" if so_far.judged_items else ""
        left = self.plan.target.until - state.valid
        time_left = f"; about {format_duration(self._elapsed() / gained * left)} left" if gained > 0 else ""
        number = f"{prompts} prompt{'s' * (prompts > 1)}"
        _print(
            f"round {self._rounds + 1}: {number}; {state.valid} of {self.plan.target.until} valid preferences"
            f"{rate}{time_left}"
        )

    def _judge(self, state: CollectionState) -> CollectionState:
        """Have items judged until the collection ends or annotators need more items; return the state then."""
        until = self.plan.target.until
        with progress("valid preferences", until, start=state.valid) as bar:
            while self._outcome(state) is None and not self._needs_prompts(state):
                self._work(state)
                earlier, state = state, self._measure()
                if state != earlier:
                    bar.at(min(state.valid, until), f"{state.open_items} items open")
        return state

    def _work(self, state: CollectionState) -> None:
        """Have programs judge a few items; if they have none left, wait for people."""
        target = self.plan.target
        if self.tools.team is not None and not self._programs_idle:
            missing = target.until - state.valid
            items = min(TURN, max(1, math.ceil(missing / state.so_far.per_item)))
            left = None if target.max_judgements is None else target.max_judgements - self._new_judgements(state)
            self._programs_idle = not self.tools.team.judge(items, left, self._stop)
        else:
            end = self.tools.clock() + max(POLL_SECONDS, POLL_FACTOR * self._count_seconds)
            while not self._stop and self.tools.clock() < end:
                self._check_people()
                self.tools.sleep(SLICE_SECONDS)

    def _summary(self, outcome: Outcome, state: CollectionState) -> CollectSummary:
        return CollectSummary(
            outcome=outcome,
            until=self.plan.target.until,
            valid=state.valid,
            added=state.valid - self._first.valid,
            rounds=self._rounds,
            prompts=self._prompts,
            completions=self._completions,
            items=self._items,
            judgements=self._new_judgements(state),
            hours=self._elapsed() / 3600,
            open_items=state.open_items,
            disputed_items=state.disputed_items,
            unused_prompts=self._unused_prompts(),
            left_out=state.left_out,
            skipped={} if self.tools.team is None else dict(self.tools.team.skipped),
            failures=self._failures,
            advice=self._advice(outcome, state.left_out),
        )

    def _unused_prompts(self) -> int:
        return len(self.store.prompts(self.project)) - len(self.store.item_counts(self.project))

    def _advice(self, outcome: Outcome, left_out: Mapping[str, int]) -> str:
        """What to do after this outcome; empty if there is nothing to do but to go on."""
        if outcome == "no_yield":
            return yield_advice(self._gain.left_out, left_out)
        if outcome == "low_agreement":
            return self._dismissal
        if outcome == "no_items" and self._failures:
            return ADVICE["no_generators"]
        return ADVICE.get(outcome, "")


class _Stop:
    """True when the user stops the collection, or its time is spent."""

    def __init__(self, collector: Collector, signal: object):
        self.collector, self.signal = collector, signal

    @property
    def requested(self) -> bool:
        """Whether the user stops it."""
        return bool(self.signal)

    def __bool__(self) -> bool:
        return self.requested or self.collector.out_of_time()


def _print(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
