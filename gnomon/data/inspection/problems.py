"""Problems of an inspected file, the most severe first, each with the rows that have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from gnomon.data.inspection.inspect import Inspection
from gnomon.data.inspection.outline import Outline
from gnomon.data.reading.counting import counted, verb
from gnomon.data.reading.media.parts import UNREAD
from gnomon.data.reading.media.values import NOUNS

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
ROWS_NAMED = 5
FEW = 20  # preferences, from which on a share is worth a warning
LENGTH_SHARE = 0.6  # share of pairs that length alone predicts, from which on it is worth a warning


@dataclass(frozen=True)
class Problem:
    """One kind of problem of a file.

    Attributes:
        severity: `error` for rows that are not used, here or in training, `warning` for what is likely to harm
            training, else `note`.
        text: the problem as a clause without its rows.
        rows: positions of the rows that have it; empty where it is the whole file's.
    """

    severity: Severity
    text: str
    rows: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The problem with the number of its rows and the first of them."""
        if not self.rows:
            return self.text
        named = ", ".join(self.rows[:ROWS_NAMED])
        more = f" and {len(self.rows) - ROWS_NAMED:,} more" if len(self.rows) > ROWS_NAMED else ""
        return f"{self.text}: {len(self.rows):,} ({named}{more})"


def problems(inspection: Inspection) -> list[Problem]:
    """List the problems of a file, the most severe first."""
    every = [*_refused(inspection), *_of_records(inspection), *_of_the_file(inspection)]
    return sorted(every, key=lambda problem: (SEVERITIES.index(problem.severity), -len(problem.rows)))


def _refused(inspection: Inspection) -> Iterator[Problem]:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for row in inspection.refused:
        by_reason[row.reason].append(row.where)
    for reason, rows in by_reason.items():
        yield Problem("error", f"not used, {reason}", tuple(rows))


def _of_records(inspection: Inspection) -> Iterator[Problem]:
    outlines = inspection.outlines
    for index, noun in enumerate(NOUNS.values()):
        yield from _rows(
            f"{noun}, {UNREAD}; training refuses the row",
            (one for one in outlines if one.media and one.media[index]),
            "error",
        )
    preferences = [one for one in outlines if one.sides is not None]
    yield from _rows("chosen and rejected are equal", (one for one in preferences if _is_even(one)))
    yield from _rows("an empty completion", (one for one in outlines if one.empty))
    yield from _rows("a completion that repeats its prompt", (one for one in outlines if one.echoes))
    yield from _rows("an exact duplicate of an earlier row", _repeated(outlines))
    yield from _rows("the reverse of another preference", _reversed(preferences))


def _rows(text: str, outlines: Iterable[Outline], severity: Severity = "warning") -> Iterator[Problem]:
    rows = tuple(one.where for one in outlines)
    if rows:
        yield Problem(severity, text, rows)


def _is_even(one: Outline) -> bool:
    return one.completions[0] == one.completions[1]


def _repeated(outlines: Sequence[Outline]) -> Iterator[Outline]:
    known: set[int] = set()
    for one in outlines:
        if one.content in known:
            yield one
        known.add(one.content)


def _reversed(preferences: Sequence[Outline]) -> Iterator[Outline]:
    """Preferences whose sides another one has in the other order."""
    decided = [one for one in preferences if one.probability != 0.5 and not _is_even(one)]
    orders = {one.sides[0] for one in decided if one.sides}
    yield from (one for one in decided if one.sides and one.sides[1] in orders)


def _of_the_file(inspection: Inspection) -> Iterator[Problem]:
    outlines = inspection.outlines
    for name, value in inspection.control_tokens.facts():
        yield Problem("warning", f"{name}: {value}")
    gaps = [
        one.sizes[0] - one.sizes[1] for one in outlines if one.probability is not None and one.probability > 0.5
    ]
    decided = [gap > 0 for gap in gaps if gap]
    if len(decided) >= FEW:
        share = sum(decided) / len(decided)
        predicted = max(share, 1 - share)
        if predicted - 1.96 * sqrt(predicted * (1 - predicted) / len(decided)) > LENGTH_SHARE:
            side = "longer" if share > 0.5 else "shorter"
            yield Problem(
                "warning",
                f"the {side} side is chosen in {predicted:.0%} of the pairs: a model can learn length alone",
            )
    labels = [one.good for one in outlines if one.good is not None]
    if labels and len(set(labels)) == 1:
        yield Problem("warning", f"every label is {'good' if labels[0] else 'bad'}: nothing can be compared")
    ties = sum(one.probability == 0.5 for one in outlines)
    if ties:
        which = f"which {verb(ties, 'train')} with probability 0.5 for each side"
        yield Problem("note", f"{counted(ties, 'ties')}, {which}")
    if inspection.unread:
        yield Problem("note", f"columns that are not used: {', '.join(inspection.unread)}")
    answers = sum(one.has_answer for one in outlines)
    if answers:
        yield Problem("note", f"{counted(answers, 'prompts')} with a known answer, which rewards compare with")
