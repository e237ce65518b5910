"""Write an exported data set: a file or folder for each kind of rows, in chunks, and a manifest.

Everything is written into a temporary folder and moved when it is complete. The manifest holds a digest of each
file: a later export replaces only unchanged files, and readers detect changed ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, get_args

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.files import to_json, write_json
from gnomon.core.storage.folder_lock import FolderLock
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.core.storage.ownership import entries, listed, read_record, remove_entries, seal, unchanged
from gnomon.data.reading.sources import digest_source
from gnomon.feedback.export.exporter import ROW_KINDS, ExportSpec, export_rows, record_export, start_export
from gnomon.feedback.export.layouts import kinds_of_layout, layouts, row_writer
from gnomon.feedback.export.provenance import MANIFEST
from gnomon.feedback.export.row_filters import check_alpha
from gnomon.feedback.export.row_schema import Row, RowKind, arrow_row, arrow_schema
from gnomon.feedback.store.store import Store

ENDINGS = {"jsonl": ".jsonl", "parquet": ".parquet", "datasets": ""}
NAMES = {f"{kind}{ending}" for kind in get_args(RowKind) for ending in ENDINGS.values()}
CHUNK = 1000  # rows of a table in memory at a time


class Writer:
    """Writes a file for each kind of rows into a folder, all at once.

    Args:
        folder: folder of the files; it is created.
        format: `jsonl`, `parquet`, `datasets` (a folder as `save_to_disk` writes it), or the layout of another
            tool, such as `trl`, as JSON lines.
        kinds: kinds of rows.
        overwrite: replace files of the same names that no export wrote or that were changed, and keep all others.
            Otherwise a folder that holds anything but an export is refused.

    Raises:
        ConfigError: there is no such format.
        DataError: the folder cannot be written, or holds something else.
        BusyError: another process exports into it.
    """

    def __init__(self, folder: Path, format: str, kinds: Iterable[RowKind], *, overwrite: bool = False):
        kinds, ending = tuple(kinds), ending_of(format)
        self.folder, self.format, self.overwrite = folder, format, overwrite
        self.names = {kind + ending for kind in kinds} | {MANIFEST}
        self._converted = {kind: row_writer(format, kind) for kind in kinds}
        self._check()
        with ExitStack() as resources:
            try:
                _lock_folder(folder, resources)
                self.beside = resources.enter_context(temporary_folder(folder))
            except OSError as error:
                problem = error.strerror or error
                raise DataError(f"{folder} cannot be written ({problem}); give another folder.") from None
            self.open: dict[RowKind, _Lines | _Table] = {
                kind: _Lines(self.beside / f"{kind}.jsonl")
                if ending == ENDINGS["jsonl"]
                else _Table(self.beside, kind, streamed=format == "datasets")
                for kind in kinds
            }
            self._resources = resources.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self.open.values():
            with suppress(OSError):
                file.close()
        self._resources.close()

    def add(self, kind: RowKind, row: Row) -> None:
        """Write a row.

        Raises:
            DataError: the layout has no place for something that the row holds.
        """
        self.open[kind].add(self._converted[kind](row))

    def finish(self, manifest: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Move the files into place, remove those of an earlier export, and write the manifest.

        Args:
            manifest: returns its content, without the files.

        Returns:
            The written manifest. A kind without rows has no file.
        """
        files: dict[str, str] = {}
        for kind, file in self.open.items():
            file.close()
            if not file.count:
                continue
            path = self.beside / (kind + ending_of(self.format))
            if self.format == "datasets":
                _save(self.beside / f"{kind}.arrow", path)
            _sync(path)
            files[path.name] = digest_source(path)
        before = self._check()
        content = to_json({**manifest(), "files": files})
        # If the process ends at any point, the manifest lists each file that an export wrote.
        write_json(self.folder / MANIFEST, seal({**content, "files": before, "coming": files}))
        remove_entries(self.folder, {*before, *files})
        for name in files:
            (self.beside / name).rename(self.folder / name)
        sealed = seal(content)
        write_json(self.folder / MANIFEST, sealed)
        return sealed

    def _check(self) -> dict[str, list[str]]:
        """The unchanged files of an earlier export, with their digests.

        Raises:
            DataError: something else is in the folder.
        """
        if not self.folder.is_dir():
            return {}
        record = read_record(self.folder / MANIFEST) or {}
        recorded: dict[str, list[str]] = {}
        for part in (record.get("files"), record.get("coming")):
            for name, digests in part.items() if isinstance(part, dict) else ():
                recorded.setdefault(name, []).extend(digests if isinstance(digests, list) else [digests])
        own = unchanged(self.folder, recorded, NAMES)
        others = set(entries(self.folder)) - own - ({MANIFEST} if record else set())
        if others and not self.overwrite:
            raise DataError(
                f"{self.folder} holds {listed(others)}, which no export wrote or which were changed; give an "
                "empty folder, or add --overwrite, which replaces files of the same names and keeps the others."
            )
        for name in sorted(others & self.names):
            if (self.folder / name).is_dir() and not (self.folder / name).is_symlink():
                raise DataError(
                    f"{self.folder / name} is a folder that no export wrote; move it, or give another folder."
                )
        return {name: recorded[name] for name in own}


