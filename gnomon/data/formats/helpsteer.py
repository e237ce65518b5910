"""NVIDIA's HelpSteer: answers with five scores, and comparisons of two answers with a strength.

Wang et al. 2024, arXiv 2406.08673 and 2410.01257; Wang et al. 2025, arXiv 2505.11475.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gnomon.core.errors import DataError
from gnomon.core.types import NamedScores, Preference, RatedText
from gnomon.data.formats.common.judged_answers import SAME, preference, share_of, share_of_ties
from gnomon.data.formats.contract import Format, JoinedRow, UnusedRow
from gnomon.data.reading.media.columns import media_cells
from gnomon.data.reading.readers import Row, ScannedRow
from gnomon.data.reading.row_fields import listed, mapping, number, required, text

SCORES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
ALONE = "no row beside it has the same prompt"
TURN = re.compile(r"\n<extra_id_1>(User|Assistant)\n")
STRONGEST = 3


class HelpSteer(Format):
    """One answer a row with five scores; two neighboring rows with one prompt are a preference.

    Pairs are compared by helpfulness, and texts are rated by it; named scores have all five.
    """

    name = "helpsteer"
    title = "HelpSteer answers with scores"
    kinds = (Preference, RatedText, NamedScores)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """A response with all five scores."""
        if row.get("response") is not None and all(row.get(score) is not None for score in SCORES):
            return f"a response has {', '.join(SCORES[:-1])} and {SCORES[-1]}"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Return the row's answer, rated by helpfulness, or with its five scores."""
        own = _rated("", row)
        if kind is NamedScores:
            scores = {score: number(row, score, 0.0, 0.0, 4.0) for score in SCORES}
            yield {"prompt": own.prompt, "completion": own.answer, "scores": scores}
            return
        yield {"prompt": own.prompt, "text": own.answer, "rating": own.helpfulness}

    def scan(self, kind: type, rows: Iterable[ScannedRow]) -> Iterator[ScannedRow]:
        """Pair each row with the next one of its prompt; one row is in memory at a time."""
        if kind is not Preference:
            yield from super().scan(kind, rows)
            return
        waiting: _RatedAnswer | None = None
        for where, row in rows:
            try:
                if isinstance(row, DataError):
                    raise row
                current = _rated(where, row)
            except DataError as error:
                yield where, error
                continue
            if waiting is not None and (waiting.prompt, waiting.media) == (current.prompt, current.media):
                yield from _pair(waiting, current)
                waiting = None
                continue
            if waiting is not None:
                yield waiting.where, UnusedRow(ALONE)
            waiting = current
        if waiting is not None:
            yield waiting.where, UnusedRow(ALONE)


class HelpSteerPreferences(Format):
    """Two answers with a strength from −3, the first is much better, to 3, the second is.

    The probability is the share of the annotators who prefer the chosen answer, the margin the overall strength.
    """

    name = "helpsteer-preference"
    title = "HelpSteer comparisons"
    kinds = (Preference,)

    def evidence(self, row: Mapping[str, Any]) -> str | None:
        """Two responses with `overall_preference` or `preference_strength`."""
        for columns in COMPARISONS:
            if all(row.get(key) is not None for key in columns[:3]):
                return f"{columns[0]} and {columns[1]} have {columns[2]}"
        return None

    def convert(self, kind: type, row: Mapping[str, Any]) -> Iterable[Row]:
        """Count the annotators' preferences where the row has them, else the overall one."""
        columns = next((one for one in COMPARISONS if row.get(one[2]) is not None), COMPARISONS[0])
        required(row, columns[2])
        overall = _strength(row, columns[2])
        votes = [_strength(mapping(one), *VOTES) for one in listed(row.get(columns[3]) or [], columns[3])]
        shares = [share_of(0, vote) for vote in votes or [overall]]
        share, tie = sum(shares) / len(shares), share_of_ties(shares)
        prompt = row.get("context") if row.get("context") is not None else _turns(required(row, "prompt"))
        sides = [text(required(row, key), key) for key in columns[:2]]
        yield preference({"prompt": prompt}, sides[0], sides[1], share, -overall, tie=tie)


COMPARISONS = (  # columns of the two answers, of the overall strength, and of the annotators' own
    ("response1", "response2", "overall_preference", "individual_preference"),
    ("response_1", "response_2", "preference_strength", "three_most_similar_preferences"),
)
VOTES = ("score", "strength")


class _RatedAnswer(NamedTuple):
    """An answer, the position of its row, and its helpfulness."""

    where: str
    prompt: Any
    answer: str
    helpfulness: float
    media: Row


def _rated(where: str, row: Mapping[str, Any]) -> _RatedAnswer:
    for score in SCORES:
        required(row, score)
    prompt, answer = _turns(required(row, "prompt")), text(required(row, "response"), "response")
    return _RatedAnswer(where, prompt, answer, number(row, "helpfulness", 0.0, 0.0, 4.0), media_cells(row))


def _pair(first: _RatedAnswer, second: _RatedAnswer) -> Iterator[ScannedRow]:
    if first.answer == second.answer:
        yield first.where, UnusedRow(SAME)
        yield second.where, UnusedRow(SAME)
        return
    scores = first.helpfulness, second.helpfulness
    prompt = {"prompt": first.prompt, **first.media}
    yield first.where, preference(prompt, first.answer, second.answer, share_of(*scores), scores[0] - scores[1])
    yield second.where, JoinedRow()


def _strength(row: Mapping[str, Any], *keys: str) -> float:
    required(row, *keys)
    key = next(key for key in keys if row.get(key) is not None)
    return number(row, key, 0.0, -STRONGEST, STRONGEST)


def _turns(prompt: Any) -> Any:
    """Split a prompt of several turns, which marks `<extra_id_1>` separate."""
    if not isinstance(prompt, str) or not TURN.search(prompt):
        return prompt
    pieces = TURN.split(prompt)
    turns = [{"role": "user", "content": pieces[0]}]
    return turns + [
        {"role": role.lower(), "content": content}
        for role, content in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
