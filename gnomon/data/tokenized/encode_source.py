"""Encoding of a source of any size to a file of examples.

The source is read once, as a stream. Worker processes parse and encode its rows; a prompt's id and digest stay in
memory. Rows of one prompt are joined, as `gnomon.data.encoding` joins them, from a temporary file.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.progress import SHORT_SECONDS, progress
from gnomon.core.types import NamedScores, Preference, Ranking, RatedText, RejectedRow
from gnomon.data.encoding import Example, answers_of, encode_row, join_examples
from gnomon.data.formats.contract import UnusedRow
from gnomon.data.formats.registry import RowLayout
from gnomon.data.pool import ordered_map
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.records import (
    PromptIds,
    check_not_empty,
    own_rows,
    parse_at,
    prompt_digest,
    row_fault,
)
from gnomon.data.templates.control_tokens import ControlCounts
from gnomon.data.tokenized.example_file import BATCH, ExampleFile, concatenated, example_writer, to_batch

if TYPE_CHECKING:
    import pyarrow as pa

JOINED = (Preference, Ranking, RatedText, NamedScores)  # kinds whose rows of one prompt are joined
SHARD = 256  # rows that a worker process gets at once
Positioned = tuple[str, Mapping[str, Any] | DataError]


@dataclass
class SourceCounts:
    """What else is known of an encoded source.

    Attributes:
        rows: number of its records.
        rejected: records that do not fit or that the chat template refuses.
        controls: control tokens in their texts.
    """

    rows: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    controls: ControlCounts = field(default_factory=ControlCounts)


@dataclass(frozen=True)
class EncodedShard:
    """Some rows of a source, encoded.

    Attributes:
        batch: the accepted ones, see `to_batch`.
        prompts: position, prompt id and prompt digest of each record, before a fault if there is one.
        accepted: prompt id of each row of `batch`.
        rejected: records that cannot be used.
        controls: control tokens in the texts of all.
        fault: the error of a damaged row, which ends the reading.
    """

    batch: pa.RecordBatch
    prompts: list[tuple[str, str, bytes]]
    accepted: list[str]
    rejected: list[RejectedRow]
    controls: ControlCounts
    fault: str | None


@dataclass(frozen=True)
class ShardEncoder:
    """The work of a process: parse rows in Gnomon's own layout and encode them.

    Attributes:
        kind: of the records.
        path: of the source, for messages.
        tokenizer: of the model, with its chat template.
        max_tokens: length limit of prompt and completion together.
    """

    kind: type
    path: Path
    tokenizer: Any
    max_tokens: int

    def __call__(self, rows: Sequence[Positioned]) -> EncodedShard:
        """Encode rows up to the first damaged one."""
        examples: list[tuple[Example, bytes]] = []
        prompts: list[tuple[str, str, bytes]] = []
        rejected: list[RejectedRow] = []
        controls, fault = ControlCounts(), None
        for where, row in rows:
            try:
                if isinstance(row, DataError):
                    raise row
                record: Any = parse_at(self.kind, row, self.path, where)
            except DataError as error:
                fault = str(error if error is row else row_fault(self.kind, self.path, where, error))
                break
            digest = prompt_digest(record.prompt) if record.prompt else b""
            prompts.append((where, record.prompt.id if record.prompt else "", digest))
            if record.prompt:
                controls.add(self.tokenizer, record.prompt, answers_of(record))
            encoded = encode_row(record, self.tokenizer, self.max_tokens)
            if isinstance(encoded, RejectedRow):
                rejected.append(encoded)
            else:
                examples.append((encoded, digest))
        accepted = [example.prompt_id for example, _ in examples]
        return EncodedShard(to_batch(examples), prompts, accepted, rejected, controls, fault)


def encode_source(
    kind: type,
    path: Path,
    layout: RowLayout,
    tokenizer: Any,
    *,
    max_tokens: int,
    out: Path,
    jobs: int,
    facts: Mapping[str, Any],
) -> SourceCounts:
    """Encode the records of a source and write their examples, in the order of `gnomon.data.encoding`.

    Args:
        kind: of the records.
        path: of the source.
        layout: the layout of its rows, where the user gave one.
        tokenizer: of the model, with its chat template.
        max_tokens: length limit of prompt and completion together.
        out: the file of examples; a file beside it is used meanwhile.
        jobs: number of worker processes.
        facts: JSON values that are written with the examples.

    Raises:
        DataError: a row is damaged, or the source has no records.
    """
    counts, ids, keys = SourceCounts(), PromptIds(), KeysRead()
    numbers: dict[str, int] = {}  # of the prompts, in the order in which they first have an accepted row
    prompt_of_row = array("q")
    rows_file = out.with_suffix(".rows")
    with example_writer(rows_file, facts) as writer:
        encoder = ShardEncoder(kind, path, tokenizer, max_tokens)
        for shard in ordered_map(encoder, _shards(kind, path, layout, keys), jobs):
            for where, name, digest in shard.prompts:
                if conflict := ids.conflict(name, digest, where):
                    raise row_fault(kind, path, where, DataError(conflict))
            if shard.fault is not None:
                raise DataError(shard.fault)
            counts.rows += len(shard.prompts)
            counts.rejected += shard.rejected
            counts.controls.merge(shard.controls)
            prompt_of_row.extend(numbers.setdefault(name, len(numbers)) for name in shard.accepted)
            writer.write_batch(shard.batch)
    check_not_empty(counts.rows, kind, path, keys)
    if kind in JOINED and len(numbers) < len(prompt_of_row):
        _join(ExampleFile(rows_file), prompt_of_row, out, facts)
        rows_file.unlink()
    else:
        rows_file.replace(out)
    return counts


def _shards(kind: type, path: Path, layout: RowLayout, keys: KeysRead) -> Iterator[list[Positioned]]:
    """The rows of a source in Gnomon's own layout, some at a time, without those that are not used."""

    def used() -> Iterator[Positioned]:
        for where, row in own_rows(kind, path, keys, layout):
            if isinstance(row, UnusedRow):
                keys.unused[str(row)] += 1
            else:
                yield where, row if isinstance(row, DataError) else dict(row)

    rows = used()
    while shard := list(itertools.islice(rows, SHARD)):
        yield shard


