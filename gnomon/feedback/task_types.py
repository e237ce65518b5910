"""Task types: a project's settings, and the answers that each kind of task allows.

Indices in an answer refer to the completions in the order displayed to the annotator, from 0; a judgement stores
that order beside the answer. Answers of two annotators are comparable only in the item's own order, to which
`full_label`, `vote_label` and `worth` convert them.
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
from gnomon.feedback.written_answers import (
    MAX_TEXT_CHARS,
    WrittenAnswer,
    check_written,
    is_written,
    written_label,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Thresholds for votes that are too fast or too slow, and reasons that are too short; None is no threshold.

    Attributes:
        min_seconds: a faster vote was given without reading the item.
        max_seconds: a slower vote was interrupted.
        min_reason_chars: minimum length of a reason, in characters, without surrounding whitespace.

    Raises:
        ConfigError: `min_seconds` is above `max_seconds`.
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


TaskType = Literal["pair", "ranking", "rating", "likert", "demonstration"]
DEMONSTRATION: TaskType = "demonstration"  # the only task whose items have no completions
SCALES: dict[str, tuple[int, int]] = {"rating": (1, 10), "likert": (1, 5)}
CRITERIA = {"rating": ("helpful", "harmless", "honest"), "likert": ("overall",)}
SCORE = Range("no scale is longer", ge=-(10**9), le=10**9)
SETTINGS_OF: dict[str, tuple[TaskType, ...]] = {  # settings that apply only to some tasks
    "criteria": ("rating", "likert"),
    "ranking_size": ("ranking",),
    "rewrite": ("pair", "ranking", "rating", "likert"),
    "gold_rate": ("pair", "ranking", "rating", "likert"),
    "consensus_threshold": ("pair", "ranking", "rating", "likert"),
    "qualification_pass": ("pair", "ranking", "rating", "likert"),
    "qualification_attempts": ("pair", "ranking", "rating", "likert"),
    "min_answer_chars": (DEMONSTRATION,),
    "max_answer_chars": (DEMONSTRATION,),
    "approval": (DEMONSTRATION,),
    "check_language": (DEMONSTRATION,),
}


class Setup(Settings):
    """Settings of a project's task and quality control, stored as the project's `settings`.

    Attributes:
        criteria: names of the criteria on which completions are scored; empty: those of the task.
        ranking_size: number of completions of an item in a project of rankings.
        confidence: whether annotators give their confidence.
        rewrite: whether annotators may edit a completion into a demonstration.
        gold_rate: share of an annotator's items that are gold items.
        min_reliability: annotators with a lower reliability are paused; `None`: nobody is.
        min_votes_before_pause: minimum number of judgements of an annotator before they are paused.
        consensus_threshold: an item is done if the most frequent label has more than this share of its votes;
            otherwise it needs more judgements.
        min_seconds, max_seconds: times outside this range lower an annotator's reliability.
        min_reason_chars: minimum length of a reason, in characters; 0: no reason is requested.
        contact: name or address that a paused annotator may write to.
        scale: lowest and highest score; by default those of the task.
        qualification_pass: share of the qualification's questions that an annotator must answer correctly.
        qualification_attempts: number of attempts at the qualification.
        min_answer_chars: minimum length of a written answer, in characters.
        max_answer_chars: maximum length of a written answer, in characters.
        approval: whether a second annotator reviews each written answer.
        check_language: whether the page warns of an answer in another script than its prompt's.
    """

    criteria: tuple[str, ...] = ()
    ranking_size: Annotated[int, Range("people rank from 3 to 9 completions at once", ge=3, le=9)] = 4
    confidence: bool = False
    rewrite: bool = False
    gold_rate: Annotated[float, Range("at least half of the questions must be real ones", ge=0, le=0.5)] = 0.1
    min_reliability: Annotated[float, Range("it is a reliability; null pauses nobody", ge=0, le=1)] | None = None
    min_votes_before_pause: Annotated[int, Range("it counts judgements", ge=1, le=10**9)] = 20
    consensus_threshold: Annotated[
        float, Range("it is a share that the most frequent label can exceed", ge=0, lt=1)
    ] = 0.5
    min_seconds: Annotated[float, Range("it is a time in seconds", ge=0, le=1e9)] | None = None
    max_seconds: Annotated[float, Range("it is a time in seconds", gt=0, le=1e9)] | None = None
    min_reason_chars: Annotated[int, Range("it counts characters; 0 requests none", ge=0, le=10**5)] = 0
    contact: str = Field(default="", max_length=200)
    scale: tuple[Finite, Finite] | None = None
    qualification_pass: Annotated[float, Range("it is a share of the questions", ge=0, le=1)] = 0.8
    qualification_attempts: Annotated[int, Range("it counts attempts", ge=1, le=100)] = 2
    min_answer_chars: Annotated[int, Range("it counts characters", ge=0, le=MAX_TEXT_CHARS)] = 0
    max_answer_chars: Annotated[int, Range("it counts characters", ge=1, le=MAX_TEXT_CHARS)] = MAX_TEXT_CHARS
    approval: bool = False
    check_language: bool = False

    @field_validator("criteria")
    @classmethod
    def _check_distinct(cls, criteria: tuple[str, ...]) -> tuple[str, ...]:
        if len({name.strip() for name in criteria} - {""}) < len(criteria):
            raise ValueError(f"the criteria are {', '.join(criteria)}; give different names")
        return criteria

    def criteria_of(self, task: str) -> tuple[str, ...]:
        """Return the criteria of a task with scores; empty for other tasks."""
        return (self.criteria or CRITERIA[task]) if task in CRITERIA else ()

    def scale_of(self, task: str) -> tuple[float, float]:
        """Return the lowest and highest score of a task with scores; zeros for other tasks."""
        return (self.scale or SCALES[task]) if task in SCALES else (0, 0)

    def whole_scale_of(self, task: str) -> tuple[int, int]:
        """Return the lowest and highest whole number of the scale, the scores that a person may give."""
        low, high = self.scale_of(task)
        return math.ceil(low), math.floor(high)


class Rewrite(Settings):
    """A completion edited into a demonstration.

    Attributes:
        place: index of the original completion in the displayed order.
        text: the edited text; of a completion of several turns, its last turn.
    """

    place: Annotated[int, Range("it is the index of a completion, from 0", ge=0, le=1000)]
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)


class PairAnswer(Settings):
    """The better of two completions, a tie, or both bad."""

    choice: Literal["first", "second", "tie", "bad"]
    rewrite: Rewrite | None = None


class RankingAnswer(Settings):
    """A ranking: indices of all completions, best first."""

    order: tuple[Annotated[int, Range("it is the index of a completion, from 0", ge=0, le=1000)], ...]
    rewrite: Rewrite | None = None


class ScoresAnswer(Settings):
    """Scores: a whole number for each criterion, for each completion in the displayed order."""

    scores: tuple[dict[str, Annotated[int, Field(strict=True), SCORE]], ...]
    rewrite: Rewrite | None = None


Answer = PairAnswer | RankingAnswer | ScoresAnswer | WrittenAnswer
SHAPES: dict[str, type[PairAnswer] | type[RankingAnswer] | type[ScoresAnswer] | type[WrittenAnswer]] = {
    "pair": PairAnswer,
    "ranking": RankingAnswer,
    "rating": ScoresAnswer,
    "likert": ScoresAnswer,
    DEMONSTRATION: WrittenAnswer,
}


def setup_of(settings: Mapping[str, Any]) -> Setup:
    """Validate a project's settings.

    Raises:
        ConfigError: a setting is unknown or invalid.
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
    """Return a project's thresholds for the time of votes and the length of reasons.

    Raises:
        ConfigError: `min_seconds` is above `max_seconds`, or `min_answer_chars` above `max_answer_chars`.
    """
    if setup.min_answer_chars > setup.max_answer_chars:
        raise ConfigError(
            f"no answer can have {setup.min_answer_chars} to {setup.max_answer_chars} characters; "
            "swap min_answer_chars and max_answer_chars."
        )
    return Limits(
        min_seconds=setup.min_seconds,
        max_seconds=setup.max_seconds,
        min_reason_chars=setup.min_reason_chars or None,
    )


