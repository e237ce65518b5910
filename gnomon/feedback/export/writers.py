"""Writing an exported data set: a file or folder for each kind of rows, chunk by chunk, and a manifest of them.

Everything is written beside its place and moved there when it is whole. The manifest holds a digest of each
file: a later export replaces only what still fits it, and readers see where a file was changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, get_args

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.files import to_json, write_json
from gnomon.core.storage.folder_lock import FolderLock
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.core.storage.ownership import entries, listed, read_record, remove_entries, seal, unchanged
from gnomon.data.reading.readers import digest_source
from gnomon.feedback.export.exporter import Wanted, begin, made_rows, record_export
from gnomon.feedback.export.provenance import MANIFEST
from gnomon.feedback.export.row_schema import Kind, Row, arrow_schema
from gnomon.feedback.store.store import Store

ENDINGS = {"jsonl": ".jsonl", "parquet": ".parquet", "datasets": ""}
NAMES = {f"{kind}{ending}" for kind in get_args(Kind) for ending in ENDINGS.values()}
CHUNK = 1000  # rows of a table in memory at a time


class Writer:
    """A folder that gets a file for each kind of rows, when all of them are written.

    Args:
        folder: where the files belong; it is made.
        format: `jsonl`, `parquet`, or `datasets`: a folder as `save_to_disk` writes it.
        kinds: of rows.
        overwrite: replace files of the same names that an export did not write or somebody changed, and leave
            all other files alone. Otherwise a folder that holds anything else than an export is refused.

    Raises:
        ConfigError: there is no such format.
        DataError: the folder cannot be written, or holds something else.
        BusyError: another process exports into it.
    """

    def __init__(self, folder: Path, format: str, kinds: Iterable[Kind], *, overwrite: bool = False):
        if format not in ENDINGS:
            raise ConfigError(f"there is no format '{format}'; choose one of {', '.join(ENDINGS)}.")
        kinds = tuple(kinds)
        self.folder, self.format, self.overwrite = folder, format, overwrite
        self.names = {kind + ENDINGS[format] for kind in kinds} | {MANIFEST}
        self._check()
        with ExitStack() as held:
            try:
                _hold(folder, held)
                self.beside = held.enter_context(temporary_folder(folder))
            except OSError as error:
                problem = error.strerror or error
                raise DataError(f"{folder} cannot be written ({problem}); give another folder.") from None
            self.open: dict[str, _Lines | _Table] = {
                kind: _Lines(self.beside / f"{kind}.jsonl")
                if format == "jsonl"
                else _Table(self.beside, kind, streamed=format == "datasets")
                for kind in kinds
            }
            self._held = held.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self.open.values():
            with suppress(OSError):
                file.close()
        self._held.close()

    def add(self, kind: str, row: Row) -> None:
        """Write a row."""
        self.open[kind].add(row)

    def finish(self, manifest: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Move the files into place, remove those of an earlier export, and write the manifest.

        Args:
            manifest: what it says, besides the files.

        Returns:
            The manifest as it was written. A kind of which there are no rows has no file.
        """
        files: dict[str, str] = {}
        for kind, file in self.open.items():
            file.close()
            if not file.count:
                continue
            made = self.beside / (kind + ENDINGS[self.format])
            if self.format == "datasets":
                _save(self.beside / f"{kind}.arrow", made)
            _to_disk(made)
            files[made.name] = digest_source(made)
        before = self._check()
        said = to_json({**manifest(), "files": files})
        # Whatever moment ends the process, the manifest knows each file that an export wrote.
        write_json(self.folder / MANIFEST, seal({**said, "files": before, "coming": files}))
        remove_entries(self.folder, {*before, *files})
        for name in files:
            (self.beside / name).rename(self.folder / name)
        found = seal(said)
        write_json(self.folder / MANIFEST, found)
        return found

    def _check(self) -> dict[str, list[str]]:
        """The files of an earlier export that nobody changed, with their digests.

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
                f"{self.folder} holds {listed(others)}, which no export wrote or somebody changed since; give an "
                "empty folder, or add --overwrite, which replaces files of the same names and leaves the others."
            )
        for name in sorted(others & self.names):
            if (self.folder / name).is_dir() and not (self.folder / name).is_symlink():
                raise DataError(
                    f"{self.folder / name} is a folder that no export wrote; move it, or give another folder."
                )
        return {name: recorded[name] for name in own}


def write_export(
    store: Store,
    project: str,
    folder: Path,
    wanted: Wanted | None = None,
    format: str = "jsonl",
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a project's data with a manifest, and note in the store that they were made; returns the manifest.

    Args:
        store: that holds the project.
        project: its id.
        folder: for the files.
        wanted: what is exported.
        format: `jsonl`, `parquet` or `datasets`.
        overwrite: replace files of the same names, whoever wrote them.

    Raises:
        ConfigError: the project gives no such rows, or there is no such format.
        DataError: nobody has judged anything yet, or the folder cannot be written or holds something else.
        BusyError: another process exports into the folder.
    """
    tally = begin(store.project(project), wanted or Wanted())
    with Writer(folder, format, (*tally.kinds, "judgements"), overwrite=overwrite) as writer:
        for kind, row in made_rows(store, tally):
            writer.add(kind, row)
        if not tally.annotators:
            raise DataError(f"nothing of project '{project}' has been judged yet; judge something first.")
        manifest = writer.finish(lambda: tally.manifest)
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
        made: Any = (
            pa.ipc.new_stream(path + ".arrow", self.schema)
            if streamed
            else pq.ParquetWriter(path + ".parquet", self.schema)
        )
        self.file: Any = made

    def add(self, row: Row) -> None:
        self.count += 1
        answer = row.get("answer")  # of a judgement, whose shape depends on the task
        self.waiting.append(row if answer is None else {**row, "answer": json.dumps(answer, ensure_ascii=False)})
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


def _to_disk(path: Path) -> None:
    """What the disk has not yet got of a file or folder."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            with file.open("rb+") as open_file:
                os.fsync(open_file.fileno())


def _hold(folder: Path, held: ExitStack) -> None:
    """Lock the folder for `held`, which also removes the folders made here that are empty in the end."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        held.callback(_remove_if_empty, place)
    held.enter_context(FolderLock(folder, "export folder"))


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
