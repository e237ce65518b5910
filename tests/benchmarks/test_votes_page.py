"""What docs/feedback.md says of votes is what the stored figures say, and these are whole."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(PICTURES), *sys.path])
    return importlib.import_module("votes")


@pytest.fixture
def found() -> Any:
    return json.loads((PICTURES / "feedback" / "votes.json").read_text(encoding="utf-8"))


def test_the_tables_stand_on_the_page(script: Any, found: Any) -> None:
    page = (ROOT / "docs" / "feedback.md").read_text(encoding="utf-8")
    for made in (script.table(found), script.contrasts(found), script.sets(found)):
        assert made in page
    assert "(pictures/feedback/votes.png)" in page
    assert script.even(found) in " ".join(page.split())
    person, everything = found["one_person"], found["all_ratings"]
    assert f"{person['value']:.1%} ({person['low']:.1%}–{person['high']:.1%})" in page
    assert f"{everything['accuracy']:.1%}" in page
    assert f"{everything['ratings']:,} ratings" in page
    checked = sum(run.get("through_store", 0) for run in found["runs"])
    assert f"{checked:,} votes" in page


def test_every_way_has_the_same_seeds_and_amounts(script: Any, found: Any) -> None:
    ways: dict[Any, set[int]] = {(run["each"], run["active"]): set() for run in found["runs"]}
    for run in found["runs"]:
        ways[run["each"], run["active"]].add(run["seed"])
        assert [row["votes"] for row in run["course"]] == run["amounts"] == [240, 480, 960, 1920, 3840]
        assert [row["items"] * run["each"] for row in run["course"]] == run["amounts"]
        assert sum(run["asked"].values()) * run["each"] == run["amounts"][-1]
    assert set(ways) == set(script.WAYS)
    assert len({tuple(sorted(seeds)) for seeds in ways.values()}) == 1
    assert all(len(seeds) >= 5 for seeds in ways.values())


def test_ties_are_counted_over_all_runs_of_single_votes(script: Any) -> None:
    """Of 30 chosen pairs 5 + 4, of 20 by chance 1 + 1; three votes and pairs by chance alone do not count."""
    runs = [
        {"each": 1, "active": True, "asked": {"cover": 10, "random": 10}, "split": {"cover": 0.5, "random": 0.1}},
        {"each": 1, "active": True, "asked": {"cover": 20, "random": 10}, "split": {"cover": 0.2, "random": 0.1}},
        {"each": 3, "active": True, "asked": {"cover": 9, "random": 9}, "split": {"cover": 1.0, "random": 1.0}},
        {"each": 1, "active": False, "asked": {"random": 9}, "split": {"random": 1.0}},
    ]
    said = script.even({"runs": runs})
    assert said == "30.0% of the chosen pairs and 10.0% of the random ones"


def test_differences_are_of_runs_with_one_seed(script: Any) -> None:
    """Gains of 1, 2 and 3 points on seeds that differ by far more: 2 ± 4.3027·(1/√3)."""
    base = [0.5, 0.7, 0.6]
    gains = {(1, True): [0.01, 0.02, 0.03]}
    runs = [
        {
            "each": each,
            "active": active,
            "seed": seed,
            "course": [{"votes": 60, "accuracy": base[seed] + gains.get((each, active), [0.0] * 3)[seed]}],
        }
        for each, active in script.WAYS
        for seed in range(3)
    ]
    last = script.contrasts({"runs": runs}).splitlines()[-1]
    assert last == "| 60 | +0.0 ± 0.0 | +0.0 ± 0.0 | +2.0 ± 2.5 | +0.0 ± 0.0 | +0.0 ± 0.0 |"
    assert script.table({"runs": runs}).splitlines()[-1].startswith("| 60 | 60.0 ± 24.8 |")
