"""Broken files: each is read right or refused in one sentence, and a bad row never takes a good one with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from broken_files import CORPUS, Broken

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration
from gnomon.data.conversion import convert_file
from gnomon.data.inspection import inspect
from gnomon.data.records import scan_records


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len({case.what for case in CORPUS}) == len(CORPUS) >= 80


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.what)
def test_a_broken_file_is_read_right_or_refused_in_one_sentence(tmp_path: Path, case: Broken) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.data())
    if case.refused:
        with pytest.raises(DataError) as excinfo:
            inspect(path)
        sentence = str(excinfo.value)
        assert sentence.startswith(str(path))
        assert re.search(case.refused, sentence), sentence
        assert "\n" not in sentence
        assert len(sentence) < 700
        return
    good, bad = [], {}
    for where, record in scan_records(Demonstration, path):
        if isinstance(record, DataError):
            bad[where] = str(record)
        else:
            good.append(record.prompt.messages[-1].content)
            assert record.where == f"{path}, {where}"
    assert good == list(case.good)
    assert bad.keys() == case.bad.keys()
    for where, pattern in case.bad.items():
        assert bad[where].startswith(f"{path}, {where}: ")
        assert re.search(pattern, bad[where]), bad[where]
        assert "\n" not in bad[where]


@pytest.mark.parametrize("case", [case for case in CORPUS if not case.refused], ids=lambda case: case.what)
def test_every_row_is_counted_once(tmp_path: Path, case: Broken) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.data())
    inspection = inspect(path)
    assert [row.where for row in inspection.refused] == list(case.bad)
    result = convert_file(path, tmp_path / "own.jsonl", "gnomon")
    assert (result.written, result.rejected.total()) == (len(case.good), len(case.bad))
    again = inspect(tmp_path / "own.jsonl")
    assert [one.prompt for one in again.records] == [one.prompt for one in inspection.records]
    if case.bad:
        assert result.rejected_file is not None
        rejected = [json.loads(line) for line in result.rejected_file.read_text("utf-8").splitlines()]
        assert [row["where"] for row in rejected] == list(case.bad)
