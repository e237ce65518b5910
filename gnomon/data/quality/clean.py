"""Cleaning of a data file: every row goes into the cleaned file, or with its reason into that of rejected rows.

The file is read once. Worker processes parse its rows and check each alone; what the filters that compare records
need of a row is a few numbers in memory, and the rows themselves wait in a temporary file.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.progress import SHORT_SECONDS, progress
from gnomon.core.storage.files import atomically, to_json, write_atomically, write_json
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.data.formats.contract import UnusedRow
from gnomon.data.formats.registry import OWN, RowLayout
from gnomon.data.pool import cores, is_large, ordered_map
from gnomon.data.quality.contract import Candidates, Decision, Digests, FileFilter, Filter, Part, Tools
from gnomon.data.quality.registry import build_filters, check_tools
from gnomon.data.quality.report import CleanReport, FilterCount, output_files
from gnomon.data.quality.shard import UNREADABLE, CheckedRow, Positioned, Rejection, RowChecks
from gnomon.data.quality.spool import Spool
from gnomon.data.reading.readers import locate
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.record_kinds import kind_of_file, unread_keys
from gnomon.data.records import NAMES, format_of, own_rows, parse_record, prompt_of_record

SHARD = 256  # rows that a worker process gets at once


@dataclass
class _Rows:
    """All rows of a file after the checks of each alone."""

    spool: Spool
    width: int
    positions: list[str] = field(default_factory=list)
    rejected: bytearray = field(default_factory=bytearray)  # 1 where the spool's line is one of `rejected.jsonl`
    numbers: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, row: CheckedRow) -> None:
        """Append a row."""
        self.positions.append(row.where)
        self.rejected.append(row.rejected is not None)
        self.spool.add(row.line if row.rejected is None else _rejected_line(row.where, row.rejected, row.line))
        self.numbers.extend(row.features or (0,) * self.width)

    @property
    def features(self) -> Digests:
        """The numbers of all rows, `[N, width]`."""
        return np.frombuffer(self.numbers, np.uint64).reshape(-1, self.width)

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Rows that are not rejected, `[N]`."""
        return ~np.frombuffer(bytes(self.rejected), np.bool_)


class _FileRecords(Candidates):
    """The records of a spool."""

    def __init__(self, kind: type, rows: _Rows, features: Digests, kept: NDArray[np.bool_], tools: Tools):
        self.kind, self.features, self.kept, self.tools = kind, features, kept, tools
        self.rows = rows

    def where(self, index: int) -> str:
        return self.rows.positions[index]

    def row(self, index: int) -> Mapping[str, Any]:
        row: Mapping[str, Any] = self.rows.spool.row(index)
        return row

    def record(self, index: int) -> Any:
        return parse_record(self.kind, self.row(index))


@dataclass
class _Findings:
    """What the filters found so far."""

    counts: dict[str, FilterCount]
    flagged: BinaryIO | None = None
    parts: dict[str, set[int]] = field(default_factory=lambda: {part: set() for part in get_args(Part)})

    def add(self, index: int, where: str, name: str, reason: str) -> None:
        """Note a finding; those that do not reject their record go to the file of flagged rows."""
        count = self.counts[name]
        count.add(index, where, reason)
        self.parts[count.part].add(index)
        if count.action != "drop" and self.flagged is not None:
            self.flagged.write(_json({"where": where, "filter": name, "reason": reason}) + b"\n")


