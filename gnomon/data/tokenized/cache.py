"""A cache of encoded sources: each is tokenized once for all stages, runs and resumes that read it alike.

An entry is named by a digest of everything that its tokens depend on: the source's content and layout, the
tokenizer with its chat template, the length limit, and the code and libraries that encode. It also holds these
inputs, so that a renamed file is never used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError, RunError
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.storage.files import read_json, write_json
from gnomon.core.storage.leftovers import temporary_folder
from gnomon.core.storage.sized_cache import remove_least_recent
from gnomon.core.types import RejectedRow
from gnomon.data.formats.registry import RowLayout
from gnomon.data.pool import cores
from gnomon.data.reading.dependencies import code_digest, tokenizer_digest
from gnomon.data.reading.downloads import cache_folder
from gnomon.data.reading.sources import digest_source
from gnomon.data.templates.control_tokens import ControlCounts
from gnomon.data.tokenized.encode_source import SourceCounts, encode_source
from gnomon.data.tokenized.example_file import ExampleFile

LIMIT = 20 * 1024**3  # bytes of the cache; the least recently used entries are removed first
_UNUSABLE = (DataError, OSError, ValueError, LookupError, TypeError)  # of an absent, damaged or other file
ENCODERS = ("transformers", "tokenizers", "jinja2")  # libraries on which the tokens depend


class TokenCacheError(RunError):
    """The cache of tokens cannot be written."""


@dataclass(frozen=True)
class TokenizedSource:
    """An encoded source.

    Attributes:
        examples: its examples, memory-mapped.
        counts: of its records, with the rejected ones.
        cached: whether they were there already.
    """

    examples: ExampleFile
    counts: SourceCounts
    cached: bool


def tokenize_source(
    kind: type, path: Path, layout: RowLayout, tokenizer: Any, max_tokens: int, jobs: int | None = None
) -> TokenizedSource:
    """Open the examples of a source from the cache, which they are added to if they are not there.

    Args:
        kind: of the records.
        path: of the source.
        layout: the layout of its rows, where the user gave one.
        tokenizer: of the model, with its chat template.
        max_tokens: length limit of prompt and completion together.
        jobs: number of worker processes; `None`: one for each core.

    Raises:
        DataError: a row is damaged, or the source has no records.
        TokenCacheError: the cache cannot be written.
    """
    inputs = {
        "source": digest_source(path),
        "layout": [layout.name, layout.columns],
        "kind": kind.__name__,
        "tokenizer": tokenizer_digest(tokenizer),
        "max_tokens": max_tokens,
        "code": code_digest(),
        "versions": [version(name) for name in ENCODERS],
    }
    folder = cache_folder() / "tokens"
    entry = folder / f"{digest_of(inputs)}.json"
    if (cached := _read(entry, inputs, path)) is not None:
        return cached
    jobs = cores() if jobs is None else jobs
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder) as inside:
            out = inside / "examples.arrow"
            counts = encode_source(
                kind, path, layout, tokenizer, max_tokens=max_tokens, out=out, jobs=jobs, facts=inputs
            )
            content = digest_file(out)
            out.replace(entry.with_suffix(".arrow"))
        rows = [replace(row, where=row.where.removeprefix(str(path))) for row in counts.rejected]
        write_json(entry, {"inputs": inputs, "digest": content, "counts": replace(counts, rejected=rows)})
    except OSError as error:
        raise TokenCacheError(
            f"the tokens of {path} cannot be written to {folder} ({error.strerror}); set GNOMON_CACHE to a "
            "folder with room."
        ) from None
    remove_least_recent(_entries(folder), LIMIT, used=entry)
    return TokenizedSource(ExampleFile(entry.with_suffix(".arrow")), counts, cached=False)


def _read(entry: Path, inputs: dict[str, Any], path: Path) -> TokenizedSource | None:
    """The entry if it is whole and has these inputs; its rejected rows are positions in the source at `path`."""
    try:
        content, file = read_json(entry), entry.with_suffix(".arrow")
        if content["inputs"] != inputs or content["digest"] != digest_file(file):
            return None
        examples = ExampleFile(file)
        facts, controls = content["counts"], ControlCounts()
        rejected = [RejectedRow(f"{path}{row.pop('where')}", **row) for row in facts["rejected"]]
        controls.plain.update(facts["controls"]["plain"])
        controls.ends = facts["controls"]["ends"]
        counts = SourceCounts(facts["rows"], rejected, controls)
    except _UNUSABLE:
        return None
    with suppress(OSError):  # a cache that can only be read
        os.utime(entry)
    return TokenizedSource(examples, counts, cached=True)


def _entries(folder: Path) -> Iterator[tuple[Path, ...]]:
    """The files of each entry of the cache; others in the folder are not its own."""
    for entry in folder.glob("*.json"):
        if entry.is_symlink():
            continue
        try:
            own = digest_of(json.loads(entry.read_text(encoding="utf-8"))["inputs"]) == entry.stem
        except _UNUSABLE:
            continue
        if own:
            yield entry, entry.with_suffix(".arrow")
