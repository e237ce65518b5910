"""Comparisons on several data sets: the combined result and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_comparison_report import content, run

from gnomon.core.errors import RunError
from gnomon.core.storage.result_model import IntervalEstimate
from gnomon.reporting.comparison_of_data_sets import SETS, read_sets, write_sets


def written(folder: Path, sets: dict[str, dict[str, list[float]]], **more: Any) -> Path:
    """A folder of comparisons: for each data set and algorithm the win rate of each seed."""
    for name, rates in sets.items():
        runs = [run(algorithm, seed, rate) for algorithm, some in rates.items() for seed, rate in enumerate(some)]
        (folder / name).mkdir(parents=True)
        (folder / name / "compare.json").write_text(json.dumps(content(*runs)), encoding="utf-8")
    listed = {"name": "bench", "sets": list(sets), "waiting": [], **more}
    (folder / SETS).write_text(json.dumps(listed), encoding="utf-8")
    return folder


FILMS = {"dpo": [0.5, 0.7], "ppo": [0.8, 0.9]}  # means 0.6 and 0.85
FOOD = {"dpo": [0.9, 0.9], "ppo": [0.5, 0.6]}  # 0.9 and 0.55


def test_data_sets_have_equal_weights(tmp_path: Path) -> None:
    """DPO (0.6 + 0.9)/2 = 0.75, PPO (0.85 + 0.55)/2 = 0.7: each leads on one data set, DPO over both."""
    comparisons = read_sets(written(tmp_path, {"films": FILMS, "食谱": FOOD}))
    assert comparisons.judges == ["vader", "judge"], "the independent one first"
    dpo = comparisons.together("dpo", "vader")
    assert (dpo.value, dpo.low, dpo.high) == pytest.approx((0.75, 0.6, 0.9))
    assert comparisons.together("ppo", "vader").value == pytest.approx(0.7)
    assert [comparisons.sets_led(name, "vader") for name in ("dpo", "ppo")] == [1, 1]
    assert comparisons.leader == "dpo"


def test_equal_means_have_no_leader(tmp_path: Path) -> None:
    """The mean of DPO, (0.6 + 0.9)/2, equals that of PPO with 0.7 and 0.8."""
    both = written(tmp_path, {"films": {"dpo": [0.6], "ppo": [0.7]}, "food": {"dpo": [0.9], "ppo": [0.8]}})
    comparisons = read_sets(both)
    assert (comparisons.leader, comparisons.leaders) == ("", ["dpo", "ppo"])
    words = write_sets(both).read_text(encoding="utf-8")
    assert "have the same mean win rate over the data sets" in words
    assert "has the highest mean" not in words
    assert 'class="candidate"' not in words


def test_no_mean_without_a_rate_on_every_data_set(tmp_path: Path) -> None:
    comparisons = read_sets(written(tmp_path, {"films": FILMS, "food": {"ppo": [0.5]}}))
    assert comparisons.together("dpo", "vader") == IntervalEstimate()
    assert comparisons.leader == "ppo"


def test_the_page_shows_each_data_set_and_the_mean(tmp_path: Path) -> None:
    page = write_sets(written(tmp_path, {"films": FILMS, "食谱": FOOD}, waiting=["songs"]), language="zh")
    words = page.read_text(encoding="utf-8")
    assert 'lang="zh-Hans"' in words
    assert "75%" in words
    assert 'href="films/compare.html"' in words
    assert 'href="%E9%A3%9F%E8%B0%B1/compare.html"' in words
    assert "songs" in words
    assert "is still to run" in words
    with pytest.raises(RunError, match="holds no sets"):
        read_sets(tmp_path / "films")
