"""Which kind of records a file holds: decided by its columns, never by what happens to be readable."""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Preference, Prompt, Ranking, RatedText
from gnomon.data.reading.readers import scan_rows
from gnomon.data.reading.records import EXPECTED, LABELS, RATINGS
from gnomon.data.reading.unread_keys import KeysRead

KINDS: tuple[type, ...] = (Preference, Ranking, Label, Demonstration, RatedText, Prompt)  # most telling first
NAMES = {
    Preference: "preferences",
    Ranking: "rankings",
    Label: "labels",
    Demonstration: "demonstrations",
    RatedText: "rated texts",
    Prompt: "prompts",
}
OPTIONAL = {"weight", "margin", "probability", "system", "answer", "raters"}
PROBED = 1000  # rows that decide what kind a file holds


def has_columns_of(kind: type, row: Mapping[str, Any]) -> bool:
    """Whether a row has the telling columns of a kind, readable or not."""

    def has(*keys: str) -> bool:
        return any(row.get(key) is not None for key in keys)

    if kind is Preference:
        return has("chosen", "rejected")
    if kind is Ranking:
        return has("completions")
    if kind is Label:
        return any(row.get(key) not in (None, "") for key in LABELS)
    if kind is Demonstration:
        return has("completion") or (has("messages") and _answered(row["messages"]))
    if kind is RatedText:
        return has("ratings", *RATINGS) and has("text")
    return has("prompt", "messages")


def _answered(turns: Any) -> bool:
    """Whether the assistant has a turn; what is no list of messages counts, and is refused as a conversation."""
    if not isinstance(turns, list):
        return True
    return any(not isinstance(turn, Mapping) or turn.get("role") == "assistant" for turn in turns)


def kind_of(rows: Sequence[Mapping[str, Any] | DataError], path: Path, kinds: Sequence[type] = KINDS) -> type:
    """The most telling of some kinds that at least half of the rows have the columns of; else what most rows are.

    Raises:
        DataError: there are no rows, or none has the columns of any kind.
    """
    if not rows:
        raise DataError(f"{path} holds no rows; {EXPECTED[Preference]}")
    sound = [row for row in rows if not isinstance(row, DataError)]
    if not sound:
        raise DataError(all_refused(path, [str(row) for row in rows]))
    telling = [next((k for k in KINDS if k in kinds and has_columns_of(k, row)), None) for row in sound]
    counts = Counter(kind for kind in telling if kind is not None)
    if not counts:
        names = sorted({f"{key!s:.40}" for row in sound for key in row})
        keys = ", ".join(names[:20]) or "none"
        raise DataError(
            f"{path}: no row is {_a_record(kinds)}; the keys are {keys}, but for "
            + ", and for ".join(f"{NAMES[k]} {EXPECTED[k].rstrip('.')}" for k in _suggested(kinds))
            + "."
        )
    return next((k for k in KINDS if 2 * counts[k] >= len(sound)), counts.most_common(1)[0][0])


def _a_record(kinds: Sequence[type]) -> str:
    return "a record of any kind" if kinds is KINDS else "one of " + " or ".join(NAMES[kind] for kind in kinds)


def _suggested(kinds: Sequence[type]) -> Sequence[type]:
    return (Preference, Demonstration) if kinds is KINDS else kinds


def kind_of_file(path: Path, kinds: Sequence[type]) -> type:
    """Which of some kinds a file holds, by the columns of its first rows.

    Raises:
        DataError: it holds none of them.
    """
    return kind_of([row for _, row in itertools.islice(scan_rows(path), PROBED)], path, kinds)


def unread_keys(keys: KeysRead) -> tuple[str, ...]:
    """Keys of a file that nothing was read from, with what they may have been meant to be."""
    words = {word for row in EXPECTED.values() for word in re.findall(r'"(\w+)":', row)}
    known = sorted((words | OPTIONAL) - keys.present.keys())

    def named(key: str) -> str:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
        return f"{key} (did you mean {near[0]}?)" if near else key

    return tuple(named(f"{key:.60}") for key in keys.unread())


def all_refused(path: Path, reasons: Sequence[str]) -> str:
    """Why no row of a file could be read: the reason that most of them share, once."""
    plain = [reason.removeprefix(f"{path}, ").rstrip(".") for reason in reasons]
    why = Counter(reason.partition(": ")[2] or reason for reason in plain)
    common, count = why.most_common(1)[0]
    first = next(reason for reason in plain if reason.endswith(common))
    if len(plain) == 1:
        return f"{path}: its only row is refused, {first}."
    return f"{path}: all {len(plain):,} rows are refused, {count:,} of them as {first}."
