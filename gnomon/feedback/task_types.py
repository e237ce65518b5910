"""What a project asks, and what may be answered: one shape for each kind of task, checked before it is kept.

Answers speak of completions by their place as the annotator saw them, from 0; a judgement keeps that order beside
the answer. What two annotators said can be compared only in the item's own order: `label` and `worth` give that.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from gnomon.core.config import Settings
from gnomon.core.errors import ConfigError, DataError
from gnomon.core.ranges import Finite, Range
from gnomon.core.renamed import KEYS, renamed


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What counts as too fast, too slow or too short; with None nobody looks.

    Attributes:
        min_seconds: seconds below which nobody can have read the item.
        max_seconds: seconds above which the annotator was elsewhere.
        min_reason_chars: characters that a reason needs, without blanks around it.

    Raises:
        ConfigError: no vote could keep both limits of time.
    """

    min_seconds: float | None = None
    max_seconds: float | None = None
    min_reason_chars: int | None = None

    def __post_init__(self) -> None:
        if self.min_seconds is not None and self.max_seconds is not None and self.min_seconds > self.max_seconds:
            raise ConfigError(
                f"no vote can take {self.min_seconds} to {self.max_seconds} seconds; "
                "swap min_seconds and max_seconds."
            )


TaskType = Literal["pair", "ranking", "rating", "likert"]
SCALES: dict[str, tuple[int, int]] = {"rating": (1, 10), "likert": (1, 5)}
CRITERIA = {"rating": ("helpful", "harmless", "honest"), "likert": ("overall",)}
SCORE = Range("no scale is longer", ge=-(10**9), le=10**9)
LONGEST = 20_000  # characters of a text that a person writes


class Setup(Settings):
    """How a project asks and how it keeps watch; a project's `settings`.

    Attributes:
        criteria: what completions are scored on; empty takes the task's own.
        ranking_size: completions of an item to rank.
        confidence: whether annotators are asked how sure they are.
        rewrite: whether they may edit a completion into a demonstration.
        gold_rate: share of the questions an annotator gets whose answer is known.
        min_reliability: reliability below which an annotator is paused; `None`: nobody is.
        min_votes_before_pause: judgements before anybody is paused.
        consensus_threshold: share of the voices than which the commonest answer needs more, or more judgements
            are asked for.
        min_seconds, max_seconds: seconds between which a judgement is made with care.
        min_reason_chars: characters of a reason; 0 asks for none.
        contact: whom an annotator who was paused may ask.
        scale: least and greatest score, where they are not the task's own.
    """

    criteria: tuple[str, ...] = ()
    ranking_size: Annotated[int, Range("people rank from 3 to 9 completions at once", ge=3, le=9)] = 4
    confidence: bool = False
    rewrite: bool = False
    gold_rate: Annotated[float, Range("at least half of the questions must be real ones", ge=0, le=0.5)] = 0.1
    min_reliability: Annotated[float, Range("it is a reliability; null pauses nobody", ge=0, le=1)] | None = None
    min_votes_before_pause: Annotated[int, Range("it counts judgements", ge=1, le=10**9)] = 20
    consensus_threshold: Annotated[
        float, Range("it is a share that the commonest answer can exceed", ge=0, lt=1)
    ] = 0.5
    min_seconds: Annotated[float, Range("it is a time in seconds", ge=0, le=1e9)] | None = None
    max_seconds: Annotated[float, Range("it is a time in seconds", gt=0, le=1e9)] | None = None
    min_reason_chars: Annotated[int, Range("it counts characters; 0 asks for none", ge=0, le=10**5)] = 0
    contact: str = Field(default="", max_length=200)
    scale: tuple[Finite, Finite] | None = None

    @field_validator("criteria")
    @classmethod
    def _differ(cls, named: tuple[str, ...]) -> tuple[str, ...]:
        if len({name.strip() for name in named} - {""}) < len(named):
            raise ValueError(f"the criteria are {', '.join(named)}; give different names")
        return named

    def asked_of(self, task: str) -> tuple[str, ...]:
        """The criteria of a task that scores; none for the others."""
        return (self.criteria or CRITERIA[task]) if task in CRITERIA else ()

    def scale_of(self, task: str) -> tuple[float, float]:
        """Least and greatest score of a task that scores; zeros for the others."""
        return (self.scale or SCALES[task]) if task in SCALES else (0, 0)

    def whole_scale_of(self, task: str) -> tuple[int, int]:
        """The least and the greatest whole number of it, which are what a person may give."""
        low, high = self.scale_of(task)
        return math.ceil(low), math.floor(high)


class Rewrite(Settings):
    """A completion edited into a better one: a demonstration."""

    place: Annotated[int, Range("it is the place of a completion, from 0", ge=0, le=1000)]
    text: str = Field(min_length=1, max_length=LONGEST)


class PairAnswer(Settings):
    """Which of two is better."""

    choice: Literal["first", "second", "tie", "bad"]
    rewrite: Rewrite | None = None


class RankingAnswer(Settings):
    """All places, best first."""

    order: tuple[Annotated[int, Range("it is the place of a completion, from 0", ge=0, le=1000)], ...]
    rewrite: Rewrite | None = None


