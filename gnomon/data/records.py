"""Parsing of rows to records, in any format of `gnomon.data.reading.readers`, from users and from other stages.

A prompt is a text, a list of messages, or `{"id": …, "messages": [{"role": …, "content": …}]}`; a completion is a
text, a list of messages, or `{"id": …, "text": …}`. Those without an id get one from their content, so equal
prompts share an id.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, NamedScores, Preference, Prompt, Ranking, RatedText
from gnomon.data.formats.common.record_parts import completions_of as completions_of, record_media as record_media
from gnomon.data.formats.contract import Format, JoinedRow, UnusedRow
from gnomon.data.formats.registry import OWN, Recognized, RowLayout, recognize
from gnomon.data.reading.conversations import (
    completion_of,
    prompt_and_completion,
    prompt_and_sides,
    prompt_of,
    refuse_columns,
    refuse_context,
    row_prompt,
    row_system,
    with_tools,
)
from gnomon.data.reading.media.columns import with_media
from gnomon.data.reading.media.parts import media_reason
from gnomon.data.reading.messages import context_fingerprint
from gnomon.data.reading.readers import Row, ScannedRow, scan_rows
from gnomon.data.reading.row_fields import (
    KeysRead,
    TrackedRow,
    brief,
    filled,
    finite,
    identity,
    is_conversation_text,
    listed,
    mapping,
    number,
    required,
    text,
    truth,
)

Record = TypeVar("Record")
NAMES: dict[Any, str] = {
    Preference: "preferences",
    Ranking: "rankings",
    NamedScores: "named scores",
    Label: "labels",
    Demonstration: "demonstrations",
    RatedText: "rated texts",
    Prompt: "prompts",
}
PROBED = 1000  # rows that decide the format of a file and the kind of its records
RATINGS = ("rating", "value")  # columns that hold one rating of a text
LABELS = ("label", "good")  # columns that label a completion good or bad
ROUNDING = 1e-6  # by which a share may exceed its limit, as one that was written with few digits does
TEXTS = frozenset(
    {
        "id",
        "prompt",
        "completion",
        "messages",
        "chosen",
        "rejected",
        "weight",
        "probability",
        "margin",
        "tie",
        "scores",
    }
)


def read_records(
    kind: type[Record], path: Path, keys: KeysRead | None = None, layout: RowLayout = OWN
) -> list[Record]:
    """Read all records of a kind in a file or folder; the first fault is an error that names the line or row.

    Args:
        kind: of the records.
        path: of the file or folder.
        keys: collects which keys the rows hold, which were read, and which rows hold no record of the kind.
        layout: the layout of its rows, where the user gave one.
    """
    keys = KeysRead() if keys is None else keys
    records: list[Record] = []
    for _, record in scan_records(kind, path, keys, layout):
        if isinstance(record, UnusedRow):
            continue
        if isinstance(record, DataError):
            raise record
        records.append(record)
    check_not_empty(len(records), kind, path, keys)
    return records


def check_records(kind: type[Record], path: Path, layout: RowLayout = OWN) -> KeysRead:
    """Check a file or folder as `read_records` does, without holding its records in memory.

    Args:
        kind: of the records.
        path: of the file or folder.
        layout: the layout of its rows, where the user gave one.

    Returns:
        Which keys its rows hold, which were read, and which rows hold no record of the kind.

    Raises:
        DataError: a row is damaged, there are none, or each has media, which no model here reads.
    """
    rows, readable, first, keys = 0, 0, "", KeysRead()
    for where, record in scan_records(kind, path, keys, layout):
        if isinstance(record, UnusedRow):
            continue
        if isinstance(record, DataError):
            raise record
        rows += 1
        if media := record_media(record):
            first = first or f"{where}: {media_reason(media)}"
        else:
            readable += 1
    check_not_empty(rows, kind, path, keys)
    if not readable:
        which = "its only record," if rows == 1 else f"none of its {rows:,} records is text alone, the first at"
        raise DataError(f"{path}: {which} {first}; give other data.")
    return keys


def check_not_empty(count: int, kind: type, path: Path, keys: KeysRead) -> None:
    """Check that a file holds records.

    Args:
        count: of its records.
        kind: of the records.
        path: of the file or folder.
        keys: which rows hold no record of the kind.

    Raises:
        DataError: it holds none.
    """
    if count:
        return
    if keys.unused:
        reason, rows = keys.unused.most_common(1)[0]
        raise DataError(f"{path}: none of its rows is used, {rows:,} because {reason}; {EXPECTED[kind]}")
    raise DataError(f"{path} holds no rows; {EXPECTED[kind]}")


def scan_records(
    kind: type[Record], path: Path, keys: KeysRead | None = None, layout: RowLayout = OWN
) -> Iterator[tuple[str, Record | DataError]]:
    """Yield the position of each row with its record or its error.

    A row in a published format that holds no record of the kind is yielded as its `UnusedRow`.
    An id stands for one prompt: groups are formed by it, so two different prompts under one id are refused.

    Args:
        kind: of the records.
        path: of the file or folder.
        keys: collects which keys the rows hold, which were read, and which rows hold no record of the kind.
        layout: the layout of its rows, where the user gave one.
    """
    prompts = PromptIds()
    keys = KeysRead() if keys is None else keys
    for where, row in own_rows(kind, path, keys, layout):
        if isinstance(row, UnusedRow):
            keys.unused[str(row)] += 1
            yield where, row
            continue
        if isinstance(row, DataError):
            yield where, row
            continue
        try:
            record = parse_at(kind, row, path, where)
            prompt = prompt_of_record(record)
            if prompt is not None and (conflict := prompts.conflict(prompt.id, prompt_digest(prompt), where)):
                raise DataError(conflict)
            yield where, record
        except DataError as error:
            yield where, row_fault(kind, path, where, error)


def row_fault(kind: type, path: Path, where: str, error: DataError) -> DataError:
    """Return the error of a row with its position and the layout of a right one.

    Args:
        kind: of the records.
        path: of the file or folder.
        where: position of the row.
        error: describes the fault.
    """
    return DataError(f"{path}, {where}: {str(error).rstrip('.')}; {EXPECTED[kind]}")


class PromptIds:
    """The prompts that ids stand for, each as a digest, so that a file may be of any size."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, str]] = {}

    def conflict(self, id: str, content: bytes, where: str) -> str | None:
        """Note the id of a prompt; returns a clause if it stands for another prompt already.

        Args:
            id: of the prompt.
            content: its digest.
            where: position of its row.
        """
        other, first = self._known.setdefault(id, (content, where))
        return None if other == content else f"prompt id '{id}' stands for another prompt at {first}"


