"""Detection of the kind of records in a file, by its columns and never by which rows are readable."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, NamedScores, Preference, Prompt, Ranking, RatedText
from gnomon.data.formats.common.misspellings import is_misspelling
from gnomon.data.formats.contract import Format
from gnomon.data.formats.own_layout import GNOMON
from gnomon.data.formats.proposal import answer_columns, as_options, propose_columns
from gnomon.data.formats.ranked_lists import LISTS
from gnomon.data.formats.registry import OWN, Recognized, RowLayout, recognize
from gnomon.data.reading.readers import Row, scan_rows
from gnomon.data.reading.row_fields import KeysRead, filled
from gnomon.data.records import EXPECTED, LABELS, NAMES, PROBED, RATINGS

KINDS: tuple[type, ...] = (  # most specific first
    Preference, Ranking, NamedScores, Label, Demonstration, RatedText, Prompt,
)  # fmt: skip
TELLING = {
    "prompt", "messages", "completion", "chosen", "rejected", "completions", "label", "text", "ratings", "rating",
    "scores",
}  # fmt: skip
OPTIONAL = {"weight", "margin", "probability", "tie", "system", "answer", "rater", "raters", "tools"}


def has_columns_of(kind: type, row: Mapping[str, Any]) -> bool:
    """Return whether a row has the columns that identify a kind, readable or not."""

    def has(*keys: str) -> bool:
        return any(row.get(key) is not None for key in keys)

    if kind is Preference:
        return has("chosen", "rejected")
    if kind is Ranking:
        return has("completions")
    if kind is NamedScores:
        return isinstance(row.get("scores"), Mapping) and has("completion", "messages")
    if kind is Label:
        return any(row.get(key) not in (None, "") for key in LABELS)
    if kind is Demonstration:
        return has("completion") or (has("messages") and _has_assistant_turn(row["messages"]))
    if kind is RatedText:
        return has("ratings", *RATINGS) and has("text")
    return has("prompt", "messages")


def _has_assistant_turn(turns: Any) -> bool:
    """Return whether the assistant has a turn; true if `turns` is no list of messages, which is refused later."""
    if not isinstance(turns, list):
        return True
    return any(not isinstance(turn, Mapping) or turn.get("role") == "assistant" for turn in turns)


def kind_of(rows: Sequence[Mapping[str, Any] | DataError], path: Path, kinds: Sequence[type] = KINDS) -> type:
    """Return the most specific kind whose columns at least half of the rows have, else the most frequent kind.

    Args:
        rows: the rows, or errors of unreadable ones.
        path: of the file, for messages.
        kinds: kinds to consider.

    Raises:
        DataError: there are no rows, or none has the columns of any kind.
    """
    if not rows:
        raise DataError(f"{path} holds no rows; {EXPECTED[Preference]}")
    readable = [row for row in rows if not isinstance(row, DataError)]
    if not readable:
        raise DataError(all_refused(path, [str(row) for row in rows]))
    by_row = [next((k for k in KINDS if k in kinds and has_columns_of(k, row)), None) for row in readable]
    counts = Counter(kind for kind in by_row if kind is not None)
    if not counts:
        names = sorted({f"{key!s:.40}" for row in readable for key in row})
        keys = ", ".join(names[:20]) or "none"
        if (mapping := propose_columns(readable)) is not None:
            hint = f"if it holds prompts and answers, read it with {as_options(mapping)}."
        else:
            hint = "; ".join(f"for {NAMES[k]}, {EXPECTED[k].rstrip('.')}" for k in _suggested(kinds))
            hint = f"{hint}; or map its columns with --columns KEY=COLUMN."
        raise DataError(f"{path}: no row is {_a_record(kinds)}; the keys are {keys}; {hint}")
    return next((k for k in KINDS if 2 * counts[k] >= len(readable)), counts.most_common(1)[0][0])


def _a_record(kinds: Sequence[type]) -> str:
    return "a record of any kind" if kinds is KINDS else "one of " + " or ".join(NAMES[kind] for kind in kinds)


def _suggested(kinds: Sequence[type]) -> Sequence[type]:
    return (Preference, Demonstration) if kinds is KINDS else kinds


@dataclass(frozen=True)
class FileRecognition:
    """The kind of a file's records, and its format.

    Attributes:
        kind: of the records.
        match: the format, with the reason for it; `None` if it is Gnomon's own.
        layout: names the format, so that a reader of the file need not recognize it again.
    """

    kind: type
    match: Recognized | None
    layout: RowLayout


def kind_of_file(path: Path, kinds: Sequence[type] = KINDS, layout: RowLayout = OWN) -> type:
    """Return which of some kinds a file holds; see `recognize_kind`.

    Args:
        path: of the file or folder.
        kinds: kinds to consider.
        layout: the layout of its rows, where the user gave one.

    Raises:
        DataError: it holds none of them.
    """
    return recognize_kind(path, kinds, layout).kind


def kinds_to_learn(
    path: Path, kinds: Sequence[type], layout: RowLayout = OWN, *, scores: bool
) -> tuple[type, ...]:
    """Return the kinds of records that a file is learned from as: the first of `kinds` that its format holds.

    Args:
        path: of the file or folder.
        kinds: kinds that can be learned from, the most wanted first.
        layout: the layout of its rows, where the user gave one.
        scores: whether named scores are learned beside, where the format holds them too.

    Raises:
        DataError: it holds none of them.
    """
    if len(kinds) == 1:
        return tuple(kinds)
    recognized = recognize_kind(path, kinds, layout)
    held = recognized.match.format.kinds if recognized.match else ()
    first = next((kind for kind in kinds if kind in held), recognized.kind)
    beside = scores and NamedScores in held and first is not NamedScores
    return (first, NamedScores) if beside else (first,)


def recognize_kind(path: Path, kinds: Sequence[type] = KINDS, layout: RowLayout = OWN) -> FileRecognition:
    """Recognize a file's format, and which of some kinds it holds, by its first rows.

    Args:
        path: of the file or folder.
        kinds: kinds to consider.
        layout: the layout of its rows, where the user gave one.

    Raises:
        DataError: it holds none of them.
    """
    rows = [row for _, row in itertools.islice(scan_rows(path), PROBED)]
    if layout.given:
        match = Recognized(layout.format, "") if layout.format else None
    else:
        readable = [row for row in rows if not isinstance(row, DataError)]
        match = recognize(readable, path, None if kinds is KINDS else kinds) if readable else None
    kind = _own_kind(rows, path, kinds, layout) if match is None else _kind_in(match.format, rows, path, kinds)
    named = RowLayout(match.format.name if match else GNOMON)
    return FileRecognition(kind, match, layout if layout.given else named)


def _own_kind(
    rows: Sequence[Mapping[str, Any] | DataError], path: Path, kinds: Sequence[type], layout: RowLayout
) -> type:
    """Return the kind of rows in Gnomon's own layout."""
    kind = kind_of(rows, path, kinds)
    if kind is Prompt and kinds is KINDS and not layout.given:
        _check_no_answers(rows, path)
    return kind


