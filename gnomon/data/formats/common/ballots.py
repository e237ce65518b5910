"""Annotators' judgements of one prompt's answers, as annotation tools export them, and the records they make.

A choice between two answers is a ranking of two. Preferences count the rankings of all annotators, pair by pair,
ties half; rankings are one for each annotator, with a weight of 1 over their number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from gnomon.core.errors import DataError
from gnomon.core.types import Preference, Ranking, RatedText
from gnomon.data.formats.common.judged_answers import SAME, ScoredAnswer, preference, ranking, share_of_ties
from gnomon.data.formats.common.question_columns import QUESTIONS, answer_column, has_question, question_of
from gnomon.data.formats.contract import UnusedRow
from gnomon.data.reading.media.columns import media_cells
from gnomon.data.reading.readers import Row, ScannedRow
from gnomon.data.reading.row_fields import text

NOBODY = "nobody has judged it"


@dataclass(frozen=True)
class Ballot:
    """One annotator's judgement of one prompt's answers.

    Attributes:
        annotator: name or number; "" if unknown.
        ranks: rank of each answer by its name, 1 for the best; equal ranks are a tie. Empty for a rating.
        rating: the number that a single answer got.
    """

    annotator: str
    ranks: Mapping[str, float] = field(default_factory=dict)
    rating: float | None = None

    def vote(self, first: str, second: str) -> float:
        """Return the vote between two answers: 1 for the first, 0 for the second, 0.5 for a tie.

        Ranks that are less than 1 apart are a vote in between: the probability that a judge gave.
        """
        return 0.5 + 0.5 * min(1.0, max(-1.0, self.ranks[second] - self.ranks[first]))


@dataclass(frozen=True)
class JudgedPrompt:
    """A prompt with its answers and what annotators chose.

    Attributes:
        id: of the task; ratings are kept under it.
        prompt: the keys of the prompt in Gnomon's own layout; empty if there is none.
        answers: by name.
        ballots: of the annotators who judged them.
    """

    id: str
    prompt: Row
    answers: Mapping[str, Any]
    ballots: list[Ballot]

    def rows(self, kind: type) -> list[Row]:
        """Return the records of a kind as rows in Gnomon's own layout.

        Raises:
            UnusedRow: nobody has judged the answers, or all are the same.
            DataError: the judgements are of another kind, or the answers are to no prompt.
        """
        if not self.ballots:
            raise UnusedRow(NOBODY)
        if (
            not self.prompt
            and kind is not RatedText
            and not all(isinstance(a, list) for a in self.answers.values())
        ):
            raise DataError(f"it has no prompt; give it one under {', '.join(QUESTIONS[:3])} or messages")
        if kind is Preference:
            return self._preferences()
        if kind is Ranking:
            weight = 1 / len(self.ballots)
            return [ranking(self.prompt, self._scored(ballot), weight) for ballot in self.ballots]
        return [self._rated_text()]

    def pair_votes(self) -> list[tuple[str, str, list[float]]]:
        """Return each two different answers that somebody compared, with the votes for the first of them."""
        pairs = []
        for first, second in itertools.combinations(self.answers, 2):
            votes = [one.vote(first, second) for one in self.ballots if {first, second} <= one.ranks.keys()]
            if votes and self.answers[first] != self.answers[second]:
                pairs.append((first, second, votes))
        return pairs

    def _preferences(self) -> list[Row]:
        rows = [
            preference(
                self.prompt,
                self.answers[first],
                self.answers[second],
                sum(votes) / len(votes),
                tie=share_of_ties(votes),
            )
            for first, second, votes in self.pair_votes()
        ]
        if not rows:
            raise UnusedRow(SAME if len(self.answers) == 2 else "no two different answers are compared")
        return rows

    def _scored(self, ballot: Ballot) -> list[ScoredAnswer]:
        return [ScoredAnswer(self.answers[name], -rank) for name, rank in ballot.ranks.items()]

    def _rated_text(self) -> Row:
        if len(self.answers) != 1:
            raise DataError(f"it has ratings and {len(self.answers)} answers, where one is expected")
        (answer,) = self.answers.values()
        ratings = [one.rating for one in self.ballots if one.rating is not None]
        raters = [one.annotator or None for one in self.ballots if one.rating is not None]
        return {**self.prompt, "id": self.id, "text": answer, "ratings": ratings, "raters": raters}


ScannedPrompt = tuple[str, JudgedPrompt | DataError]
"""The position of a prompt in its file, and the judged prompt or the reason why there is none."""


@runtime_checkable
class AnnotatedFormat(Protocol):
    """A format whose rows have the judgements of single annotators."""

    def judged(self, kind: type, row: Mapping[str, Any]) -> JudgedPrompt:
        """Return a row's prompt, answers and judgements, before they are counted.

        Args:
            kind: preferences, rankings or rated texts.
            row: a row of the file.

        Raises:
            UnusedRow: nobody has judged it.
            DataError: the row is damaged.
        """
        ...

    def scan_judged(self, kind: type, rows: Iterable[ScannedRow]) -> Iterator[ScannedPrompt]:
        """Yield the prompts of a file with all their judgements, each with its position, or a row's error.

        Args:
            kind: preferences, rankings or rated texts.
            rows: all rows of the file.
        """
        ...


class JudgedRows:
    """A format whose rows each have all judgements of a prompt."""

    def judged(self, kind: type, row: Mapping[str, Any]) -> JudgedPrompt:
        """Return a row's prompt, answers and judgements, before they are counted."""
        raise NotImplementedError

    def scan_judged(self, kind: type, rows: Iterable[ScannedRow]) -> Iterator[ScannedPrompt]:
        """Yield what `judged` returns for each row, or its error."""
        for where, row in rows:
            try:
                if isinstance(row, DataError):
                    raise row
                judged = self.judged(kind, row)
            except DataError as error:
                yield where, error
                continue
            media = media_cells(row) if judged.prompt else {}
            yield where, replace(judged, prompt={**media, **judged.prompt}) if media else judged


