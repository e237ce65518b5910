"""Rows in Gnomon's own layout, made from judged answers to one prompt: preferences, rankings, checked scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.data.formats.contract import UnusedRow
from gnomon.data.reading.readers import Row

TIE = 0.5  # the vote of one who calls two answers equal
SAME = "both answers are the same"


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer with a score.

    Attributes:
        completion: a text, or messages.
        score: a number; higher is better.
    """

    completion: Any
    score: float


def preference(
    prompt: Row, first: Any, second: Any, share: float, margin: float = 0.0, *, tie: float | None = None
) -> Row:
    """Return a preference between two answers; the one with more votes is chosen.

    Args:
        prompt: the keys of the prompt: `prompt`, `system`; none where the answers are whole conversations.
        first: an answer.
        second: another answer.
        share: share of the votes for the first, ties counted half.
        margin: score of the first minus that of the second, where there are scores.
        tie: share of the votes for a tie; by default the share is one vote, and one half is a tie.

    Raises:
        UnusedRow: the answers are equal.
    """
    if first == second:
        raise UnusedRow(SAME)
    if share < 0.5 or (share == 0.5 and margin < 0):
        first, second, share, margin = second, first, 1 - share, -margin
    tied = float(share == TIE) if tie is None else tie
    row = {**prompt, "chosen": first, "rejected": second, "probability": share}
    return {**row, **({"margin": margin} if margin else {}), **({"tie": tied} if tied else {})}


def share_of_ties(votes: Sequence[float]) -> float:
    """Return the share of ties among votes, each 1 for the first answer, 0 for the second, 0.5 for a tie."""
    return sum(vote == TIE for vote in votes) / len(votes)


def preferences(prompt: Row, answers: Sequence[ScoredAnswer], *, margins: bool = True) -> list[Row]:
    """Return a preference for each pair of answers; equal scores are a tie, with probability 0.5.

    Args:
        prompt: the keys of the prompt.
        answers: in any order.
        margins: whether the difference of two scores is the margin of the pair; not for ranks.

    Raises:
        UnusedRow: no two answers differ.
    """
    rows = [
        preference(prompt, a.completion, b.completion, share_of(a.score, b.score), (a.score - b.score) * margins)
        for a, b in itertools.combinations(answers, 2)
        if a.completion != b.completion
    ]
    if not rows:
        raise UnusedRow("it has no two different answers")
    return rows


def ranking(prompt: Row, answers: Iterable[ScoredAnswer], weight: float = 1.0) -> Row:
    """Return the ranking of the answers by score; of answers with equal scores it holds the first.

    A Plackett–Luce model of all answers is also one of any subset of them, so a ranking without the tied rest is
    exact, while an order among the tied would be made up.

    Args:
        prompt: the keys of the prompt.
        answers: in any order.
        weight: weight of the ranking.

    Raises:
        UnusedRow: fewer than two answers differ in text and score.
    """
    best_first: list[ScoredAnswer] = []
    for one in sorted(answers, key=lambda answer: -answer.score):
        tied = best_first and best_first[-1].score == one.score
        if not tied and all(one.completion != other.completion for other in best_first):
            best_first.append(one)
    if len(best_first) < 2:
        raise UnusedRow("its answers are tied or the same, which is no ranking")
    row = {**prompt, "completions": [one.completion for one in best_first]}
    return row if weight == 1 else {**row, "weight": weight}


def share_of(first: float, second: float) -> float:
    """Return the vote that two scores are: 1 for the first, 0 for the second, 0.5 for a tie."""
    return (first > second) + 0.5 * (first == second)
