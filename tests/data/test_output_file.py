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
        lambda: gnomon.data_clean("rows.jsonl", spelling, overwrite=True),
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
    for call in (
        lambda: gnomon.data_convert(tmp_path / "rows.jsonl", tmp_path / name, to="trl"),
        lambda: gnomon.data_clean(tmp_path / "rows.jsonl", tmp_path / name),
    ):
        with pytest.raises(ConfigError, match=r"JSON lines are written; give a name that ends in \.jsonl"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_file_beside_the_output_is_checked_like_the_output(tmp_path: Path) -> None:
    """Rejected rows of a.jsonl go to a.rejected.jsonl, which is the data here."""
    source = tmp_path / "a.rejected.jsonl"
    write_rows(source, ROWS)
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"a\.rejected\.jsonl is the file that is read; give another --out"):
            gnomon.data_clean(source, tmp_path / "a.jsonl", overwrite=overwrite)
        with pytest.raises(ConfigError, match=r"a\.rejected\.jsonl is the file that is read; give another --out"):
            gnomon.data_convert(source, tmp_path / "a.jsonl", to="trl", overwrite=overwrite)
    (tmp_path / "b.report.json").mkdir()
    with pytest.raises(ConfigError, match=r"b\.report\.json is a folder, and a file is to be written"):
        gnomon.data_clean(source, tmp_path / "b.jsonl", overwrite=True)