def check_settings(task: str, settings: Mapping[str, Any]) -> None:
    """Check that a task has the settings that are given for it.

    Raises:
        ConfigError: a setting is of other tasks.
    """
    for name in settings:
        tasks = SETTINGS_OF.get(name, (task,))
        if task not in tasks:
            raise ConfigError(
                f"a {task} has no {name}, which is a setting of {' and '.join(tasks)}; remove it, or choose "
                "another task."
            )


def check_answer(task: str, setup: Setup, count: int, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Validate an answer.

    Args:
        task: the project's task, such as `pair`.
        setup: the project's settings.
        count: number of completions of the item.
        answer: the answer as the client sent it.

    Returns:
        The answer as the store keeps it.

    Raises:
        DataError: the answer does not fit the task.
    """
    try:
        parsed: Answer = SHAPES[task].model_validate(dict(answer))
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise DataError(f"the answer does not fit the task '{task}' ({problem}); answer again.") from None
    if isinstance(parsed, WrittenAnswer):
        return check_written(parsed, setup.min_answer_chars, setup.max_answer_chars)
    if isinstance(parsed, RankingAnswer) and sorted(parsed.order) != list(range(count)):
        raise DataError(
            f"the order {list(parsed.order)} does not have each index below {count} once; answer again."
        )
    if isinstance(parsed, ScoresAnswer):
        low, high = setup.scale_of(task)
        criteria = set(setup.criteria_of(task))
        if len(parsed.scores) != count or any(set(scores) != criteria for scores in parsed.scores):
            raise DataError(f"each of {count} completions needs a score for each criterion; answer again.")
        if any(not low <= score <= high for scores in parsed.scores for score in scores.values()):
            raise DataError(f"a score is not in {low:g} to {high:g}; answer again.")
    if parsed.rewrite is not None and parsed.rewrite.place >= count:
        raise DataError(f"there is no completion {parsed.rewrite.place} to rewrite; answer again.")
    return parsed.model_dump(exclude_none=True, mode="json")


def worth(answer: Mapping[str, Any], shown: Sequence[str]) -> dict[str, float]:
    """Return the value of each completion in an answer, by id.

    Values are comparable within the answer, not between annotators.
    In a pair the better one has 1 and the other 0; both have 1/2 in a tie and 0 if both are bad. In a ranking of
    K the best has K - 1 and the last 0. Scores have their mean over the criteria. A written answer has none.
    """
    if is_written(answer):
        return {}
    if "choice" in answer:
        values = {"first": (1.0, 0.0), "second": (0.0, 1.0), "tie": (0.5, 0.5), "bad": (0.0, 0.0)}
        return dict(zip(shown, values[answer["choice"]], strict=True))
    if "order" in answer:
        return {shown[index]: float(len(shown) - 1 - rank) for rank, index in enumerate(answer["order"])}
    return {
        name: sum(scores.values()) / len(scores) for name, scores in zip(shown, answer["scores"], strict=True)
    }


def vote_label(answer: Mapping[str, Any], shown: Sequence[str], completions: Sequence[str]) -> Hashable:
    """Reduce an answer to its label: two annotators agree on an item if their labels are equal.

    Args:
        answer: the answer; indices refer to `shown`.
        shown: completion ids in the order displayed to this annotator.
        completions: completion ids in the item's own order.

    Returns:
        The `label` of a pair. For a ranking or scores, the indices of the best completions in the item's own
        order, which are several if their mean scores are equal. For scores of a single completion, their mean,
        rounded half up. For a written answer what the annotator did, which no agreement compares.
    """
    if "choice" in answer or is_written(answer):
        return full_label(answer, shown, completions)
    value = worth(answer, shown)
    if len(value) == 1:
        return math.floor(value[completions[0]] + 0.5)
    best = max(value.values())
    return tuple(index for index, name in enumerate(completions) if math.isclose(value[name], best, abs_tol=1e-9))


def full_label(answer: Mapping[str, Any], shown: Sequence[str], completions: Sequence[str]) -> Hashable:
    """Convert an answer to the item's own order, so that annotators who saw different orders can be compared.

    Args:
        answer: the answer; indices refer to `shown`.
        shown: completion ids in the order displayed to this annotator.
        completions: completion ids in the item's own order.

    Returns:
        `a`, `b`, `tie` or `bad` for a pair; the indices of a ranking, best first; for scores, the sorted pairs of
        criterion and score of each completion; `written_label` of a written answer.
    """
    if is_written(answer):
        return written_label(answer)
    if "choice" in answer:
        if answer["choice"] in ("tie", "bad"):
            return str(answer["choice"])
        return "ab"[completions.index(shown[("first", "second").index(answer["choice"])])]
    if "order" in answer:
        return tuple(completions.index(shown[index]) for index in answer["order"])
    by_id = dict(zip(shown, answer["scores"], strict=True))
    return tuple(tuple(sorted(by_id[name].items())) for name in completions)