def ranked_ballot(annotator: str, names: list[list[str]], answers: Mapping[str, Any]) -> Ballot:
    """Return the ballot of a ranking.

    Args:
        annotator: who judged.
        names: the names of the answers, best first; those in one list are tied.
        answers: the known answers.

    Raises:
        DataError: a name is unknown, or occurs twice.
    """
    ranks: dict[str, float] = {}
    for rank, tied in enumerate(names, start=1):
        for name in tied:
            if name not in answers or name in ranks:
                fault = "twice" if name in ranks else f"and the answers are {', '.join(answers) or 'none'}"
                raise DataError(f"a ranking has '{name}' in it, {fault}")
            ranks[name] = float(rank)
    return Ballot(annotator, ranks)


def pair_ballot(annotator: str, names: tuple[str, str], vote: float) -> Ballot:
    """Return the ballot of a choice between two answers.

    Args:
        annotator: who judged.
        names: of the two answers.
        vote: 1 for the first, 0 for the second, 0.5 for a tie.
    """
    first, second = names
    return Ballot(annotator, {first: 2 - vote, second: 1 + vote})


def prompt_fields(fields: Mapping[str, Any]) -> Row:
    """Return the prompt of a task; empty if it has none."""
    return {**question_of(fields), **media_cells(fields)} if has_question(fields) else {}


def single_answer(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the one answer of a task that rates it, by its name; a `text` may be it.

    Raises:
        DataError: the task has none, or several.
    """
    name = answer_column(fields) or ("text" if fields.get("text") is not None else None)
    if name is None:
        raise DataError("it rates an answer, but has no single field with one, such as response")
    return {name: text(fields[name], name)}


def task_id(row: Mapping[str, Any]) -> str:
    """Return the id of a task as text; "" if it has none."""
    own = row.get("id")
    return "" if own is None else text(str(own), "id")