def _kind_in(form: Format, rows: Sequence[Row | DataError], path: Path, kinds: Sequence[type]) -> type:
    """Return the kind of rows in another format."""
    if not form.kinds:
        return kind_of(
            [row for _, row in form.scan(Prompt, ((str(n), row) for n, row in enumerate(rows)))], path, kinds
        )
    held = [kind for kind in form.kinds if kind in kinds]
    if not held:
        wanted, names = (" or ".join(NAMES[one] for one in some) for some in (kinds, form.kinds))
        raise DataError(f"{path} is {form.title}, which hold {names}, not {wanted}; give other data.")
    readable = [row for row in rows if not isinstance(row, DataError)]
    default = form.kind_of(readable)
    return default if default in held else held[0]


def _check_no_answers(rows: Sequence[Mapping[str, Any] | DataError], path: Path) -> None:
    """Refuse to read as prompts alone rows with several columns that look like answers."""
    readable = [row for row in rows if not isinstance(row, DataError)]
    names = Counter(str(key) for row in readable for key in row if filled(row[key]))
    most = [name for name, count in names.items() if 2 * count > len(rows) and name != "answer"]
    answers = answer_columns(most)
    lists = [name for name in most if name in LISTS and any(_is_answer_list(row.get(name)) for row in readable)]
    if lists:
        raise DataError(
            f"{path} holds prompts, and {lists[0]} is a list of answers without a rank or score for each; give "
            "them as completions, best first, or read the prompts alone with --format gnomon."
        )
    if len(answers) > 1:
        raise DataError(
            f"{path} holds prompts, and the columns {', '.join(answers)} look like answers; map them with "
            "--columns KEY=COLUMN, or read the prompts alone with --format gnomon."
        )


def _is_answer_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1


def unread_keys(keys: KeysRead) -> tuple[str, ...]:
    """Return the keys of a file that were not read, each with the key that it may misspell.

    That is a key that no row has: one that would make the rows records of another kind, or an optional one that
    was looked for in them.
    """
    missing = sorted((TELLING | (OPTIONAL & keys.read)) - keys.present.keys())

    def named(key: str) -> str:
        near = [word for word in missing if is_misspelling(key, word)]
        return f"{key} (did you mean {near[0]}?)" if len(near) == 1 else key

    return tuple(named(f"{key:.60}") for key in keys.unread())


def all_refused(path: Path, reasons: Sequence[str]) -> str:
    """Describe why no row of a file could be read, by the most frequent reason."""
    plain = [reason.removeprefix(f"{path}, ").rstrip(".") for reason in reasons]
    why = Counter(reason.partition(": ")[2] or reason for reason in plain)
    common, count = why.most_common(1)[0]
    first = next(reason for reason in plain if reason.endswith(common))
    if len(plain) == 1:
        return f"{path}: its only row is refused, {first}."
    return f"{path}: all {len(plain):,} rows are refused, {count:,} of them as {first}."
