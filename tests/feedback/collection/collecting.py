"""A project of prompts alone, a generator of two lengths, and programs that choose by number, to collect with."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tiny import prompts_of

from gnomon.core.errors import ModelError
from gnomon.feedback.annotators.programmatic import AnnotatorKind, ProgramJudgement
from gnomon.feedback.collection.collector import Collector, CollectTools
from gnomon.feedback.collection.plan import CollectPlan, CollectTarget
from gnomon.feedback.collection.programs import ProgramTeam
from gnomon.feedback.generation.generators import (
    GeneratedText,
    GenerationCache,
    GenerationRequest,
    Refusal,
    SaveCallback,
)
from gnomon.feedback.store.ingest import add_prompts
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.task_types import Setup
from gnomon.feedback.tasks.queue import AnnotationTask

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def noise(*parts: object, length: int = 24) -> str:
    """Random letters, always the same for the same parts."""
    return "".join(random.Random(repr(parts)).choices(LETTERS, k=length))


def two_lengths(request: GenerationRequest) -> str:
    """A short text at the first temperature of the settings, a long one at others."""
    length = 20 if request.temperature < 1 else 60
    return noise(request.prompt.messages[-1].content, request.temperature, length=length)


class Writer:
    """A generator of texts by request; `fails` raises before the first one."""

    def __init__(
        self, name: str, text_of: Callable[[GenerationRequest], str] = two_lengths, *, fails: bool = False
    ):
        self.name, self.text_of, self.fails = name, text_of, fails
        self.identity = {"digest": name}
        self.calls = 0

    def write(
        self, requests: Sequence[GenerationRequest], save: SaveCallback
    ) -> Iterator[GeneratedText | Refusal]:
        self.calls += 1
        if self.fails:
            raise ModelError(f"{self.name} cannot be reached; try again later.")
        for request in requests:
            yield GeneratedText(self.text_of(request), True)

    def close(self) -> None: ...


class Chooser:
    """A program whose choice follows from the number of items that it has judged: `tie`, `bad`, or the longer."""

    kind: AnnotatorKind = "rule"

    def __init__(self, name: str, choice_of: Callable[[int], str] = lambda number: "longer"):
        self.name, self.choice_of = name, choice_of
        self.identity = {"name": name}

    def judge(self, task: AnnotationTask, setup: Setup, number: int) -> ProgramJudgement:
        choice = self.choice_of(number)
        if choice == "skip":
            return ProgramJudgement(None, "too hard")
        if choice == "longer":
            first, second = task.completions
            choice = "first" if len(first.text) > len(second.text) else "second"
        return ProgramJudgement({"choice": choice})


def make_project(store: Store, prompts: int, votes_per_item: int = 1, **settings: Any) -> None:
    """A project of prompts that differ."""
    store.add_project(
        Project(
            "p", "Which is better?", "pair", votes_per_item, votes_per_item, settings={"gold_rate": 0} | settings
        )
    )
    add_prompts(store, "p", [BankPrompt(one) for one in prompts_of(*map(noise, range(prompts)))])


def collector(
    store: Store,
    folder: Path,
    until: int,
    *,
    writers: Sequence[Writer] = (),
    programs: Sequence[Any] = (),
    stop: object = False,
    limits: dict[str, Any] | None = None,
    tools: dict[str, Any] | None = None,
    **plan: Any,
) -> Collector:
    """A collection of project `p` with these generators and programs; sources are named as the generators are."""
    by_name = {writer.name: writer for writer in writers}
    return Collector(
        store,
        "p",
        CollectPlan(CollectTarget(until=until, **(limits or {})), tuple(by_name), **plan),
        CollectTools(
            by_name.__getitem__,
            GenerationCache(folder / "answers"),
            team=ProgramTeam(store, "p", programs) if programs else None,
            **(tools or {}),
        ),
        stop,
    )