def clean_file(
    path: Path,
    out: Path,
    filters: Mapping[str, Any] | None = None,
    *,
    tools: Tools | None = None,
    layout: RowLayout = OWN,
    jobs: int | None = None,
    overwrite: bool = False,
) -> CleanReport:
    """Clean a file; the files are written as a whole, or not at all.

    Args:
        path: of the file or folder.
        out: the cleaned file, JSON lines in Gnomon's own layout; see `output_files` for those beside it.
        filters: settings of filters by name; see `build_filters`.
        tools: models that filters use.
        layout: the layout of the file's rows, where the user gave one.
        jobs: number of worker processes; `None`: one for each core, and none for a small file.
        overwrite: whether to replace existing files.

    Raises:
        ConfigError: a setting is wrong, or a file exists.
        DataError: the file cannot be read, or no row of it is left.
    """
    started, tools, files = time.monotonic(), tools or Tools(), output_files(out)
    for file in files.values():
        if file.exists() and not overwrite:
            raise ConfigError(f"{file} exists; give another --out, or --overwrite.")
        if file.exists() and locate(path)[0].exists() and file.samefile(locate(path)[0]):
            raise ConfigError(f"{file} is the file to clean; give another --out.")
    kind = kind_of_file(path, layout=layout)
    active = active_filters(kind, filters or {}, tools)
    checks = RowChecks(kind, active, tools.tokenizer)
    keys = KeysRead()
    findings = _Findings({one.name: FilterCount(one.action, one.part) for one in active})
    out.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder(out.parent))
        rows = _Rows(Spool(folder / "rows"), checks.width)
        stack.callback(rows.spool.close)
        findings.flagged = stack.enter_context((folder / "flagged").open("wb"))
        unreadable = _check_rows(path, layout, checks, rows, findings, keys, jobs)
        kept, dropped, weights, bias = _compare(kind, checks.files, rows, findings, tools)
        findings.flagged.flush()
        unreadable += sum(one.filter == UNREADABLE for one in dropped.values())
        clean = int(kept.sum())
        _write_rows(rows, dropped, weights, files, clean > 0)
        for key in ("flagged", *(("clean",) if not clean else ())):
            files[key].unlink(missing_ok=True)
        if (folder / "flagged").stat().st_size:
            (folder / "flagged").replace(files["flagged"])
    total = len(rows.positions)
    parts = _parts(total, unreadable, findings, bias)
    present = {key: str(file) for key, file in files.items() if file.exists()}
    for key in ("report", "text"):
        present.pop(key, None)
    report = CleanReport(
        source=str(path),
        kind=NAMES[kind],
        rows=total,
        clean=clean,
        rejected=total - clean,
        unreadable=unreadable,
        filters=findings.counts,
        quality=math.prod(parts.values()),
        parts=parts,
        unread=unread_keys(keys),
        files={**present, "report": str(files["report"]), "text": str(files["text"])},
        seconds=time.monotonic() - started,
    )
    write_json(files["report"], report)
    write_atomically(files["text"], report.as_text())
    if not clean:
        raise DataError(f"{path}: no row is left of {total:,}; {files['rejected']} has the reason of each.")
    return report


def active_filters(kind: type, settings: Mapping[str, Any], tools: Tools) -> list[Filter]:
    """Build the filters that apply to a kind of records, and check what they need.

    Args:
        kind: of the records.
        settings: of filters by name.
        tools: models that filters use.

    Raises:
        ConfigError: a setting is wrong, a named filter is for other records, or a model is missing.
        DataError: a file that a setting names cannot be read.
    """
    every = build_filters(settings)
    for one in every:
        if one.name in settings and one.action != "off" and one.kinds and kind not in one.kinds:
            names = " or ".join(NAMES[each] for each in one.kinds)
            raise ConfigError(f"filters.{one.name} is for {names}, and the file holds {NAMES[kind]}; remove it.")
        if one.name in settings and one.action != "off" and one.idle:
            known = ", ".join(key for key in type(one).model_fields if key != "action")
            raise ConfigError(f"filters.{one.name} lacks what to look for; give it one of its settings: {known}.")
    active = [one for one in every if one.applies_to(kind)]
    check_tools(active, tools)
    for one in active:
        one.prepare()
    return active


@dataclass(frozen=True)
class _ShardWork:
    """The work of a process: checked rows, and the keys that were read."""

    checks: RowChecks

    def __call__(self, rows: Sequence[Positioned]) -> tuple[list[CheckedRow], KeysRead]:
        keys = KeysRead()
        return self.checks(rows, keys), keys


def _check_rows(
    path: Path,
    layout: RowLayout,
    checks: RowChecks,
    rows: _Rows,
    findings: _Findings,
    keys: KeysRead,
    jobs: int | None,
) -> int:
    """Check each row alone; returns how many hold no record."""
    own_layout = format_of(path, (checks.kind,), layout) is None
    unreadable = 0
    if jobs is None:
        jobs = cores() if is_large(path) else 1
    for shard, read in ordered_map(_ShardWork(checks), _shards(path, layout, checks.kind, keys), jobs):
        for row in shard:
            index = len(rows.positions)
            rows.add(row)
            unreadable += row.rejected is not None and row.rejected.filter == UNREADABLE
            for name, reason in row.findings:
                findings.add(index, row.where, name, reason)
        if own_layout:
            keys.read |= read.read
            keys.present |= read.present
    return unreadable