def ending_of(format: str) -> str:
    """Return the suffix of the files of a format.

    Raises:
        ConfigError: there is no such format.
    """
    if format in layouts():
        return ENDINGS["jsonl"]
    if format not in ENDINGS:
        raise ConfigError(f"there is no format '{format}'; choose one of {', '.join([*ENDINGS, *layouts()])}.")
    return ENDINGS[format]


def write_export(
    store: Store,
    project: str,
    folder: Path,
    spec: ExportSpec | None = None,
    format: str = "jsonl",
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Export a project's data with a manifest, and record it in the store; returns the manifest.

    Args:
        store: database with the project.
        project: id of the project.
        folder: folder for the files.
        spec: what to export.
        format: `jsonl`, `parquet`, `datasets`, or the layout of another tool, such as `trl`, as JSON lines.
        overwrite: replace files of the same names even if no export wrote them.

    Raises:
        ConfigError: the project has no such rows, or there is no such format.
        DataError: there are no judgements yet, or the folder cannot be written or holds something else.
        BusyError: another process exports into the folder.
    """
    ending_of(format)
    stored, spec = store.project(project), spec or ExportSpec()
    if format in layouts():
        spec = replace(spec, kinds=kinds_of_layout(format, ROW_KINDS[stored.task], spec.kinds))
    export = start_export(stored, spec)
    if spec.min_alpha is not None:
        check_alpha(store, project, spec.min_alpha)
    with Writer(folder, format, (*export.kinds, "judgements"), overwrite=overwrite) as writer:
        for kind, row in export_rows(store, export):
            try:
                writer.add(kind, row)
            except DataError:  # the layout of another tool has no place for it
                export.rows[kind] -= 1
                export.leave_out("rows_of_another_layout")
        if not export.annotators:
            raise DataError(f"project '{project}' has no judgements yet; judge something first.")
        manifest = writer.finish(export.to_json)
    record_export(store, manifest)
    return manifest


class _Lines:
    """A file of JSON lines."""

    def __init__(self, path: Path):
        self.file: BinaryIO = path.open("wb")
        self.count = 0

    def add(self, row: Row) -> None:
        self.count += 1
        self.file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())

    def close(self) -> None:
        self.file.close()


class _Table:
    """A Parquet file, or a stream of Arrow from which a `datasets` folder is made."""

    def __init__(self, folder: Path, kind: Any, *, streamed: bool):
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.schema = arrow_schema(kind)
        self.waiting: list[Row] = []
        self.count = 0
        path = str(folder / kind)
        writer: Any = (
            pa.ipc.new_stream(path + ".arrow", self.schema)
            if streamed
            else pq.ParquetWriter(path + ".parquet", self.schema)
        )
        self.file: Any = writer

    def add(self, row: Row) -> None:
        self.count += 1
        self.waiting.append(arrow_row(row))
        if len(self.waiting) == CHUNK:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self.waiting:
            self.file.write_table(pa.Table.from_pylist(self.waiting, schema=self.schema))
            self.waiting = []

    def close(self) -> None:
        self._flush()
        self.file.close()


def _save(arrow: Path, folder: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset.from_file(str(arrow)).save_to_disk(str(folder))


def _sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            with file.open("rb+") as open_file:
                os.fsync(open_file.fileno())


def _lock_folder(folder: Path, resources: ExitStack) -> None:
    """Create and lock the folder; on exit, `resources` removes created folders that are still empty."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        resources.callback(_remove_if_empty, parent)
    resources.enter_context(FolderLock(folder, "export folder"))


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