def prompt_digest(prompt: Prompt) -> bytes:
    """Return a digest of everything that makes a prompt, but its id."""
    content = f"{context_fingerprint(prompt)}\n{prompt.answer!r}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=12).digest()


def parse_at(kind: type[Record], row: Mapping[str, Any], path: Path, where: str) -> Record:
    """Parse a row to a record that names its position.

    Args:
        kind: of the record.
        row: in Gnomon's own layout.
        path: of the file.
        where: position of the row.

    Raises:
        DataError: the row is damaged; the message has no position.
    """
    record: Record = _with_position(parse_record(kind, row), f"{path}, {where}")
    return record


def own_rows(kind: type, path: Path, keys: KeysRead, layout: RowLayout = OWN) -> Iterator[ScannedRow]:
    """Yield the rows of a file in Gnomon's own layout, which `parse_record` reads; other formats are converted.

    Args:
        kind: of the records that the rows shall hold.
        path: of the file or folder.
        keys: collects which keys the rows hold, and which were read.
        layout: the layout of the file's rows, where the user gave one.

    Raises:
        DataError: the file's format holds no records of that kind, or it has several formats.
    """
    form = format_of(path, (kind,), layout)
    rows = ((where, _tracked(row, keys)) for where, row in scan_rows(path))
    if form is None:
        yield from rows
        return
    if form.kinds and kind not in form.kinds:
        names = " or ".join(NAMES[one] for one in form.kinds)
        raise DataError(f"{path} is {form.title}, which hold {names}, not {NAMES[kind]}; give other data.")
    for where, row in _named(form.scan(kind, rows), path):
        if isinstance(row, JoinedRow):
            keys.joined += 1
            continue
        if isinstance(row, DataError) and not isinstance(row, UnusedRow) and not str(row).startswith(str(path)):
            row = DataError(f"{path}, {where}: {str(row).rstrip('.')}; as {form.title}.")
        yield where, row


def _named(rows: Iterator[ScannedRow], path: Path) -> Iterator[ScannedRow]:
    """The rows of a format; an error about the whole file names it."""
    try:
        yield from rows
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}, {str(error).rstrip('.')}.") from None


def format_of(path: Path, kinds: Sequence[type] | None = None, layout: RowLayout = OWN) -> Format | None:
    """Return the format of a file: the user's, else that of its first rows; `None` if it is Gnomon's own.

    Args:
        path: of the file or folder.
        kinds: kinds of records that are wanted.
        layout: the layout that the user gave, if any.
    """
    match = recognize_file(path, kinds, layout)
    return match.format if match else None


