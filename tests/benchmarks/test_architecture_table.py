"""docs/architectures.md is what its script measures, for the types that most people train; it leaves none out."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "architectures"
PAGE = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8")
sys.path.insert(0, str(FOLDER))
configurations: Any = importlib.import_module("configurations")
table: Any = importlib.import_module("table")
sys.path.remove(str(FOLDER))


@pytest.fixture
def alone() -> Iterator[None]:
    """Weights are drawn from the process's random numbers, which others use too."""
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("kind", configurations.POPULAR)
def test_the_page_has_what_is_measured(kind: str) -> None:
    row = table.measure.measure(kind)
    assert row.right
    assert table.line(row) in PAGE.splitlines()


def test_every_type_has_a_line() -> None:
    found = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert sorted(found) == configurations.KINDS
    assert len(set(configurations.POPULAR)) == 30
    assert set(configurations.POPULAR) <= set(found)


def test_the_page_counts_its_lines() -> None:
    """Of lines made up: one right each way, one wrong, one refused, one that could not be built."""
    right = {"forward": "yes", "gradient": "yes", "saved": "yes", "layout": "plain"}
    row = table.measure.Row
    ways = [row(f"m{way}", **right, sampler=way) for way in ("fast", "plain", "no cache")]
    wrong = row("off", **{**right, "saved": "off by 2 nats"}, sampler="fast")
    page = table.page([*ways, wrong, row("no", refusal="no models."), row("gone", unbuilt="ValueError: 3")])
    assert "Of 5 architectures 3 are right in every column: 1 are sampled from the fast way, 1 the plain" in page
    assert "1 without a cache. 1 are refused. Not right in every column: `off`. Of 1 more no tiny model" in page
    assert "| `mplain` | yes | yes | plain | yes | plain |\n" in page
    assert "| `no` | no models. |\n" in page
