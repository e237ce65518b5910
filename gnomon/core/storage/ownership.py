"""What Gnomon wrote into a folder: the only things there that it removes or replaces.

One rule for exports, runs, reports and models. A name counts as Gnomon's own only if Gnomon writes such a name,
the record of the folder lists it, and its content still has the digest that was recorded. A record lists plain
names, never a path, and is itself recognized by a digest of its own content. Anything else in the folder
belongs to somebody else: it is neither removed nor replaced nor followed out of the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

RECORD_DIGEST = "record_digest"  # key of a record: SHA-256 of all the rest of it


def is_plain_name(name: object) -> bool:
    """Whether a name leads to an entry of its own folder and nowhere else."""
    return isinstance(name, str) and name not in ("", ".", "..") and not any(c in name for c in "/\\\0")


def digest_entry(path: Path) -> str | None:
    """SHA-256 of a file, or of the files of a folder with their names; `None` of anything else, as a link."""
    if path.is_symlink():
        return None
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return None
    inside = sorted(path.rglob("*"))
    if any(p.is_symlink() or not (p.is_file() or p.is_dir()) for p in inside):
        return None
    files = [[p.relative_to(path).as_posix(), digest_entry(p)] for p in inside if p.is_file()]
    return hashlib.sha256(json.dumps(files, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """Add the digest of a record's content, by which `read_record` recognizes it."""
    content = {key: value for key, value in record.items() if key != RECORD_DIGEST}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return {**content, RECORD_DIGEST: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()}


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a record that Gnomon wrote and nobody changed; `None` where there is none."""
    with suppress(OSError, ValueError, RecursionError):
        record = json.loads(path.read_text(encoding="utf-8")) if not path.is_symlink() else None
        if isinstance(record, dict) and seal(record) == record:
            return record
    return None


def unchanged(folder: Path, recorded: Mapping[str, Any], names: Collection[str]) -> set[str]:
    """The entries of `folder` that are still as Gnomon wrote them.

    Args:
        folder: to look in.
        recorded: by name, the digest or the digests that were recorded.
        names: that Gnomon may write there; others do not count, whatever the record lists.
    """
    same = set()
    for name, digests in recorded.items():
        known = digests if isinstance(digests, list) else [digests]
        if is_plain_name(name) and name in names and (digest := digest_entry(folder / name)) is not None:
            same |= {name} if digest in known else set()
    return same


def entries(folder: Path) -> list[str]:
    """The names in a folder but for hidden ones, in order; none where there is no folder.

    Gnomon writes no hidden name but its own temporary files, locks and records, so it never touches other ones.
    """
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.is_dir() else []


def remove_entries(folder: Path, names: Iterable[str]) -> None:
    """Remove files and folders by their plain names; of a symbolic link the link alone."""
    for name in names:
        assert is_plain_name(name), name
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Rename a file or folder to the same name with the first free number behind it; returns the new path."""
    number = next(n for n in range(1, 100_000) if not os.path.lexists(f"{path}.{n}"))
    return path.rename(f"{path}.{number}")


def put_folder(new: Path, folder: Path) -> Path | None:
    """Move `new` to `folder`; what was there is removed if it holds nothing else, and set aside otherwise.

    Returns:
        Where the former folder is now; `None` if there was none or it held the same.
    """
    aside = None
    if os.path.lexists(folder):
        digest = digest_entry(folder)
        if digest is not None and digest == digest_entry(new):
            shutil.rmtree(new)
            return None
        aside = set_aside(folder)
    os.replace(new, folder)
    return aside


def listed(names: Collection[str], most: int = 3) -> str:
    """The first few of many names, for a message."""
    first = sorted(names)[:most]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
