"""The key of checked rows: digests of everything that the checks of single rows depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.storage.environment import versions
from gnomon.data.quality.contract import Filter
from gnomon.data.quality.work.source_files import SourceFiles
from gnomon.data.reading.dependencies import code_digest, tokenizer_digest
from gnomon.data.record_kinds import FileRecognition

LIBRARIES = ("tokenizers", "jinja2", "pyarrow")  # beside those of `versions`
ANOTHER_VERSION = "another version of Gnomon or its libraries"


def work_key(
    source: SourceFiles, recognition: FileRecognition, active: Sequence[Filter], tokenizer: Any = None
) -> dict[str, str]:
    """Compute the key of a file's checked rows: a digest of each part, under the words for another such part.

    The source counts by its content: a digest takes about a hundredth of the time of the checks, and unlike sizes
    and times it neither misses a change nor sees one where a file was only copied or touched.

    Args:
        source: the file or folder.
        recognition: its kind and format.
        active: the filters, which count with all of their settings.
        tokenizer: for filters that count tokens.
    """
    files = sorted({file for one in active for file in one.files_of_checks()})
    layout = recognition.layout
    return {
        "other data": source.digest(),
        "another format": digest_of([recognition.kind.__name__, layout.name, layout.columns]),
        "other filters": digest_of(
            [
                {one.name: one.model_dump() for one in active},
                [digest_file(Path(file).expanduser()) for file in files],
            ]
        ),
        "another tokenizer": "" if tokenizer is None else tokenizer_digest(tokenizer),
        ANOTHER_VERSION: digest_of([code_digest(), versions(), {name: _version(name) for name in LIBRARIES}]),
    }


def differences(key: Mapping[str, str], recorded: object) -> list[str]:
    """Name the parts in which a recorded key differs; one of another layout is of another version."""
    if not isinstance(recorded, dict) or recorded.keys() != key.keys():
        return [ANOTHER_VERSION]
    return [part for part in key if key[part] != recorded[part]]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
