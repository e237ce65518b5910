"""Cleaning of a data file: every row goes into the cleaned file, or with its reason into that of rejected rows.

The file is read once. Worker processes parse its rows and check each alone; the checked rows wait in a folder
beside the output, from which an interrupted cleaning goes on. What the filters that compare records need of a row
is a few numbers in memory.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError, Interrupted, translate_disk_full
from gnomon.core.progress import SHORT_SECONDS, progress
from gnomon.core.storage.files import json_text
from gnomon.data.formats.registry import OWN, RowLayout
from gnomon.data.output_file import check_output
from gnomon.data.quality.contract import Tools
from gnomon.data.quality.file_checks import FileChecks
from gnomon.data.quality.findings import Findings
from gnomon.data.quality.lines import rejected_line, weighted_line
from gnomon.data.quality.registry import active_filters
from gnomon.data.quality.report import CleanReport, output_files
from gnomon.data.quality.row_comparison import RowComparison, compare_rows
from gnomon.data.quality.shard import RowChecks
from gnomon.data.quality.work.checked_rows import CheckedRows
from gnomon.data.quality.work.new_files import NewFiles, new_files, wrote_outputs
from gnomon.data.quality.work.row_blocks import count_rows
from gnomon.data.quality.work.source_files import SourceFiles
from gnomon.data.quality.work.work_folder import FLAGGED, WorkFolder, work_path
from gnomon.data.quality.work.work_key import work_key
from gnomon.data.reading.counting import counted, verb
from gnomon.data.reading.readers import locate
from gnomon.data.reading.standard_input import STANDARD_INPUT, is_pipe
from gnomon.data.record_kinds import recognize_kind, unread_keys
from gnomon.data.records import NAMES


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
        overwrite: whether to replace existing files, and the checked rows of an interrupted cleaning that had
            other data or settings.

    Raises:
        ConfigError: a setting is wrong, or a file exists.
        DataError: the file cannot be read, changed while it was read, or no row of it is left.
        DiskFullError: no space is left; the same call goes on likewise.
        Interrupted: the user stopped it; the same call goes on, unless the data come from a pipe.
        BusyError: another process cleans to the same file.
    """
    started, tools, outputs = time.monotonic(), tools or Tools(), output_files(out)
    replace_outputs = overwrite or wrote_outputs(outputs)
    check_output(out, path, beside=outputs.values(), overwrite=replace_outputs)
    source = SourceFiles(path)
    recognition = recognize_kind(path, layout=layout)
    active = active_filters(recognition.kind, filters or {}, tools)
    checks = FileChecks(path, recognition.layout, RowChecks(recognition.kind, active, tools.tokenizer))
    key = None if is_pipe(locate(path)[0]) else work_key(source, recognition, active, tools.tokenizer)
    try:
        with (
            translate_disk_full(
                out.absolute().parent, lambda: _remainder(out, checks, resumable=key is not None)
            ),
            WorkFolder(out, key, overwrite=overwrite) as work,
        ):
            # A process that held the folder may have written them since.
            check_output(out, path, beside=outputs.values(), overwrite=replace_outputs)
            report = _clean(checks, source, work, outputs, tools=tools, jobs=jobs, started=started)
    except KeyboardInterrupt:
        raise Interrupted(_how_to_go_on(path, checks.done, resumable=key is not None)) from None
    if not report.clean:
        reasons = outputs["rejected"]
        raise DataError(f"{path}: no row is left of {report.rows:,}; {reasons} has the reason of each.")
    return report


def _how_to_go_on(path: Path, done: int, *, resumable: bool) -> str:
    if resumable and not done:
        return "stopped before a row was checked; run the same command again."
    if resumable:
        return f"stopped after {counted(done, 'checked rows')}; run the same command again to go on from there."
    name = "standard input" if str(path) == STANDARD_INPUT else f"the pipe {path}"
    return f"stopped; {name} cannot be resumed, so write its content to a file and clean that, or start again."


def _remainder(out: Path, checks: FileChecks, *, resumable: bool) -> str:
    """A clause on the checked rows that a full disk leaves."""
    # Counted on the disk: this command may have failed before it read those of an earlier one.
    done = count_rows(work_path(out), checks.row_checks.width) if resumable else 0
    if not done:
        return "no checked row was kept"
    return f"{counted(done, 'checked rows')} {verb(done, 'are')} kept to go on from"


def _clean(
    checks: FileChecks,
    source: SourceFiles,
    work: WorkFolder,
    outputs: Mapping[str, Path],
    *,
    tools: Tools,
    jobs: int | None,
    started: float,
) -> CleanReport:
    """Check each row alone, compare the rows, and write all files."""
    row_checks = checks.row_checks
    with CheckedRows(work.path, row_checks.width) as rows, (work.path / FLAGGED).open("w+b") as flagged:
        findings = Findings((*row_checks.singles, *row_checks.files), flagged)
        try:
            checks.run(rows, findings, jobs)
        finally:  # rows of a changed file must not be kept after a stop either
            source.check()
        comparison = compare_rows(row_checks.kind, row_checks.files, rows, findings, tools)
        with new_files(outputs, work.path) as files:
            _write_rows(rows, comparison, files)
            if flagged.tell():
                flagged.seek(0)
                shutil.copyfileobj(flagged, files.open("flagged"))
            report_file, text_file = files.open("report"), files.open("text")
            present = {key: str(path) for key, path in outputs.items() if key in files.open_files}
            report = _report(checks, findings, comparison, present, time.monotonic() - started)
            report_file.write(json_text(report).encode("utf-8"))
            text_file.write(report.as_text().encode("utf-8"))
    return report


def _write_rows(rows: CheckedRows, comparison: RowComparison, files: NewFiles) -> None:
    """Write the cleaned and the rejected rows, both in the order of the file."""
    clean = files.open("clean") if comparison.remaining.any() else None
    rejected, dropped, weights = files.open("rejected"), comparison.dropped, comparison.weights
    with progress("writing rows", len(rows), after=SHORT_SECONDS) as bar:
        for index, where in enumerate(rows.positions):
            line = rows.line(index)
            if rows.is_rejected(index):
                rejected.write(line + b"\n")
            elif index in dropped:
                rejected.write(rejected_line(where, dropped[index], line) + b"\n")
            elif clean is not None:
                clean.write((weighted_line(line, weights[index]) if index in weights else line) + b"\n")
            if index % 10_000 == 0:
                bar.at(index)


def _report(
    checks: FileChecks, findings: Findings, comparison: RowComparison, files: Mapping[str, str], seconds: float
) -> CleanReport:
    unreadable, clean = checks.unreadable + comparison.unreadable, int(comparison.remaining.sum())
    parts = findings.quality_parts(checks.done, unreadable, comparison.bias)
    return CleanReport(
        source=str(checks.path),
        kind=NAMES[checks.row_checks.kind],
        rows=checks.done,
        clean=clean,
        rejected=checks.done - clean,
        unreadable=unreadable,
        filters=findings.counts,
        quality=math.prod(parts.values()),
        parts=parts,
        unread=unread_keys(checks.keys),
        files=files,
        seconds=seconds,
        joined=checks.keys.joined,
    )
