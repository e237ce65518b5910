"""Verdicts between two answers: numbers and words, whatever the columns are called.

A number has a meaning only beside numbered columns: 1 and 2 beside `response_1` and `response_2`, 0 and 1 beside
`response_0` and `response_1`. Between 1 and 2 it is the probability that the second is better, plus 1. Other
values are refused: which answer they mean would be a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gnomon.core.errors import DataError
from gnomon.data.reading.row_fields import brief, filled

STEMS = (
    "response", "answer", "output", "completion", "generation", "candidate", "reply", "summary", "continuation",
    "assistant", "option", "sample",
)  # fmt: skip
SUFFIXES = (("1", "2"), ("0", "1"), ("a", "b"))
NEXT = {"1": "3", "0": "2", "a": "c"}  # the suffix of a third answer
COLUMN = re.compile(rf"({'|'.join(STEMS)})([ _-]?)([a-z0-9])", re.IGNORECASE)
MODEL = re.compile(r"model[ _-]?([a-z0-9])(?:[ _-]?name)?", re.IGNORECASE)
TIES = frozenset({
    "tie", "ties", "tied", "draw", "same", "equal", "both", "neither", "no preference", "both good", "both bad",
    "bothbad", "tie (bothbad)", "tie (both bad)", "[[c]]", "=", "about the same", "the same", "a tie",
    "equally good", "equally bad", "both are good", "both are bad", "both are equally good",
    "both are equally bad", "no difference", "neither is better",
})  # fmt: skip
ORDINALS = {"first": 1.0, "left": 1.0, "second": 0.0, "right": 0.0}
DEGREE = r"(?:much|far|a lot|significantly|clearly|slightly|somewhat|marginally|a bit|a little)"
BETTER = re.compile(rf"(?P<side>.+?) (?:(?:is|was) (?:{DEGREE} )?(?:the )?(?:better|best|preferred)|wins|won)\.?")
SIGN = re.compile(r"(?:(?P<left>[^<>=]+?)\s*(?P<sign>>{1,3}|<{1,3}|={1,2})\s*(?P<right>[^<>=]+?))\Z")


class AnswerPair(NamedTuple):
    """Names of the columns of two answers, and the suffixes that tell them apart, in lower case."""

    first: str
    second: str
    suffixes: tuple[str, str]


def answer_pair(row: Mapping[str, Any]) -> AnswerPair | None:
    """Return the columns of a row's two answers; `None` if there are none, more than two, or several pairs."""
    columns: dict[tuple[str, str], dict[str, str]] = {}
    for name in row:
        match = COLUMN.fullmatch(str(name))
        if match:
            columns.setdefault((match[1].lower(), match[2]), {})[match[3].lower()] = name
    pairs = [
        AnswerPair(names[one], names[other], (one, other))
        for names in columns.values()
        for one, other in SUFFIXES
        if one in names and other in names and NEXT[one] not in names
        if filled(row.get(names[one])) or filled(row.get(names[other]))
    ]
    return pairs[0] if len(pairs) == 1 else None


def side_of_model(value: Any, row: Mapping[str, Any]) -> str | None:
    """Return the suffix of the column whose model a verdict names, such as `a` for `model_a`.

    Args:
        value: the verdict.
        row: the row, with the names of the models beside it.

    Returns:
        The suffix in lower case; `None` if no column, or more than one, has the verdict as its model.
    """
    if not isinstance(value, str) or not value.strip():
        return None
    columns = {name: match[1].lower() for name in row if (match := MODEL.fullmatch(str(name)))}
    suffixes = {suffix for name, suffix in columns.items() if row.get(name) == value}
    return suffixes.pop() if len(suffixes) == 1 else None


def vote_for_first(
    value: Any,
    pair: AnswerPair,
    key: str,
    *,
    zero_is_tie: bool = False,
    models: Mapping[str, Any] | None = None,
) -> float:
    """Return the vote that a verdict is: 1 for the first answer, 0 for the second, 0.5 for a tie.

    Args:
        value: the verdict.
        pair: the columns of the answers.
        key: column of the verdict, for messages.
        zero_is_tie: whether 0 is a tie beside answers 1 and 2.
        models: the row, whose columns such as `model_a` have names of models that the verdict may be.

    Raises:
        DataError: the verdict is not known, or means both answers.
    """
    vote = known_vote(value, pair, zero_is_tie=zero_is_tie)
    suffix = None if models is None else side_of_model(value, models)
    if suffix in pair.suffixes:
        by_model = float(suffix == pair.suffixes[0])
        if vote not in (None, by_model):
            raise DataError(f"{key} is {brief(value)}, which is one answer's model and the name of the other")
        vote = by_model
    if vote is None:
        raise DataError(
            f"{key} is {brief(value)}, which is no verdict between {pair.first} and {pair.second}; a tie is 'tie'"
        )
    return vote


def known_vote(value: Any, pair: AnswerPair, *, zero_is_tie: bool = False) -> float | None:
    """Return the vote of a number or a word as `vote_for_first` does; `None` if it is no verdict.

    Args:
        value: the verdict.
        pair: the columns of the answers.
        zero_is_tie: whether 0 is a tie beside answers 1 and 2.
    """
    vote = _by_number(value, pair, zero_is_tie)
    return _by_word(value, pair) if vote is None else vote


def _by_number(value: Any, pair: AnswerPair, zero_is_tie: bool) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or pair.suffixes[0] == "a":
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if pair.suffixes == ("0", "1"):
        return 1 - number if number in (0, 1) else None
    if number == 0 and zero_is_tie:
        return 0.5
    return 2 - number if 1 <= number <= 2 else None


def _by_word(value: Any, pair: AnswerPair) -> float | None:
    if not isinstance(value, str):
        return None
    word = " ".join(value.lower().split())
    if word in TIES:
        return 0.5
    if word.startswith("[[") and word.endswith("]]"):
        word = word[2:-2].strip()
    if (better := BETTER.fullmatch(word)) is not None:
        return _side(better["side"], pair)
    comparison = SIGN.match(word)
    if comparison is None:
        return _side(word, pair)
    left, right = _side(comparison["left"], pair), _side(comparison["right"], pair)
    if left is None or right is None or left == right:
        return None
    sign = comparison["sign"][0]
    return 0.5 if sign == "=" else left if sign == ">" else right


def _side(word: str, pair: AnswerPair) -> float | None:
    """Return which answer a word names: 1 for the first, 0 for the second."""
    if word in ORDINALS:
        return ORDINALS[word]
    for name, suffix, letter, vote in (
        (pair.first, pair.suffixes[0], "a", 1.0),
        (pair.second, pair.suffixes[1], "b", 0.0),
    ):
        named = re.fullmatch(rf"(?:{'|'.join(STEMS)}|model)[ _-]?({suffix}|{letter})", word)
        if word in (name.lower(), suffix, letter) or named:
            return vote
    return None