def recognize_file(path: Path, kinds: Sequence[type] | None = None, layout: RowLayout = OWN) -> Recognized | None:
    """Return the format of a file as `format_of` does, with the reason for it.

    Args:
        path: of the file or folder.
        kinds: kinds of records that are wanted.
        layout: the layout that the user gave, if any.
    """
    if layout.given:
        return Recognized(layout.format, "") if layout.format else None
    rows = [row for _, row in itertools.islice(scan_rows(path), PROBED) if not isinstance(row, DataError)]
    return recognize(rows, path, kinds) if rows else None


def _tracked(row: Row | DataError, keys: KeysRead) -> Row | DataError:
    return row if isinstance(row, DataError) else TrackedRow(row, keys)


def _with_position(record: Any, where: str) -> Any:
    """Set `where` of a record and its prompt."""
    prompt = prompt_of_record(record)
    if prompt is None or prompt is record:
        return replace(record, where=where)
    return replace(record, where=where, prompt=replace(prompt, where=where))


def disambiguate_prompt_ids(sources: Mapping[str, Sequence[Record]]) -> dict[str, list[Record]]:
    """Rename prompt ids so that an id stands for one prompt in the records of all sources.

    An id that stands for different prompts in two sources gets its source as prefix, in all of them.
    """
    prompts: dict[str, Prompt] = {}
    taken: set[str] = set()
    for records in sources.values():
        for prompt in map(prompt_of_record, records):
            if prompt is not None and prompts.setdefault(prompt.id, prompt) != prompt:
                taken.add(prompt.id)
    return {
        source: [_from(source, record, taken) for record in records] if taken else list(records)
        for source, records in sources.items()
    }


def prompt_of_record(record: Any) -> Prompt | None:
    """Return the prompt of a record; `None` for rated texts without one."""
    return record if isinstance(record, Prompt) else getattr(record, "prompt", None)


def _from(source: str, record: Any, taken: Set[str]) -> Any:
    """Prefix the id of the record's prompt with its source, if the id is taken."""
    prompt = prompt_of_record(record)
    if prompt is None or prompt.id not in taken:
        return record
    named = replace(prompt, id=f"{source}:{prompt.id}")
    return named if record is prompt else replace(record, prompt=named)


def parse_record(kind: type[Record], row: Mapping[str, Any]) -> Record:
    """Parse a row to a record; a `DataError` describes a fault without the position of the row."""
    record: Record = _PARSERS[kind](with_media(row))
    return record


def _prompt(row: Mapping[str, Any]) -> Prompt:
    """Parse a prompt; its `columns` are the whole row, which a reward may read."""
    refuse_columns(row)
    whole = row.get("prompt") is None and row.get("messages") is not None
    system = row_system(row)
    prompt = prompt_of(row, system=system) if whole else prompt_of(required(row, "prompt"), row, system=system)
    return replace(with_tools(prompt, row), columns=dict(row))


def _with_columns(record: Any, row: Mapping[str, Any]) -> Any:
    """Add the row's columns other than texts to the prompt of a demonstration or preference."""
    columns = {key: value for key, value in dict(row).items() if key not in TEXTS}
    if not columns:
        return record
    answer = columns.get("answer")
    known = record.prompt.answer if answer is None else str(answer)
    return replace(record, prompt=replace(record.prompt, columns=columns, answer=known))


def _weight(row: Mapping[str, Any]) -> float:
    return number(row, "weight", 1.0, 0.0, 1e9)


def _demonstration(row: Mapping[str, Any]) -> Demonstration:
    for key in LABELS:
        if row.get(key) not in (None, ""):
            raise DataError(
                f"the row has {key}, which calls its completion good or bad, but demonstrations are imitated; "
                "train it with kto or bco, or keep the good rows and remove the column"
            )
    record: Demonstration = _with_columns(Demonstration(*prompt_and_completion(row), _weight(row)), row)
    return record


def _preference(row: Mapping[str, Any]) -> Preference:
    prompt, chosen, rejected = prompt_and_sides(row)
    tie = number(row, "tie", 0.0, 0.0, 1.0)
    probability = number(row, "probability", 1.0 - tie / 2, 0.0, 1.0)
    most = 2 * min(probability, 1 - probability)
    if tie > most + ROUNDING:
        raise DataError(
            f"tie is {tie:g}, but with a probability of {probability:g}, which counts ties half, at most "
            f"{most:g} of the raters can have called it a tie"
        )
    return Preference(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        probability=probability,
        margin=number(row, "margin", 0.0, -1e9, 1e9),
        weight=_weight(row),
        tie=tie,
    )


