"""Stored examples as one sequence: weights, ambiguous prompt ids, and lengths without tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnomon.data.batching import rows_by_weight
from gnomon.data.encoding import Example, PairIndices
from gnomon.data.example_columns import columns_of
from gnomon.data.tokenized.example_file import ExampleFile, example_writer, to_batch
from gnomon.data.tokenized.stored_examples import StoredExamples

PAIR = (PairIndices(0, 1, 0.9, 0.5, 1.0),)
FIRST = [
    Example("p", (1, 2), ((3,), (4, 5)), PAIR),
    Example("q", (6,), ((7, 8, 9), (1,)), PAIR, masks=((True, False, True), (True,))),
    Example("r", (2,), ((2,), (3,)), PAIR),
]
SECOND = [Example("q", (7,), ((1,), (2,)), PAIR), Example("r", (2,), ((5,), (6,)), PAIR)]


def stored(path: Path, examples: list[Example], digests: str, batch: int = 2) -> ExampleFile:
    """A file whose prompts have the letters of `digests` as their digests."""
    rows = list(zip(examples, (letter.encode() for letter in digests), strict=True))
    with example_writer(path, {"n": len(rows)}) as writer:
        for start in range(0, len(rows), batch):
            writer.write_batch(to_batch(rows[start : start + batch]))
    return ExampleFile(path)


def test_a_file_is_read_example_by_example(tmp_path: Path) -> None:
    file = stored(tmp_path / "a", FIRST, "xyz")
    assert (list(file), file[-1], file[1:], file.facts) == (FIRST, FIRST[2], FIRST[1:], {"n": 3})
    assert file.prompt_digests() == [file.prompt_digest(row) for row in range(3)] == [b"x", b"y", b"z"]
    with pytest.raises(IndexError):
        file[3]


def test_a_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import feather

    feather.write_feather(pa.table({"text": ["a"]}), tmp_path / "texts.arrow", compression="uncompressed")
    with pytest.raises(ValueError, match="other columns"):
        ExampleFile(tmp_path / "texts.arrow")


def test_an_id_of_two_prompts_gets_its_source_as_prefix(tmp_path: Path) -> None:
    """q is one prompt here and another there; r is the same prompt in both."""
    files = {"a": stored(tmp_path / "a", FIRST, "xyz"), "b": stored(tmp_path / "b", SECOND, "vz")}
    examples = StoredExamples(files, {"a": 1.0, "b": 1.0}, seed=0)
    assert [example.prompt_id for example in examples] == ["p", "a:q", "r", "b:q", "r"]
    assert [one.completions for one in examples] == [one.completions for one in FIRST + SECOND]


def test_weights_repeat_and_subsample_a_source(tmp_path: Path) -> None:
    files = {"a": stored(tmp_path / "a", FIRST, "xyz"), "b": stored(tmp_path / "b", SECOND, "yz")}
    examples = StoredExamples(files, {"a": 1.4, "b": 2.0}, seed=5)
    (extra,) = rows_by_weight(3, 0.4, seed=5)
    assert list(examples) == [*FIRST, FIRST[extra], *SECOND, *SECOND]
    assert examples[4:6] == SECOND


def test_the_columns_are_those_of_the_examples(tmp_path: Path) -> None:
    """Costs: 2+1+2, 1+3+1, 1+1+1; the longest completions have 2, 3 and 1 tokens."""
    files = {"a": stored(tmp_path / "a", FIRST, "xyz"), "b": stored(tmp_path / "b", SECOND, "vz")}
    examples = StoredExamples(files, {"a": 2.0, "b": 0.5}, seed=1)
    columns, expected = columns_of(examples), columns_of(list(examples))
    assert columns.prompt_ids == expected.prompt_ids
    for name in ("prompt_lengths", "completion_counts", "completion_lengths"):
        assert np.array_equal(getattr(columns, name), getattr(expected, name))
    assert (columns.costs[:3], columns.longest[:3]) == ([5, 5, 3], [2, 3, 1])
    assert columns.costs == [example.cost for example in examples]


def test_no_examples_have_empty_columns() -> None:
    columns = columns_of([])
    assert (columns.costs, columns.longest) == ([], [])
