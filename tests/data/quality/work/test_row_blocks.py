"""Blocks of checked rows: read as they were written, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnomon.data.quality.shard import CheckedRow, Rejection
from gnomon.data.quality.work.checked_rows import CheckedRows
from gnomon.data.quality.work.row_blocks import block_numbers, block_path, read_block, remove_blocks, write_block
from gnomon.data.reading.row_fields import KeysRead

WIDTH = 3
ROWS = [
    CheckedRow("line 1", '{"a": "é\udcff"}'.encode("utf-8", "surrogatepass"), None, (), (1, 2**64 - 1, 0)),
    CheckedRow("line 3 of b\udcff", b"null", Rejection("unreadable", "cut\n“off”")),
    CheckedRow("line 4", b"{}", Rejection("length", "long"), (("refusals", "sorry"), ("length", "long"))),
    CheckedRow("line 5", b"", None, (("truncated", "ends"),), (4, 5, 6)),
]
KEYS = KeysRead({"b": None, "a": None}, {"a"})


def test_a_block_reads_as_it_was_written(tmp_path: Path) -> None:
    written = write_block(tmp_path / "x", ROWS, KEYS, WIDTH)
    block = read_block(tmp_path / "x", WIDTH)
    assert block is not None
    assert (block.positions, block.sizes) == (written.positions, written.sizes)
    assert list(block.positions) == ["line 1", "line 3 of b\udcff", "line 4", "line 5"]
    assert block.rejected == bytes([0, 1, 1, 0])
    assert block.unreadable == 1
    assert block.findings == [(2, "refusals", "sorry"), (2, "length", "long"), (3, "truncated", "ends")]
    assert (list(block.keys.present), block.keys.read) == (["b", "a"], {"a"})
    assert block.features.tolist() == [[1, 2**64 - 1, 0], [0, 0, 0], [0, 0, 0], [4, 5, 6]]


@pytest.mark.parametrize("at", [0, 40, -1, -80])
def test_a_block_with_one_changed_byte_or_cut_short_is_none(tmp_path: Path, at: int) -> None:
    path = tmp_path / "x"
    write_block(path, ROWS, KEYS, WIDTH)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-1])
    assert read_block(path, WIDTH) is None
    content[at] ^= 1
    path.write_bytes(content)
    assert read_block(path, WIDTH) is None
    path.write_bytes(b"")
    assert read_block(path, WIDTH) is None
    assert read_block(tmp_path / "absent", WIDTH) is None


def test_rows_of_several_blocks_are_read_by_index(tmp_path: Path) -> None:
    for number in range(3):
        lines = [b'{"n": %d}' % (10 * number + n) for n in range(4)]
        checked = [CheckedRow(f"line {n}", line, None, (), (n, n, n)) for n, line in enumerate(lines)]
        write_block(block_path(tmp_path, number), checked, KEYS, WIDTH)
    with CheckedRows(tmp_path, WIDTH) as rows:
        for block in rows.blocks():
            rows.add(block)
        assert (len(rows), rows.block_count) == (12, 3)
        assert [rows.row(index)["n"] for index in (11, 0, 3, 4, 8, 7)] == [23, 0, 3, 10, 20, 13]
        assert rows.line(5) == b'{"n": 11}'
        assert rows.features.tolist() == [[n, n, n] for n in (0, 1, 2, 3)] * 3
        assert rows.remaining.tolist() == [True] * 12


def test_what_follows_a_missing_or_damaged_block_is_removed(tmp_path: Path) -> None:
    for number in range(4):
        write_block(block_path(tmp_path, number), ROWS, KEYS, WIDTH)
    block_path(tmp_path, 2).write_bytes(b"{}\n")
    (tmp_path / "000009.rows.bak").write_text("somebody's")
    rows = CheckedRows(tmp_path, WIDTH)
    assert len(list(rows.blocks())) == 2
    assert block_numbers(tmp_path) == [0, 1]
    remove_blocks(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["000009.rows.bak"]
