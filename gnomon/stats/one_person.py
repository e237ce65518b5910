"""Leave-one-out targets: what one person chose between two texts, and what the others chose.

A judge can be measured against the same targets as the person, which makes the two comparable; against the
majority of everybody it would have one vote more on its side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One person's vote between two texts, and the direction of the others.

    Attributes:
        vote: 1 for the first text, 0 for the second, between for a tie or a probability.
        others: 1 if the others prefer the first text, -1 if they prefer the second.
    """

    vote: float
    others: int

    def agreement(self, difference: float) -> float:
        """Return whether a judge with that difference of scores agrees with the others; a tie counts half."""
        return 0.5 + 0.5 * float(np.sign(difference)) * self.others

    @property
    def person(self) -> float:
        """Whether the person agrees with the others; a tie counts half."""
        return self.agreement(self.vote - 0.5)


def from_votes(votes: Sequence[float]) -> tuple[LeftOut, ...]:
    """Return each person's vote with the direction of the others; those whose others are tied are left out.

    Args:
        votes: for each person 1 for the first text, 0 for the second, 0.5 for a tie.
    """
    if len(votes) < 2:
        return ()
    total = sum(votes)
    rest = [(total - vote) / (len(votes) - 1) - 0.5 for vote in votes]
    return tuple(
        LeftOut(vote, 1 if gap > 0 else -1) for vote, gap in zip(votes, rest, strict=True) if abs(gap) > 1e-12
    )


def from_ratings(
    first: Sequence[float], second: Sequence[float], raters: tuple[Sequence[str], Sequence[str]] = ((), ())
) -> tuple[LeftOut, ...]:
    """Return one rating of each text with the direction of the means of the remaining ones.

    With names, a person is who rated both texts. Without, each combination of a rating of the first text and one
    of the second is as good as any other, and all are returned.

    Args:
        first: ratings of the first text.
        second: ratings of the second text.
        raters: names of the raters of each; empty if unknown.
    """
    if len(first) < 2 or len(second) < 2:
        return ()
    if all(raters) and all(map(all, raters)):
        at: list[Mapping[str, int]] = [{name: n for n, name in enumerate(names)} for names in raters]
        chosen = [(at[0][name], at[1][name]) for name in raters[0] if name in at[1]]
    else:
        chosen = [(i, j) for i in range(len(first)) for j in range(len(second))]
    results = []
    for i, j in chosen:
        gap = (sum(first) - first[i]) / (len(first) - 1) - (sum(second) - second[j]) / (len(second) - 1)
        if abs(gap) > 1e-12:
            vote = 0.5 + 0.5 * float(np.sign(first[i] - second[j]))
            results.append(LeftOut(vote, 1 if gap > 0 else -1))
    return tuple(results)
