"""What the bench beside the peers counts and compares; the peers themselves run in `make bench`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), str(BENCHMARKS / "peers"), *sys.path])
    return importlib.import_module("versus_peers")


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "config.json").write_text(json.dumps({"vocab_size": 49152}))
    (tmp_path / "policy" / "model.safetensors").write_bytes(bytes(2_000))
    return str(tmp_path)


def test_both_sides_of_kto_mismatch_the_same_rows(bench: Any, model: str) -> None:
    case = bench.Case("kto", "long_prompts", model, rows=3, steps=2)
    assert [bench.work.before(case, n) for n in range(6)] == [2, 0, 1, 5, 3, 4]
    rows = bench.work.rows(case)
    told = bench.work.labelled(case)
    assert [good for *_, good in told] == [True, False, True, False, True, False]
    assert told[1][1] == rows[1].rejected
    read = sum(len(row.prompt) + len(said) for row, (_, said, _) in zip(rows, told, strict=True))
    assert bench.work.tokens_of(case) == read / 2


def side(seconds: list[float], loss: float, peak: float) -> dict[str, Any]:
    return {"seconds": seconds, "tokens": 12.0, "losses": [0.7, loss, 0.6], "peak_gb": peak, "flops": None}


def test_the_first_step_warms_up_and_the_median_pair_counts(
    bench: Any, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter(
        [side([9, 1, 3], 0.5, 2), side([9, 8, 8], 0.5, 4), side([9, 4, 4], 0.5, 3), side([9, 8, 8], 0.5, 4)]
    )
    monkeypatch.setattr(bench, "measure", lambda *_: next(found))
    compared = bench.compare(bench.Case("dpo", "long_prompts", model), 2, tmp_path)
    assert compared["speed_ratios"] == [4.0, 2.0]  # medians of steps: 2 and 4 seconds against 8
    assert compared["speed_ratio"] == 3.0
    assert compared["memory_ratio"] == 0.625
    assert compared["tokens_per_second"] == {"ours": [6.0, 3.0], "theirs": [1.5, 1.5]}


def test_no_times_where_the_losses_differ(
    bench: Any, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([side([1, 1], 0.5, 1), side([1, 1], 0.501, 1)])
    monkeypatch.setattr(bench, "measure", lambda *_: next(found))
    with pytest.raises(SystemExit, match="the losses differ"):
        bench.compare(bench.Case("dpo", "long_prompts", model), 1, tmp_path)


def test_the_share_of_the_rates(bench: Any, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,536 tokens of 2 GFLOP each in 16 seconds are 192 GFLOP/s; 48 passes over 2,000 bytes, 6 kB/s."""
    case = bench.Case("sample", "long_prompts", model, rows=4, steps=3)
    monkeypatch.setattr(bench, "measure", lambda side, case, folder: {"flops": 2e9 * 1536 * case.steps})
    found: dict[str, Any] = {"tokens_per_second": {"ours": [96.0]}}
    bench.share_of_rate(case, tmp_path, found, 384.0, 12e-6)
    assert found["gflop_per_token"] == 2.0
    assert found["share_of_matrix_rate"] == 0.5
    assert found["share_of_memory_rate"] == pytest.approx(0.5)


def test_results_of_two_precisions_are_never_mixed(bench: Any) -> None:
    everything: dict[str, Any] = {}
    assert bench.shelf(everything, "bfloat16") is everything
    everything["machine"] = {"precision": "bfloat16"}
    bench.shelf(everything, "float32")["dpo"] = 1
    assert bench.shelf(everything, "bfloat16") is everything
    assert everything["float32"] == {"dpo": 1}
