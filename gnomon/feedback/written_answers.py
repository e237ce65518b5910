"""Written answers: in a project of demonstrations annotators write the answer to a prompt.

A written answer is its text. Where the project requires approval, a second annotator reviews each text: they
approve it, revise it, or reject it. Their answer names the judgement that it reviews, and has the verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import Field

from gnomon.core.config import Settings
from gnomon.core.errors import DataError
from gnomon.feedback.visible_text import visible_length

MAX_TEXT_CHARS = 20_000  # of a text that an annotator writes
Verdict = Literal["approved", "revised", "rejected"]
Outcome = Literal["accepted", "rejected", "unreviewed"]


class WrittenAnswer(Settings):
    """A written text, a review of somebody's text, or its rejection.

    Attributes:
        text: the answer to the prompt; of a review, the text as the reviewer leaves it. `None` if rejected.
        rejected: whether the reviewed text is of no use.
        reviews: id of the reviewed judgement; `None` if the annotator wrote the text.
    """

    text: str | None = None
    rejected: bool = False
    reviews: str | None = Field(default=None, max_length=200)


class AnsweredJudgement(Protocol):
    """A judgement with its id and its answer."""

    @property
    def id(self) -> str:
        """Id of the judgement."""

    @property
    def answer(self) -> Mapping[str, Any]:
        """The answer, as the store keeps it."""


Answered = TypeVar("Answered", bound=AnsweredJudgement)


@dataclass(frozen=True)
class WrittenText(Generic[Answered]):
    """A judgement with a written text, and the judgement that reviews it, if there is one."""

    written: Answered
    review: Answered | None

    def outcome(self, approval: bool) -> Outcome:
        """Return what became of the text; `approval`: whether the project requires a review."""
        if self.review is None:
            return "unreviewed" if approval else "accepted"
        return "rejected" if self.review.answer["verdict"] == "rejected" else "accepted"

    @property
    def text(self) -> str:
        """The text, as a review left it."""
        last = self.written if self.review is None else self.review
        return str(last.answer.get("text", self.written.answer["text"]))


def check_written(answer: WrittenAnswer, min_chars: int, max_chars: int) -> dict[str, Any]:
    """Check a written answer, and return it as the store keeps it: without blank lines around the text.

    Args:
        answer: the answer as the client sent it.
        min_chars: minimum length in visible characters and the spaces between them.
        max_chars: maximum length in characters.

    Raises:
        DataError: the text is missing or invisible, too short or too long, or a rejection has a text.
    """
    reviews = {} if answer.reviews is None else {"reviews": answer.reviews}
    if answer.rejected:
        if answer.text is not None:
            raise DataError("a rejected text has no other text; answer again.")
        return {"rejected": True, **reviews}
    text = tidy(answer.text or "")
    length = visible_length(text)
    if not length:
        raise DataError("there is no text; answer again.")
    if length < min_chars:
        raise DataError(f"the text has {length} characters, and {min_chars} are required; answer again.")
    if len(text) > max_chars:
        raise DataError(f"the text has {len(text)} characters, and {max_chars} are the limit; answer again.")
    return {"text": text, **reviews}


def tidy(text: str) -> str:
    """Return a text with line feeds as line ends and without blank lines around it; indentation stays."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    return "\n".join(lines[first:])


def is_written(answer: Mapping[str, Any]) -> bool:
    """Return whether an answer is a written one, or the review of one."""
    return "text" in answer or "rejected" in answer


def written_label(answer: Mapping[str, Any]) -> str:
    """Return what an annotator did: `written`, or the verdict of a review: `approved`, `revised`, `rejected`."""
    return str(answer.get("verdict") or ("rejected" if answer.get("rejected") else "written"))


def verdict_of(answer: Mapping[str, Any], reviewed: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a review on the answer that it reviews."""
    if answer.get("rejected"):
        return "rejected"
    return "approved" if answer["text"] == reviewed["text"] else "revised"


def written_texts(judgements: Iterable[Answered]) -> list[WrittenText[Answered]]:
    """Return the written texts among an item's judgements, each with its review, in the order of the judgements.

    A review of a judgement that is not among them is left out: its author corrected it, or has withdrawn.
    """
    listed = list(judgements)
    reviews = {one.answer["reviews"]: one for one in listed if "reviews" in one.answer}
    return [WrittenText(one, reviews.get(one.id)) for one in listed if "reviews" not in one.answer]


def without_unmatched_reviews(judgements: Iterable[Answered]) -> list[Answered]:
    """Return an item's judgements without the reviews of texts that are not among them."""
    listed = list(judgements)
    ids = {one.id for one in listed}
    return [one for one in listed if one.answer.get("reviews") is None or one.answer["reviews"] in ids]
