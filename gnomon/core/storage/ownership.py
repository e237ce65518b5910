"""Ownership of files in a folder: Gnomon removes and replaces only files that it wrote itself.

One rule for exports, runs, reports and models. A name counts as Gnomon's own only if Gnomon writes such a name,
the record of the folder lists it, and its content still has the recorded digest. A record lists plain names,
never a path, and is itself recognized by a digest of its own content. Anything else in the folder belongs to
somebody else: it is neither removed nor replaced nor followed out of the folder.
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
    """Return whether a name leads to an entry of its own folder and nowhere else."""
    return isinstance(name, str) and name not in ("", ".", "..") and not any(c in name for c in "/\\\0")


def digest_entry(path: Path) -> str | None:
    """Compute the SHA-256 of a file, or of a folder's files and names; `None` for a link and anything else."""
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
    """Read a record that Gnomon wrote and nobody changed; `None` if there is none."""
    with suppress(OSError, ValueError, RecursionError):
        record = json.loads(path.read_text(encoding="utf-8")) if not path.is_symlink() else None
        if isinstance(record, dict) and seal(record) == record:
            return record
    return None


def unchanged(folder: Path, recorded: Mapping[str, Any], names: Collection[str]) -> set[str]:
    """Return the entries of `folder` that are still as Gnomon wrote them.

    Args:
        folder: the folder.
        recorded: recorded digest, or digests, by name.
        names: names that Gnomon may write there; others do not count, whatever the record lists.
    """
    same = set()
    for name, digests in recorded.items():
        known = digests if isinstance(digests, list) else [digests]
        if is_plain_name(name) and name in names and (digest := digest_entry(folder / name)) is not None:
            same |= {name} if digest in known else set()
    return same


def entries(folder: Path) -> list[str]:
    """List the names in a folder except hidden ones, sorted; empty if there is no folder.

    Gnomon's only hidden files are its own temporary files, locks and records, so it never touches other ones.
    """
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.is_dir() else []


def remove_entries(folder: Path, names: Iterable[str]) -> None:
    """Remove files and folders by their plain names; for a symbolic link only the link."""
    for name in names:
        assert is_plain_name(name), name
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Append the first free number to the name of a file or folder; returns the new path."""
    number = next(n for n in range(1, 100_000) if not os.path.lexists(f"{path}.{n}"))
    return path.rename(f"{path}.{number}")


def put_folder(new: Path, folder: Path) -> Path | None:
    """Move `new` to `folder`; a former folder is removed if it has the same content, and renamed otherwise.

    Returns:
        The former folder's new path; `None` if there was none or it had the same content.
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
    """Join the first few of many names for a message."""
    first = sorted(names)[:most]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
