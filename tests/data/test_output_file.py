"""Outputs of data commands: never over their input, and JSON lines alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import write_rows

import gnomon
from gnomon.core.errors import ConfigError

ROWS = [{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": "r", "chosen": "a", "rejected": "b"}]


@pytest.mark.parametrize("spelling", ["rows.jsonl", "./rows.jsonl", "link.jsonl"])
def test_the_input_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", ROWS)
    (tmp_path / "link.jsonl").symlink_to("rows.jsonl")
    before = (tmp_path / "rows.jsonl").read_bytes()
    for call in (
        lambda: gnomon.data_convert("rows.jsonl", spelling, to="trl", overwrite=True),
        lambda: gnomon.data_pairs("rows.jsonl", spelling, overwrite=True),
    ):
        with pytest.raises(ConfigError, match="is the file that is read"):
            call()
    (tmp_path / "rows.jsonl").rename(tmp_path / "train.jsonl")
    with pytest.raises(ConfigError, match="is the file that is read"):
        gnomon.data_split("train.jsonl", ".", parts="train=0.5,test", overwrite=True)
    assert (tmp_path / "train.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl.gz", "-"])
def test_other_files_than_json_lines_are_refused(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(ConfigError, match=r"JSON lines are written; give a name that ends in \.jsonl"):
        gnomon.data_convert(tmp_path / "rows.jsonl", tmp_path / name, to="trl")
