"""Single answers with a judgement: numbers, words of a Likert scale, thumbs up or down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Label, RatedText
from gnomon.data.formats.common.question_columns import (
    RATERS,
    answer_column,
    has_question,
    question_of,
    rating_column,
)
from gnomon.data.formats.contract import Format, UnusedRow, has_value
from gnomon.data.reading.counting import counted
from gnomon.data.reading.readers import Row
from gnomon.data.reading.row_fields import brief, filled, finite, text

LIKERT = {  # five points, worst first
    word: float(points)
    for words in (
        ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
        ("strongly disagree", "disagree", "neither agree nor disagree", "agree", "strongly agree"),
        ("very bad", "bad", "average", "good", "very good"),
        ("very poor", "poor", "fair", "good", "excellent"),
        ("very dissatisfied", "dissatisfied", "neutral", "satisfied", "very satisfied"),
        ("非常不同意", "不同意", "中立", "同意", "非常同意"),
        ("非常差", "差", "一般", "好", "非常好"),
        ("非常不满意", "不满意", "一般", "满意", "非常满意"),
    )
    for points, word in enumerate(words, start=1)
}
THUMBS = ("thumbs", "thumb", "thumbs_up", "feedback", "vote", "reaction", "liked")
UP = frozenset(
    {"up", "thumbs up", "thumbs_up", "thumbsup", "👍", "like", "liked", "upvote", "positive", "+1", "1"}
)
DOWN = frozenset({
    "down", "thumbs down", "thumbs_down", "thumbsdown", "👎", "dislike", "disliked", "downvote", "negative", "-1",
})  # fmt: skip


class RatedAnswers(Format):
    """An answer with numbers or words of a five-point scale, from one rater or several."""

    name = "ratings"
    title = "answers with ratings"
    kinds = (RatedText,)
    general = True

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """One answer and a rating, and no label."""
        answer, column = answer_column(row), rating_column(row)
        if answer is None or column is None or not isinstance(row[answer], str):
            return None
        if answer == "completion" and has_value(row, "label", "good"):
            return None
        value = row[column]
        rated = all(_is_rating(one) for one in (value if isinstance(value, list) else [value]))
        return f"{answer} has a {column}" if rated else None

    def is_certain(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether each row has an answer with a number, and none a label."""
        return all(
            self.evidence(row) is not None
            and _is_number(row[str(rating_column(row))])
            and not has_value(row, "label", "good")
            for row in rows
        )

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Read the ratings as numbers; words of a five-point scale are 1 to 5."""
        answer, column = answer_column(row), rating_column(row)
        if answer is None:
            raise DataError("it has no single column with an answer")
        if column is None:
            raise UnusedRow("it has no rating")
        own: Row = {"text": text(row[answer], answer)}
        if has_question(row):
            own.update(question_of(row))
        value = row[column]
        rater = next((row[name] for name in RATERS if filled(row.get(name))), None)
        if not isinstance(value, list):
            yield {**own, "rating": _rating(value, column), **({} if rater is None else {"rater": rater})}
            return
        ratings = [_rating(one, column) for one in value]
        raters = rater if isinstance(rater, list) else [None] * len(ratings)
        if len(raters) != len(ratings):
            raise DataError(f"it has {counted(len(ratings), 'ratings')} and {counted(len(raters), 'raters')}")
        if not filled(row.get("id")):
            raise DataError(f"{column} is a list, and the answer has no id; give each answer an id of its own")
        yield {**own, "id": row["id"], "ratings": ratings, **({"raters": raters} if rater is not None else {})}


class Thumbs(Format):
    """An answer with a thumb up or down."""

    name = "thumbs"
    title = "answers with thumbs up or down"
    kinds = (Label,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """An answer with a known sign under one of the usual keys."""
        column = _thumb_column(row)
        if column is None or not (answer_column(row) or filled(row.get("messages"))):
            return None
        return f"{column} holds thumbs up or down" if _thumb(row[column], column) is not None else None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Label the answer good for a thumb up, bad for one down."""
        column = _thumb_column(row)
        if column is None:
            raise UnusedRow("nobody gave it a thumb")
        label = _thumb(row[column], column)
        if label is None:
            raise DataError(f"{column} is {brief(row[column])}, neither thumbs up nor down")
        answer = answer_column(row)
        if answer is not None:
            yield {**question_of(row), "completion": row[answer], "label": label}
        elif filled(row.get("messages")):
            yield {"messages": row["messages"], "label": label}
        else:
            raise DataError("it has no single column with an answer, and no messages")


def _is_rating(value: Any) -> bool:
    try:
        _rating(value, "")
    except DataError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return _is_rating(value) and " ".join(str(value).lower().split()) not in LIKERT


def _rating(value: Any, column: str) -> float:
    word = " ".join(value.lower().split()) if isinstance(value, str) else None
    if word in LIKERT:
        return LIKERT[word]
    try:
        return finite(value, column)
    except DataError:
        raise DataError(f"{column} is {brief(value)}, neither a number nor a word of a known scale") from None


def _thumb_column(row: Mapping[str, Any]) -> str | None:
    return next((name for name in THUMBS if filled(row.get(name))), None)


def _thumb(value: Any, column: str) -> bool | None:
    """Return whether a thumb is up; `None` if the value is not known."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    if column in ("thumbs_up", "liked") and word in ("true", "false", "0", "yes", "no"):
        return word in ("true", "yes")
    return True if word in UP else False if word in DOWN else None
