"""An Arrow file of encoded examples, memory-mapped: an example is read when it is indexed.

Any reader of Arrow opens such a file; each row is an example of `gnomon.data.encoding`.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnomon.data.encoding import Example, PairIndices, RankedIndices, ScoreIndices
from gnomon.data.example_columns import ExampleColumns

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1024  # examples of a record batch
FACTS = b"gnomon"  # key of the schema's metadata under which the writer's facts are


def example_schema(facts: Mapping[str, Any] | None = None) -> pa.Schema:
    """Return the schema of a row.

    Args:
        facts: JSON values that are written with it.
    """
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    pair = {"chosen": pa.int32(), "rejected": pa.int32()}
    pair |= {name: pa.float64() for name in ("probability", "margin", "weight", "tie")}
    score = {"completion": pa.int32(), "name": pa.string(), "value": pa.float64()}
    score |= {"weight": pa.float64(), "count": pa.int64()}
    fields = {
        "prompt_id": pa.string(),
        "prompt_digest": pa.binary(),
        "prompt": ids,
        "completions": pa.list_(ids),
        "masks": pa.list_(pa.list_(pa.bool_())),
        "pairs": pa.list_(pa.struct(pair)),
        "rankings": pa.list_(pa.struct({"order": ids, "weight": pa.float64()})),
        "weight": pa.float64(),
        "good": pa.bool_(),
        "scores": pa.list_(pa.struct(score)),
    }
    metadata = None if facts is None else {FACTS: json.dumps(facts).encode()}
    return pa.schema(list(fields.items()), metadata=metadata)


def to_batch(examples: Iterable[tuple[Example, bytes]]) -> pa.RecordBatch:
    """Convert examples, each with the digest of its prompt, to a record batch."""
    import pyarrow as pa

    return pa.RecordBatch.from_pylist([_row(*one) for one in examples], example_schema())


def concatenated(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the rows of batches of `to_batch` as one batch."""
    import pyarrow as pa

    (batch,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return batch


def _row(example: Example, prompt_digest: bytes) -> dict[str, Any]:
    return {
        "prompt_id": example.prompt_id,
        "prompt_digest": prompt_digest,
        "prompt": example.prompt,
        "completions": example.completions,
        "masks": example.masks,
        "pairs": [vars(pair) for pair in example.pairs],
        "rankings": [vars(ranking) for ranking in example.rankings],
        "weight": example.weight,
        "good": example.good,
        "scores": [vars(score) for score in example.scores],
    }


@contextmanager
def example_writer(path: Path, facts: Mapping[str, Any] | None = None) -> Iterator[Any]:
    """Context manager: a writer with `write_batch` for batches of `to_batch`.

    Args:
        path: of the file.
        facts: JSON values that are written with it.
    """
    import pyarrow as pa

    schema = example_schema(facts)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        yield writer


class ExampleFile(Sequence[Example]):
    """The examples of a file.

    Args:
        path: of the file.

    Attributes:
        facts: what the writer recorded.

    Raises:
        ValueError: it is no such file, or cut short.
    """

    def __init__(self, path: Path):
        import pyarrow as pa

        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if not reader.schema.equals(example_schema()):
            raise ValueError(f"{path} holds other columns than encoded examples")
        self.path = path
        self.facts: dict[str, Any] = json.loads((reader.schema.metadata or {}).get(FACTS, b"{}"))
        self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._starts: list[int] = list(accumulate((batch.num_rows for batch in self._batches), initial=0))

    def __len__(self) -> int:
        """Return the number of examples."""
        return self._starts[-1]

    def __getitem__(self, index: Any) -> Any:
        """Read the example at an index, or those of a slice."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        batch, row = self._locate(index)
        masks, good = batch["masks"][row].as_py(), batch["good"][row].as_py()
        return Example(
            prompt_id=batch["prompt_id"][row].as_py(),
            prompt=_ids(batch["prompt"][row].values),
            completions=_lists(batch["completions"][row].values),
            pairs=tuple(PairIndices(**pair) for pair in batch["pairs"][row].as_py()),
            weight=batch["weight"][row].as_py(),
            masks=tuple(map(tuple, masks)),
            rankings=tuple(
                RankedIndices(tuple(one["order"]), one["weight"]) for one in batch["rankings"][row].as_py()
            ),
            good=good,
            scores=tuple(ScoreIndices(**score) for score in batch["scores"][row].as_py()),
        )

    def prompt_digest(self, index: int) -> bytes:
        """Return the digest of an example's prompt, from `prompt_digest` of records."""
        batch, row = self._locate(index)
        digest: bytes = batch["prompt_digest"][row].as_py()
        return digest

    def batches(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows from `start` to `stop` in batches of the file."""
        while start < stop:
            batch, row = self._locate(start)
            part = batch.slice(row, stop - start)
            yield part
            start += len(part)

    def _locate(self, index: int) -> tuple[pa.RecordBatch, int]:
        at = range(len(self))[index]
        number = bisect_right(self._starts, at) - 1
        return self._batches[number], at - self._starts[number]

    def columns(self) -> ExampleColumns:
        """Read the prompts' ids and all lengths."""
        import pyarrow.compute as pc

        def lengths(lists: Iterable[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
            parts = [pc.list_value_length(one).to_numpy(zero_copy_only=False) for one in lists]
            return np.concatenate(parts or [np.zeros(0)]).astype(np.int64)

        return ExampleColumns(
            prompt_ids=[name for batch in self._batches for name in batch["prompt_id"].to_pylist()],
            prompt_lengths=lengths(batch["prompt"] for batch in self._batches),
            completion_counts=lengths(batch["completions"] for batch in self._batches),
            completion_lengths=lengths(batch["completions"].flatten() for batch in self._batches),
        )

    def scores(self) -> list[list[tuple[str, float]]]:
        """Return the name and value of each example's scores."""
        return [
            [(one["name"], one["value"]) for one in scores]
            for batch in self._batches
            for scores in batch["scores"].to_pylist()
        ]

    def prompt_digests(self) -> list[bytes]:
        """Return the digest of each example's prompt."""
        return [digest for batch in self._batches for digest in batch["prompt_digest"].to_pylist()]


def _ids(values: pa.Int32Array) -> tuple[int, ...]:
    return tuple(values.to_numpy().tolist())


def _lists(values: pa.ListArray) -> tuple[tuple[int, ...], ...]:
    flat, ends = _ids(values.flatten()), list(accumulate(values.value_lengths().to_pylist(), initial=0))
    return tuple(flat[start:end] for start, end in pairwise(ends))
