"""The key of checked rows: a digest of everything that the checks of single rows depend on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.storage.environment import versions
from gnomon.data.quality.contract import Filter
from gnomon.data.reading.dependencies import code_digest, tokenizer_digest
from gnomon.data.reading.sources import digest_source
from gnomon.data.record_kinds import FileRecognition

LIBRARIES = ("tokenizers", "jinja2", "pyarrow")  # beside those of `versions`


def work_key(path: Path, recognition: FileRecognition, active: Sequence[Filter], tokenizer: Any = None) -> str:
    """Compute the key of a file's checked rows.

    The source counts by its content: a digest takes about a hundredth of the time of the checks, and unlike sizes
    and times it neither misses a change nor sees one where a file was only copied or touched.

    Args:
        path: of the file or folder.
        recognition: its kind and format.
        active: the filters, which count with all of their settings.
        tokenizer: for filters that count tokens.
    """
    files = sorted({file for one in active for file in one.files_of_checks()})
    return digest_of(
        {
            "source": [ascii(str(path)), digest_source(path)],
            "kind": recognition.kind.__name__,
            "layout": [recognition.layout.name, recognition.layout.columns],
            "filters": {one.name: one.model_dump() for one in active},
            "files": [digest_file(Path(file).expanduser()) for file in files],
            "tokenizer": None if tokenizer is None else tokenizer_digest(tokenizer),
            "code": code_digest(),
            "versions": {**versions(), **{name: _version(name) for name in LIBRARIES}},
        }
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
