"""What an annotator's page may send, checked before anything is kept."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from fastapi import HTTPException
from pydantic import BeforeValidator, Field

from gnomon.core.config import Settings
from gnomon.core.ranges import Range, Share
from gnomon.feedback.store.access import User
from gnomon.feedback.task_types import MAX_TEXT_CHARS

DAY = 86_400.0


def _writable(value: Any) -> Any:
    """What a database can hold of a value: no NUL, no half of a surrogate pair, no number without end."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "")
    if isinstance(value, dict):
        return {_writable(name): _writable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_writable(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _within_a_day(seconds: Any) -> Any:
    """A clock that was set, or a page that stood open over a weekend, costs nobody an answer."""
    known = isinstance(seconds, int | float) and seconds == seconds
    return min(max(float(seconds), 0.0), DAY) if known else 0.0


LongText = Annotated[str, BeforeValidator(_writable), Field(max_length=MAX_TEXT_CHARS)]
ShortText = Annotated[str, BeforeValidator(_writable), Field(min_length=1, max_length=200)]
AnswerObject = Annotated[dict[str, Any], BeforeValidator(_writable)]
Confidence = Share
Seconds = Annotated[float, Range("no more of a day is counted", ge=0, le=DAY), BeforeValidator(_within_a_day)]
ItemNumber = Annotated[int, Range("items are numbered from 1", ge=1, lt=2**31)]
VoteCount = Annotated[int, Range("it counts judgements of an item", ge=1, le=1000)]
Id = Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


class PagePayload(Settings):
    """What a page sends for the person it was made for.

    Several may use one browser: a tab that stood open since another came in works for nobody.

    Attributes:
        who: the annotator for whom the page was made; programs need not say it.
    """

    who: str | None = Field(default=None, max_length=200)

    def check(self, user: User) -> None:
        """Compare with who sent it.

        Raises:
            HTTPException: they are not the same.
        """
        if self.who not in (None, user.annotator):
            raise HTTPException(403, "This page is somebody else's; open your link again.")


class TimeSpent(Settings):
    """Seconds at the item: active, and without a sign of life."""

    active: Seconds
    idle: Seconds


class JudgementPayload(PagePayload):
    """An answer with everything around it.

    Attributes:
        id: made by the page, once.
        who: said by programs too: an answer may come long after it was made.
        answer: of the project's task, as `feedback.answers` checks it.
    """

    id: str = Id
    who: str = Field(max_length=200)
    item: ItemNumber
    answer: AnswerObject
    reason: LongText = ""
    confidence: Confidence | None = None
    corrects: str | None = Field(default=None, max_length=36)
    seconds: TimeSpent


class ItemPayload(PagePayload):
    """An item that something is asked about."""

    item: ItemNumber


class DraftPayload(PagePayload):
    """What was answered so far: not yet an answer, so only what can be kept is checked."""

    item: ItemNumber
    answer: AnswerObject | None = None
    reason: LongText = ""
    confidence: Confidence | None = None


class SkipPayload(PagePayload):
    """An item given back."""

    item: ItemNumber
    reason: LongText = ""


class InvitePayload(Settings):
    """Someone to be invited."""

    name: ShortText
    role: Literal["admin", "reviewer", "annotator"] = "annotator"


class NewLinkPayload(Settings):
    """Someone who needs another link."""

    id: str = Field(max_length=200)


class AnnotatorStatePayload(Settings):
    """What becomes of an annotator."""

    id: str = Field(max_length=200)
    state: Literal["active", "paused", "withdrawn"]


class GoldPayload(Settings):
    """An item's known answer, on its completions in its own order; `None`: it is known no longer."""

    item: ItemNumber
    answer: AnswerObject | None


class DecisionPayload(Settings):
    """What a reviewer decides of an item, on its completions in its own order.

    Attributes:
        id: made by the page, once.
        corrects: the decision that the page showed.
    """

    id: str = Id
    item: ItemNumber
    answer: AnswerObject
    reason: LongText = ""
    corrects: str | None = Field(default=None, max_length=36)


class SetupPayload(Settings):
    """How a project asks; `settings` are checked by `feedback.answers`."""

    title: Annotated[str, BeforeValidator(_writable), Field(min_length=1, max_length=500)]
    guidelines: Annotated[str, BeforeValidator(_writable), Field(max_length=100_000)] = ""
    votes_per_item: VoteCount
    max_votes: VoteCount
    settings: AnswerObject
