"""Bytes changed, lost, added or cut at random: each row is read or rejected in one sentence, and reading ends."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from broken_files import CORPUS
from broken_files.arrow_files import arrow, parquet, table

from gnomon.core.errors import DataError
from gnomon.data.reading.readers import scan_rows

MANY = [{"prompt": f"How was film {n}?", "completion": "Yes."} for n in range(40)]
SMALL = [(case.name, data) for case in CORPUS if len(data := case.data()) < 5000]
COLUMNAR = [
    ("a.parquet", parquet(table(MANY), row_group_size=10, compression=compression))
    for compression in ("none", "zstd", "snappy")
] + [("a.arrow", arrow(table(MANY), rows=7)), ("b.arrow", arrow(table(MANY), stream=True, rows=7))]


def damage(data: bytes, chance: random.Random) -> bytes:
    """The data with up to three faults."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        if not changed:
            break
        at = chance.randrange(len(changed))
        kind = chance.random()
        if kind < 0.4:
            changed[at] = chance.randrange(256)
        elif kind < 0.6:
            del changed[at : at + chance.randint(1, 30)]
        elif kind < 0.8:
            changed[at:at] = chance.randbytes(chance.randint(1, 8))
        else:
            del changed[at:]
    return bytes(changed)


def check_reading(path: Path) -> None:
    """Read a file; its rows can be written as JSON, and its faults are sentences."""
    try:
        rows = [row for _, row in scan_rows(path)]
    except DataError as error:
        rows = [error]
    assert len(rows) < 1000
    for row in rows:
        text = str(row) if isinstance(row, DataError) else json.dumps(row)
        assert "\n" not in text


@pytest.mark.parametrize("seed", range(4))
def test_files_that_are_damaged_anywhere(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(150):
        name, data = chance.choice(COLUMNAR if number % 3 == 0 else SMALL)
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(damage(data, chance))
        check_reading(path)


def test_a_folder_of_datasets_that_is_damaged_anywhere(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list(MANY).save_to_disk(str(tmp_path / "whole"))
    chance = random.Random(1)
    for number in range(40):
        folder = tmp_path / f"{number}"
        shutil.copytree(tmp_path / "whole", folder)
        file = chance.choice(sorted(folder.iterdir()))
        file.write_bytes(damage(file.read_bytes(), chance))
        check_reading(folder)
