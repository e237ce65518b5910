"""The run folder: atomic files, rows that survive a crash, digests."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from gnomon.core.errors import DataError
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.storage.environment import environment
from gnomon.core.storage.files import read_json, read_jsonl, to_json, write_atomically, write_json, write_jsonl
from gnomon.core.storage.metrics_log import MetricsLog, StepLog


@dataclass(frozen=True)
class Point:
    name: str
    values: tuple[float, ...]


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomically(path, "一")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("broken", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, error: BaseException
) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(type(error)):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def watch(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object) -> object:
            order.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, call)

    watch("fsync")
    watch("replace")
    write_atomically(tmp_path / "file.txt", "new")
    assert order == ["fsync", "replace", "fsync"], "the last is of the folder, which has the name"


def test_to_json_is_plain_and_finite() -> None:
    value = {
        "point": Point("p", (1.0, math.nan)),
        3: [math.inf, -math.inf, None, True, "x"],
        "numpy": [np.float32(0.5), np.int64(2), np.float64("nan")],
        "torch": torch.tensor(0.25),
    }
    assert to_json(value) == {
        "point": {"name": "p", "values": [1.0, None]},
        "3": [None, None, None, True, "x"],
        "numpy": [0.5, 2, None],
        "torch": 0.25,
    }


def test_json_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"电影": [1, math.nan]})
    assert "电影" in path.read_text(encoding="utf-8")
    assert read_json(path) == {"电影": [1, None]}


@pytest.mark.parametrize("content", [b"{", b"\xff"])
def test_a_damaged_json_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"file\.json cannot be read .*remove it"):
        read_json(path)


def test_jsonl_round_trip_in_any_language(tmp_path: Path) -> None:
    rows = [{"text": "这部电影\n很好\u2028。"}, {"text": "naïve 🎬"}, {"score": math.nan}]
    path = tmp_path / "rows.jsonl"
    assert write_jsonl(path, rows) == 3
    assert "电影" in path.read_text(encoding="utf-8")
    assert list(read_jsonl(path)) == [*rows[:2], {"score": None}]
    assert path.read_bytes().count(b"\n") == 3


def test_jsonl_skips_blank_lines_and_takes_windows_files(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}')
    assert list(read_jsonl(path)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"a": ', "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"a": "\xff"}', "not valid JSON in UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: bytes, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + bad + b'\n{"a": 2}\n')
    with pytest.raises(DataError, match=rf"rows\.jsonl, line 3: {reason}"):
        list(read_jsonl(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl cannot be read"):
        list(read_jsonl(tmp_path / "absent.jsonl"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_jsonl(tmp_path))


def steps(path: Path) -> list[int]:
    return [row["step"] for row in read_jsonl(path)]


def test_metrics_are_one_row_a_step(tmp_path: Path) -> None:
    path = tmp_path / "stage" / "metrics.jsonl"
    log = MetricsLog(path)
    log.record(1, {"loss": 2.0, "kl": math.nan})
    log.record(2, {"loss": 1.0})
    first, second = read_jsonl(path)
    assert first == {"step": 1, "time": first["time"], "loss": 2.0, "kl": None}
    assert 0 <= first["time"] <= second["time"]


def test_metrics_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in range(1, 6):
        log.record(step, {"loss": step / 2})
    MetricsLog(path, keep_steps=3).record(4, {"loss": 9.0})
    assert [(row["step"], row["loss"]) for row in read_jsonl(path)] == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 9.0)]
    MetricsLog(path)
    assert steps(path) == []


def test_a_last_line_cut_short_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.record(1, {"loss": 2.0})
    log.record(2, {"loss": 1.0})
    whole = path.read_bytes()
    for cut in range(1, whole.rindex(b"\n", 0, -1) + 1, 7):
        path.write_bytes(whole[:-cut])
        MetricsLog(path, keep_steps=2).record(3, {"loss": 0.5})
        assert steps(path) == ([1, 2, 3] if cut == 1 else [1, 3]), cut
        json.loads(path.read_text(encoding="utf-8").splitlines()[-1])


def test_samples_of_any_language_survive_a_resumption(tmp_path: Path) -> None:
    """Separators that are no line ends in JSON lines, and a last line cut inside a character."""
    path = tmp_path / "samples.jsonl"
    texts = ["a", "one\u2028two\u0085three", "电影"]
    StepLog(path).record([{"step": n, "text": text} for n, text in enumerate(texts, start=1)])
    assert [row["text"] for row in StepLog(path, keep_steps=3).kept_rows] == texts
    path.write_bytes(path.read_bytes()[: -len('影"}\n'.encode()) + 1])
    assert [row["step"] for row in StepLog(path, keep_steps=3).kept_rows] == [1, 2]


def test_time_continues_after_resumption(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_jsonl(path, [{"step": 1, "time": 1000.0}])
    MetricsLog(path, keep_steps=1).record(2, {})
    assert list(read_jsonl(path))[-1]["time"] >= 1000


def test_digests_are_equal_for_equal_values() -> None:
    assert digest_of({"a": 1, "b": {"c": [1, 2], "d": "电"}}) == digest_of(
        {"b": {"d": "电", "c": [1, 2]}, "a": 1}
    )
    assert digest_of({"a": [1, 2]}) != digest_of({"a": [2, 1]})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert digest_of({"a": None}) != digest_of({})


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert digest_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


def test_the_environment_records_versions_seed_and_data() -> None:
    result = environment(7, {"data.jsonl": "abc"})
    assert result["seed"] == 7
    assert result["data"] == {"data.jsonl": "abc"}
    assert all(
        result[key] for key in ("python", "torch", "transformers", "numpy", "platform", "cores", "started")
    )
    json.dumps(result)
