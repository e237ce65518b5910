"""Provenance of exported data: the manifest beside a file, and whether the file is unchanged."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.storage.files import read_json
from gnomon.data.reading.sources import locate

MANIFEST = "manifest.json"


def provenance_of(path: Path, digest: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return a note about data written by `gnomon feedback export`, and its manifest; `None` for other data.

    Args:
        path: a file or folder of rows.
        digest: digest of that file or folder, from `data.reading.sources.digest_source`.

    Returns:
        The note: `project`, `digest` of the whole data set, the numbers of `judgements` and `annotators`, and
        whether the file is `unchanged` since the export.
    """
    file, _ = locate(path)
    manifest_path = file.parent / MANIFEST
    if not manifest_path.is_file():
        return None
    manifest: Any = None
    with suppress(DataError):
        manifest = read_json(manifest_path)
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or file.name not in files or not isinstance(manifest.get("digest"), str):
        return None
    annotators = manifest.get("annotators")
    note = {
        "project": str(manifest.get("project", "")),
        "digest": manifest["digest"],
        "judgements": manifest.get("judgements"),
        "annotators": len(annotators) if isinstance(annotators, list) else None,
        "unchanged": files[file.name] == digest,
    }
    return note, manifest
