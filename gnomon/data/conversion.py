"""Convert a data file to another format; rows that are not used are written with the reason."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.storage.files import atomically, to_json
from gnomon.core.types import RatedText
from gnomon.data.formats.common.misspellings import hint
from gnomon.data.formats.common.record_parts import parts_of
from gnomon.data.formats.own_layout import GNOMON
from gnomon.data.formats.registry import OWN, RowLayout, all_formats, find_format
from gnomon.data.output_file import check_output
from gnomon.data.reading.counting import counted, verb
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.record_kinds import recognize_kind, unread_keys
from gnomon.data.record_rows import record_row
from gnomon.data.records import NAMES, scan_records


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        kind: kind of the records.
        written: number of rows written.
        rejected: number of rows that were not used, by the reason; the file has each with its position.
        unread: keys that were not read.
        left_out: number of rows written without a part of their record that the format has no place for.
        joined: number of rows that are part of the record at another row's position.
        rejected_file: the file of these rows; `None` if all rows were used.
    """

    kind: type
    written: int
    rejected: Counter[str]
    unread: tuple[str, ...]
    rejected_file: Path | None
    left_out: Counter[str] = field(default_factory=Counter)
    joined: int = 0

    def sentence(self, out: Path) -> str:
        """The result in words."""
        lines = [f"{counted(self.written, NAMES[self.kind])} in {out}"]
        if self.rejected_file:
            why, count = self.rejected.most_common(1)[0]
            most = f"; the most frequent reason, {counted(count, 'times')}: {why}"
            more = most if len(self.rejected) > 1 else f": {why}"
            lines.append(
                f"{counted(self.rejected.total(), 'rows')} not used, listed in {self.rejected_file}{more}"
            )
        if self.joined:
            joined = f"{counted(self.joined, 'rows')} {verb(self.joined, 'are')}"
            lines.append(f"{joined} part of another row's record")
        if self.left_out:
            parts = ", ".join(f"{part} in {counted(n, 'rows')}" for part, n in self.left_out.most_common())
            lines.append(f"left out, since the format has no place for them: {parts}")
        if self.unread:
            lines.append(f"keys not read: {', '.join(self.unread)}")
        return "\n".join(lines)


def convert_file(
    path: Path, out: Path, to: str, layout: RowLayout = OWN, *, overwrite: bool = False
) -> Conversion:
    """Convert a file; the new one is written as a whole, or not at all.

    Args:
        path: of the file or folder.
        out: the file to write: JSON lines, or what the format is written as.
        to: name of the format to write.
        layout: the layout of the file's rows, where the user gave one.
        overwrite: whether to replace existing files.

    Raises:
        ConfigError: the format cannot be written, or a file exists.
        DataError: the file cannot be read, or no row of it can be written.
    """
    recognition = recognize_kind(path, layout=layout)
    kind = recognition.kind
    write, writable_parts = writer_of(to, kind)
    json_list = to != GNOMON and find_format(to).written_as == "json"
    rejected_file = out.with_name(f"{out.name.removesuffix(out.suffix)}.rejected.jsonl")
    check_output(out, path, beside=(rejected_file,), overwrite=overwrite, json_list=json_list)
    written, rejected, left_out, keys = 0, Counter[str](), Counter[str](), KeysRead()
    with contextlib.ExitStack() as stack:
        rejects: BinaryIO | None = None
        file_out = stack.enter_context(atomically(out))
        for where, record in scan_records(kind, path, keys, recognition.layout):
            try:
                if isinstance(record, DataError):
                    raise record
                line = _line(write(record))
                file_out.write((b"," if written else b"[") + b"\n" + line if json_list else line + b"\n")
                written += 1
                if writable_parts is not None:
                    left_out.update(part for part in parts_of(record) if part not in writable_parts)
            except DataError as error:
                reason = str(error).removeprefix(f"{path}, {where}: ")
                rejected[reason] += 1
                rejects = rejects or stack.enter_context(atomically(rejected_file))
                rejects.write(_line({"where": where, "reason": reason}) + b"\n")
        file_out.write(b"\n]\n" if json_list else b"")
        if not written:
            why = rejected.most_common(1)[0][0] if rejected else "it holds no rows"
            raise DataError(f"{path}: no row can be written as {to}; {why}")
    if not rejected and overwrite:
        rejected_file.unlink(missing_ok=True)
    listed = rejected_file if rejected else None
    return Conversion(kind, written, rejected, unread_keys(keys), listed, left_out, keys.joined)


def writer_of(name: str, kind: type) -> tuple[Callable[[Any], dict[str, Any]], Set[str] | None]:
    """Return the function that writes a record of a kind in a format, and the parts of records that it keeps.

    Gnomon's own layout has no such parts, `None`: it keeps all of a record.

    Raises:
        ConfigError: there is no such format, or it holds no records of the kind.
    """
    if name == GNOMON:
        return record_row, None
    writable = {form.name: form.writes for form in all_formats().values() if form.writes}
    if name not in writable:
        problem = f"'{name}' is no format that can be written"
        raise ConfigError(f"--to: {problem}; {hint(name, [GNOMON, *writable])}")
    form = find_format(name)
    if kind not in form.writes:
        held = " or ".join(NAMES[one] for one in form.writes)
        problem = f"{form.title} hold {held}, and the file holds {NAMES[kind]}"
        if kind is RatedText:
            problem += "; where its answers are to be imitated, give --format prompt-response"
        raise ConfigError(f"--to {name}: {problem}.")
    return form.write, frozenset(form.keeps(kind))


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(to_json(row), ensure_ascii=False).encode()
