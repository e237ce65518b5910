"""Request bodies of the annotation server, validated before anything is stored."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from fastapi import HTTPException
from pydantic import BeforeValidator, Field

from gnomon.core.config import Settings
from gnomon.core.ranges import Range, Share
from gnomon.feedback.store.access import User
from gnomon.feedback.written_answers import MAX_TEXT_CHARS

DAY = 86_400.0


def _writable(value: Any) -> Any:
    """Replace what a database cannot store: NUL, lone surrogates, infinite numbers."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "")
    if isinstance(value, dict):
        return {_writable(name): _writable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_writable(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _within_a_day(seconds: Any) -> Any:
    """Clip a duration to [0, 1 day], so that a changed clock or a page left open invalidates no judgement."""
    known = isinstance(seconds, int | float) and seconds == seconds
    return min(max(float(seconds), 0.0), DAY) if known else 0.0


LongText = Annotated[str, BeforeValidator(_writable), Field(max_length=MAX_TEXT_CHARS)]
ShortText = Annotated[str, BeforeValidator(_writable), Field(min_length=1, max_length=200)]
AnswerObject = Annotated[dict[str, Any], BeforeValidator(_writable)]
Confidence = Share
Seconds = Annotated[
    float, Range("durations are clipped to one day", ge=0, le=DAY), BeforeValidator(_within_a_day)
]
ItemNumber = Annotated[int, Range("items are numbered from 1", ge=1, lt=2**31)]
VoteCount = Annotated[int, Range("it counts judgements of an item", ge=1, le=1000)]
Id = Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


class PagePayload(Settings):
    """Base of requests that a page sends for the user it was rendered for.

    Several people may use one browser: a tab rendered for one user must not act for the next.

    Attributes:
        who: annotator for whom the page was rendered; `None` from programs.
    """

    who: str | None = Field(default=None, max_length=200)

    def check(self, user: User) -> None:
        """Check that the page was rendered for the user who sends the request.

        Raises:
            HTTPException: it was rendered for another user.
        """
        if self.who not in (None, user.annotator):
            raise HTTPException(403, "This page belongs to another user; open your link again.")


class TimeSpent(Settings):
    """Seconds spent on the item: active, and without input."""

    active: Seconds
    idle: Seconds


class JudgementPayload(PagePayload):
    """A judgement to submit.

    Attributes:
        id: UUID that the page generates once per judgement.
        who: required from programs too, since a judgement may be sent long after it was made.
        answer: label in the format of the project's task, validated by `feedback.task_types`.
    """

    id: str = Id
    who: str = Field(max_length=200)
    item: ItemNumber
    answer: AnswerObject
    reason: LongText = ""
    confidence: Confidence | None = None
    corrects: str | None = Field(default=None, max_length=36)
    seconds: TimeSpent


class QuestionPayload(PagePayload):
    """The answer to a question that qualifies the annotator.

    Attributes:
        id: UUID that the page generates once per answer.
        answer: answer in the format of the project's task, validated by `feedback.task_types`.
    """

    id: str = Id
    item: ItemNumber
    answer: AnswerObject


class ItemPayload(PagePayload):
    """A request about one item."""

    item: ItemNumber


class DraftPayload(PagePayload):
    """An unfinished judgement; only what can be stored is checked."""

    item: ItemNumber
    answer: AnswerObject | None = None
    reason: LongText = ""
    confidence: Confidence | None = None
    seconds: TimeSpent | None = None


class SkipPayload(PagePayload):
    """A skipped item."""

    item: ItemNumber
    reason: LongText = ""


class InvitePayload(Settings):
    """A person to invite."""

    name: ShortText
    role: Literal["admin", "reviewer", "annotator"] = "annotator"


class NewLinkPayload(Settings):
    """An annotator who needs a new link."""

    id: str = Field(max_length=200)


class AnnotatorStatePayload(Settings):
    """An annotator's new state."""

    id: str = Field(max_length=200)
    state: Literal["active", "paused", "withdrawn"]


class GoldPayload(Settings):
    """The known answer of an item, in the item's own order of completions; `None` removes it."""

    item: ItemNumber
    answer: AnswerObject | None


class DecisionPayload(Settings):
    """A reviewer's decision on an item, in the item's own order of completions.

    Attributes:
        id: UUID that the page generates once per decision.
        corrects: id of the decision that the page showed and this one replaces.
    """

    id: str = Id
    item: ItemNumber
    answer: AnswerObject
    reason: LongText = ""
    corrects: str | None = Field(default=None, max_length=36)


class SetupPayload(Settings):
    """A project's title, guidelines and settings; `settings` are validated by `feedback.task_types`."""

    title: Annotated[str, BeforeValidator(_writable), Field(min_length=1, max_length=500)]
    guidelines: Annotated[str, BeforeValidator(_writable), Field(max_length=100_000)] = ""
    votes_per_item: VoteCount
    max_votes: VoteCount
    settings: AnswerObject
