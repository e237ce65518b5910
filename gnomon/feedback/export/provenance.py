"""Where a file of judgements comes from: the manifest beside it, and whether it is the one that was exported."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError
from gnomon.core.storage.files import read_json
from gnomon.data.reading.readers import locate

MANIFEST = "manifest.json"


def lineage_of(path: Path, digest: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What a run notes of data that `gnomon feedback export` wrote, and its manifest; `None` of other data.

    Args:
        path: a file or folder of rows.
        digest: of that file or folder, as `data.sources.digest_source` gives it.

    Returns:
        The note: `project`, `digest` of the whole data set, how many `judgements` and `annotators` it rests on,
        and whether the file is `unchanged` since it was exported.
    """
    place, _ = locate(path)
    found = place.parent / MANIFEST
    if not found.is_file():
        return None
    manifest: Any = None
    with suppress(DataError):
        manifest = read_json(found)
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or place.name not in files or not isinstance(manifest.get("digest"), str):
        return None
    annotators = manifest.get("annotators")
    note = {
        "project": str(manifest.get("project", "")),
        "digest": manifest["digest"],
        "judgements": manifest.get("judgements"),
        "annotators": len(annotators) if isinstance(annotators, list) else None,
        "unchanged": files[place.name] == digest,
    }
    return note, manifest