def _ranking(row: Mapping[str, Any]) -> Ranking:
    prompt = row_prompt(row)
    cells = alternatives(row)
    if len(cells) < 2:
        raise DataError("completions are fewer than two, which cannot be ranked")
    _check_best_first(row, len(cells))
    return Ranking(prompt, tuple(completion_of(value, prompt) for value in cells), _weight(row))


def alternatives(row: Mapping[str, Any]) -> list[Any]:
    """Return the cells of a row's `completions`: complete answers to one prompt.

    Raises:
        DataError: they are the steps of one answer, each with a label.
    """
    cells = listed(required(row, "completions"), "completions")
    if filled(row.get("labels")):
        raise DataError(
            "the row has labels, one for each step of one answer, where completions are whole answers; Gnomon "
            "does not learn from labeled steps"
        )
    return cells


def _check_best_first(row: Mapping[str, Any], count: int) -> None:
    """Refuse a ranking with a column of numbers for its completions: their order may not be the ranking."""
    for key, cell in row.items():
        value = cell
        if isinstance(cell, str) and cell[:1] == "[":
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(cell)
        if isinstance(value, list) and len(value) == count and all(isinstance(v, int | float) for v in value):
            raise DataError(
                f"the row has {key}, a number for each completion, which is not read: completions stand best "
                f"first; order them so and remove {key}"
            )


def _named_scores(row: Mapping[str, Any]) -> NamedScores:
    """Parse an answer with scores by name; a score that is null is absent."""
    cells = mapping(required(row, "scores"))
    scores = {str(name): finite(cells[name], f"scores.{name}") for name in cells if filled(cells[name])}
    if unnamed := next((name for name in scores if not name.strip() or "#" in name), None):
        raise DataError(f"scores has the name {unnamed!r}; give each score a name without #")
    return NamedScores(*prompt_and_completion(row), scores, _weight(row))


def _label(row: Mapping[str, Any]) -> Label:
    key = next((key for key in LABELS if row.get(key) not in (None, "")), "label")
    good = truth(required(row, key), key)
    return Label(*prompt_and_completion(row), good, _weight(row))


def _rated_text(row: Mapping[str, Any]) -> RatedText:
    """Parse a text with all its ratings or, in the long form, with the one rating of the row."""
    one = None if row.get("ratings") is not None else next((k for k in RATINGS if row.get(k) is not None), "")
    key, long = one or "ratings", bool(one)
    ratings = _numbers([row[key]] if one else listed(required(row, key), key), key)
    named = [row.get("rater")] if long else listed(row.get("raters") or [], "raters")
    if len(named) not in (0, len(ratings)):
        raise DataError("raters is not a list with one name for each rating")
    raters = tuple("" if name is None else text(str(name), "rater") for name in named)
    refuse_columns(row)
    if row.get("prompt") in (None, ""):
        refuse_context(row)
    prompt = None if row.get("prompt") in (None, "") else row_prompt(row)
    content = text(required(row, "text"))
    if is_conversation_text(content):
        raise DataError(
            "text is a list of messages as JSON; rate one text, and give the turns before it as prompt"
        )
    if long:
        own = identity(row, f"{prompt.id if prompt else ''}\n{content}")
    else:
        own = text(str(required(row, "id")), "id")
    return RatedText(own, content, ratings, prompt, raters if any(raters) else ())


def _numbers(cells: Sequence[Any], key: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, cells))
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        fault = "not a finite number" if key in RATINGS else "not a list of at least one finite number"
        raise DataError(f"{key} is {fault}: {brief(cells[0] if key in RATINGS else cells)}")
    return numbers


_PARSERS: dict[Any, Callable[[Mapping[str, Any]], Any]] = {
    Preference: _preference,
    Ranking: _ranking,
    NamedScores: _named_scores,
    Label: _label,
    Demonstration: _demonstration,
    RatedText: _rated_text,
    Prompt: _prompt,
}
EXPECTED: dict[Any, str] = {
    Preference: 'a row is {"prompt": "…", "chosen": "…", "rejected": "…"}.',
    Ranking: 'a row is {"prompt": "…", "completions": ["best", "…", "worst"]}.',
    NamedScores: 'a row is {"prompt": "…", "completion": "…", "scores": {"helpfulness": 3, "safety": 1}}.',
    Label: 'a row is {"prompt": "…", "completion": "…", "label": true}.',
    Demonstration: 'a row is {"prompt": "…", "completion": "…"} or {"messages": […]}.',
    RatedText: 'a row is {"id": "…", "text": "…", "ratings": […]} or {"text": "…", "rater": "…", "rating": 3}.',
    Prompt: 'a row is {"prompt": "…"} or {"id": "…", "messages": […]}.',
}