def _shards(path: Path, layout: RowLayout, kind: type, keys: KeysRead) -> Iterator[list[Positioned]]:
    """The rows of a file in Gnomon's own layout, some at a time, without the path in their errors."""

    def plain() -> Iterator[Positioned]:
        for where, row in own_rows(kind, path, keys, layout):
            if isinstance(row, DataError):
                reason = str(row).removeprefix(f"{path}, {where}: ").rstrip(".")
                yield where, UnusedRow(reason) if isinstance(row, UnusedRow) else DataError(reason)
            else:
                yield where, dict(row)

    rows = plain()
    while shard := list(itertools.islice(rows, SHARD)):
        yield shard


def _compare(
    kind: type, compared: Sequence[FileFilter], rows: _Rows, findings: _Findings, tools: Tools
) -> tuple[NDArray[np.bool_], dict[int, Rejection], dict[int, float], float]:
    """Apply the filters that compare records: kept rows, rejected ones, factors of weights, bias."""
    kept, features = rows.kept, rows.features
    dropped = {index: Rejection(UNREADABLE, reason) for index, reason in _ambiguous_ids(kind, rows, kept)}
    kept[list(dropped)] = False
    weights: dict[int, float] = {}
    bias, start = 0.0, 2
    for one in compared:
        own = features[:, start : start + one.width]
        start += one.width
        decision: Decision = one.decide(_FileRecords(kind, rows, own, kept.copy(), tools))
        findings.counts[one.name].figures.update(decision.figures)
        for index in sorted(decision.reasons):
            findings.add(index, rows.positions[index], one.name, decision.reasons[index])
            if one.action == "drop":
                dropped[index] = Rejection(one.name, decision.reasons[index])
                kept[index] = False
        if one.action == "drop":
            weights.update(decision.weights)
        bias = max(bias, decision.bias)
    return kept, dropped, weights, bias


def _ambiguous_ids(kind: type, rows: _Rows, kept: NDArray[np.bool_]) -> Iterator[tuple[int, str]]:
    """Rows whose prompt id stands for another prompt in an earlier row: groups are formed by it."""
    indices = np.flatnonzero(kept)
    features = rows.features[indices]
    _, first, inverse = np.unique(features[:, 0], return_index=True, return_inverse=True)
    other = first[inverse]
    for at in np.flatnonzero(features[:, 1] != features[other, 1]):
        index = int(indices[at])
        prompt = prompt_of_record(parse_record(kind, rows.spool.row(index)))
        assert prompt is not None, "rows without prompts have equal features"
        where = rows.positions[int(indices[other[at]])]
        yield index, f"prompt id '{prompt.id}' stands for another prompt at {where}"


def _write_rows(
    rows: _Rows,
    dropped: Mapping[int, Rejection],
    weights: Mapping[int, float],
    files: Mapping[str, Path],
    any_clean: bool,
) -> None:
    """Write the cleaned and the rejected rows, both in the order of the file."""
    with ExitStack() as stack:
        clean = stack.enter_context(atomically(files["clean"])) if any_clean else None
        rejected = stack.enter_context(atomically(files["rejected"]))
        with progress("writing rows", len(rows.positions), after=SHORT_SECONDS) as bar:
            for index, where in enumerate(rows.positions):
                line = rows.spool.line(index)
                if rows.rejected[index]:
                    rejected.write(line + b"\n")
                elif index in dropped:
                    rejected.write(_rejected_line(where, dropped[index], line) + b"\n")
                elif clean is not None:
                    clean.write((_weighted(line, weights[index]) if index in weights else line) + b"\n")
                if index % 10_000 == 0:
                    bar.at(index)


def _weighted(line: bytes, factor: float) -> bytes:
    row = json.loads(line)
    return _json({**row, "weight": row.get("weight", 1.0) * factor})


def _rejected_line(where: str, rejection: Rejection, line: bytes) -> bytes:
    start = _json({"where": where, "filter": rejection.filter, "reason": rejection.reason})
    return start[:-1] + b', "row": ' + line + b"}"


def _json(row: Mapping[str, Any]) -> bytes:
    return json.dumps(to_json(row), ensure_ascii=False).encode("utf-8", "replace")


def _parts(total: int, unreadable: int, findings: _Findings, bias: float) -> dict[str, float]:
    """The parts of the quality score."""
    records = total - unreadable
    parts = {"readable": records / total if total else 0.0}
    for part, indices in findings.parts.items():
        parts[part] = 1 - len(indices) / records if records else 0.0
    parts["unbiased"] *= 1 - bias
    return parts
