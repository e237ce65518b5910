"""Problems of an inspected file, the most severe first, each with the rows that have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from gnomon.core.types import Label, Preference, Prompt
from gnomon.data.inspection import Inspection, content_of, is_empty
from gnomon.data.records import completions_of

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
ROWS_NAMED = 5
FEW = 20  # preferences, from which on a share is worth a warning
LENGTH_SHARE = 0.6  # share of pairs that length alone predicts, from which on it is worth a warning


@dataclass(frozen=True)
class Problem:
    """One kind of problem of a file.

    Attributes:
        severity: `error` for rows that are not used, `warning` for what is likely to harm training, else `note`.
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
    records = inspection.records
    yield from _rows(
        "warning",
        "chosen and rejected are equal",
        (r for r in records if isinstance(r, Preference) and _text(r.chosen) == _text(r.rejected)),
        inspection,
    )
    yield from _rows(
        "warning",
        "an empty completion",
        (r for r in records if any(map(is_empty, completions_of(r)))),
        inspection,
    )
    yield from _rows("warning", "an exact duplicate of an earlier row", _repeated(records), inspection)
    yield from _rows("warning", "the reverse of another preference", _reversed(records), inspection)


def _rows(severity: Severity, text: str, records: Iterable[Any], inspection: Inspection) -> Iterator[Problem]:
    rows = tuple(record.where.removeprefix(f"{inspection.path}, ") for record in records)
    if rows:
        yield Problem(severity, text, rows)


def _text(completion: Any) -> Any:
    return completion.turns or completion.text


def _repeated(records: Sequence[Any]) -> Iterator[Any]:
    known: set[Any] = set()
    for record in records:
        content = content_of(record)
        if content in known:
            yield record
        known.add(content)


def _reversed(records: Sequence[Any]) -> Iterator[Any]:
    """Preferences whose sides another one has in the other order."""
    pairs = {
        (r.prompt.context, _text(r.chosen), _text(r.rejected))
        for r in records
        if isinstance(r, Preference) and r.probability != 0.5
    }
    for record in records:
        if isinstance(record, Preference) and record.probability != 0.5:
            sides = _text(record.rejected), _text(record.chosen)
            if sides[0] != sides[1] and (record.prompt.context, *sides) in pairs:
                yield record


def _of_the_file(inspection: Inspection) -> Iterator[Problem]:
    for name, value in inspection.control_tokens.facts():
        yield Problem("warning", f"{name}: {value}")
    gaps = [
        len(r.chosen.text) - len(r.rejected.text)
        for r in inspection.records
        if isinstance(r, Preference) and r.probability > 0.5
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
    labels = [r.good for r in inspection.records if isinstance(r, Label)]
    if labels and len(set(labels)) == 1:
        yield Problem("warning", f"every label is {'good' if labels[0] else 'bad'}: nothing can be compared")
    ties = sum(isinstance(r, Preference) and r.probability == 0.5 for r in inspection.records)
    if ties:
        yield Problem("note", f"{ties:,} ties, which train with probability 0.5 for each side")
    if inspection.unread:
        yield Problem("note", f"columns that are not used: {', '.join(inspection.unread)}")
    answers = sum(isinstance(r, Prompt) and r.answer is not None for r in inspection.records)
    if answers:
        yield Problem("note", f"{answers:,} prompts with a known answer, which rewards compare with")