class ScoresAnswer(Settings):
    """A whole number for each criterion, for each completion as shown."""

    scores: tuple[dict[str, Annotated[int, Field(strict=True), SCORE]], ...]
    rewrite: Rewrite | None = None


Answer = PairAnswer | RankingAnswer | ScoresAnswer
SHAPES: dict[str, type[PairAnswer] | type[RankingAnswer] | type[ScoresAnswer]] = {
    "pair": PairAnswer,
    "ranking": RankingAnswer,
    "rating": ScoresAnswer,
    "likert": ScoresAnswer,
}


def setup_of(settings: Mapping[str, Any]) -> Setup:
    """A project's settings, checked.

    Raises:
        ConfigError: a setting is unknown or cannot be.
    """
    try:
        return Setup.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        name = renamed(where, Setup.model_fields, KEYS) if first["type"] == "extra_forbidden" else None
        advice = "correct it" if name is None else f"it is called '{name}'"
        raise ConfigError(f"the project's setting '{where}' is invalid ({first['msg']}); {advice}.") from None


def limits_of(setup: Setup) -> Limits:
    """What counts as too fast, too slow or too short in a project.

    Raises:
        ConfigError: no vote could keep both limits of time.
    """
    return Limits(
        min_seconds=setup.min_seconds,
        max_seconds=setup.max_seconds,
        min_reason_chars=setup.min_reason_chars or None,
    )


def check_answer(task: str, setup: Setup, count: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer to an item of `count` completions as it is kept.

    Raises:
        DataError: it is not one of this task.
    """
    try:
        said: Answer = SHAPES[task].model_validate(dict(answer))
    except ValidationError as error:
        raise DataError(f"the answer is none of a {task} ({error.errors()[0]['msg']}); answer again.") from None
    if isinstance(said, RankingAnswer) and sorted(said.order) != list(range(count)):
        raise DataError(f"the order {list(said.order)} does not name each of {count} places once; answer again.")
    if isinstance(said, ScoresAnswer):
        low, high = setup.scale_of(task)
        asked = set(setup.asked_of(task))
        if len(said.scores) != count or any(set(one) != asked for one in said.scores):
            raise DataError(f"each of {count} completions needs a score for each criterion; answer again.")
        if any(not low <= score <= high for one in said.scores for score in one.values()):
            raise DataError(f"a score is not in {low:g} to {high:g}; answer again.")
    if said.rewrite is not None and said.rewrite.place >= count:
        raise DataError(f"there is no completion {said.rewrite.place} to rewrite; answer again.")
    return said.model_dump(exclude_none=True, mode="json")


def worth(answer: Mapping[str, Any], shown: Sequence[str]) -> dict[str, float]:
    """How good an answer calls each completion, by id: comparable within the answer, not between annotators.

    A pair's better one has 1, the other 0; both of a tie have a half, both of a bad pair 0. Of a ranking of K the
    best has K - 1, the last 0. A score is the mean over its criteria.
    """
    if "choice" in answer:
        of_two = {"first": (1.0, 0.0), "second": (0.0, 1.0), "tie": (0.5, 0.5), "bad": (0.0, 0.0)}
        return dict(zip(shown, of_two[answer["choice"]], strict=True))
    if "order" in answer:
        return {shown[place]: float(len(shown) - 1 - rank) for rank, place in enumerate(answer["order"])}
    return {name: sum(one.values()) / len(one) for name, one in zip(shown, answer["scores"], strict=True)}


def verdict(answer: Mapping[str, Any], shown: Sequence[str], completions: Sequence[str]) -> Hashable:
    """What an answer comes down to: two annotators agree on an item if this is equal. Arguments as for `label`.

    Returns:
        The label of a pair. Of a ranking or scores the places, in the item's order, of what is best, which are
        several if their mean scores are equal; of a single completion's scores the mean, rounded half up.
    """
    if "choice" in answer:
        return label(answer, shown, completions)
    value = worth(answer, shown)
    if len(value) == 1:
        return math.floor(value[completions[0]] + 0.5)
    best = max(value.values())
    return tuple(place for place, name in enumerate(completions) if math.isclose(value[name], best, abs_tol=1e-9))


def label(answer: Mapping[str, Any], shown: Sequence[str], completions: Sequence[str]) -> Hashable:
    """What was said in the item's own order, so that annotators who saw different orders can be compared.

    Args:
        answer: by places as shown.
        shown: ids of completions as this annotator saw them.
        completions: ids of completions in the item's own order.

    Returns:
        `a`, `b`, `tie` or `bad` for a pair; the places in the item's order, best first, of a ranking; for each
        completion of the item the scores by name of the criterion.
    """
    if "choice" in answer:
        if answer["choice"] in ("tie", "bad"):
            return str(answer["choice"])
        return "ab"[completions.index(shown[("first", "second").index(answer["choice"])])]
    if "order" in answer:
        return tuple(completions.index(shown[place]) for place in answer["order"])
    by_id = dict(zip(shown, answer["scores"], strict=True))
    return tuple(tuple(sorted(by_id[name].items())) for name in completions)