def _join(rows: ExampleFile, prompt_of_row: Sequence[int], out: Path, facts: Mapping[str, Any]) -> None:
    """Write the examples of rows, those of one prompt together and joined where they share a completion."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    with example_writer(out, facts) as writer, progress("joining pairs", len(rows), after=SHORT_SECONDS) as bar:
        for done, batch in _joined(rows, np.array(prompt_of_row)):
            waiting.append(batch)
            size += len(batch)
            if size >= BATCH:
                writer.write_batch(concatenated(waiting))
                waiting, size = [], 0
                bar.at(done)
        if waiting:
            writer.write_batch(concatenated(waiting))


def _joined(rows: ExampleFile, prompt_of_row: NDArray[np.int64]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The examples of rows, prompt by prompt, each batch with the number of rows up to it.

    Rows whose prompt no other has are passed on as they are, without making Python objects of their tokens.
    """
    order = np.argsort(prompt_of_row, kind="stable")
    by_prompt = np.split(order, np.flatnonzero(np.diff(prompt_of_row[order])) + 1)
    done = 0
    for alone, groups in itertools.groupby(by_prompt, key=lambda group: len(group) == 1):
        if alone:
            run = np.concatenate(list(groups))
            for part in np.split(run, np.flatnonzero(np.diff(run) != 1) + 1):
                for batch in rows.batches(int(part[0]), int(part[-1]) + 1):
                    done += len(batch)
                    yield done, batch
            continue
        for group in groups:
            done += len(group)
            digest = rows.prompt_digest(int(group[0]))
            yield done, to_batch((one, digest) for one in join_examples([rows[int(row)] for row in group]))
