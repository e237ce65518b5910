"""Ratings to judgements, preferences, demonstrations and splits; a reward model examined on held-out texts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project

from gnomon.core.run_folder import read_json, read_jsonl
from gnomon.core.types import Preference, RatedText, Rejected
from gnomon.data.records import read_records

SIZES = {"reserved": 0.5, "training": 60, "demonstrations": 20, "held_out": 24, "group_size": 4}


def rated(count: int) -> tuple[list[RatedText], list[Rejected]]:
    """Made-up reviews whose ratings follow their words, with raters who differ a little."""
    draw = random.Random(0)
    items = []
    for n in range(count):
        level = n % 7 - 3
        word = ["awful", "bad", "dull", "plain", "good", "great", "superb"][level + 3]
        ratings = tuple(float(max(-4, min(4, level + draw.choice([-1, 0, 0, 1])))) for _ in range(5))
        items.append(RatedText(f"made-up:{n}", f"Film {n} is {word}.", ratings))
    return items, [Rejected("made-up:x", "no rating", "…")]


@pytest.fixture
def films(tmp_path: Path, tiny_model: Path) -> Project:
    """The route from ratings to an examined judge and an evaluation before independent judges."""
    recipe = tmp_path / "films.yaml"
    stages: list[dict[str, Any]] = [
        {"name": "people", "feedback": "film-reviews", **SIZES},
        {
            "name": "judge",
            "algorithm": "reward_model",
            "data": "people/preferences",
            "training": {"batch_size": 4},
        },
        {
            "name": "report",
            "evaluate": ["base"],
            "judges": ["judge", "vader", "ridge"],
            "prompts": "people/held_out_prompts",
            "texts": "people/held_out",
            "reserved": "people/reserved",
            "reference": "base",
            "sampling": {"completions": 2, "max_tokens": 4},
        },
    ]
    model = {"name": str(tiny_model), "device": "cpu", "precision": "float32", "rank": 2}
    content = {"run": "x", "seed": 1, "model": model, "stages": stages}
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    return Project(tmp_path, recipe)


def check_parts(run: Path) -> dict[str, set[str]]:
    """Parts do not share a text, and what is made of the training texts is made of no other."""
    folder = run / "people"
    parts = {
        name: {item.id for item in read_records(RatedText, folder / f"{name}.jsonl")}
        for name in ("training", "held_out", "reserved")
    }
    assert not parts["training"] & parts["held_out"]
    assert not (parts["training"] | parts["held_out"]) & parts["reserved"]
    pairs = read_records(Preference, folder / "preferences.jsonl")
    assert {c.id for pair in pairs for c in (pair.chosen, pair.rejected)} <= parts["training"]
    assert all(pair.probability >= 0.5 and pair.chosen.text != pair.rejected.text for pair in pairs)
    demonstrations = {row["completion"]["id"] for row in read_jsonl(folder / "demonstrations.jsonl")}
    assert demonstrations <= parts["training"]
    assert {row["prompt_id"] for row in read_jsonl(folder / "judgements.jsonl")}
    return parts


def check_examination(run: Path) -> None:
    found = read_json(run / "judge" / "result.json")["evaluation"]
    assert [row["name"] for row in found["rows"]] == ["judge", "tfidf-ridge", "vader", "one person"]
    assert found["items"] == SIZES["held_out"]
    assert len(found["scatter"]) == SIZES["held_out"]
    assert all(row["pair_low"] <= row["pair_accuracy"] <= row["pair_high"] for row in found["rows"])


def test_made_up_ratings(films: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.app.stage_feedback.load_film_reviews", lambda: rated(280))
    monkeypatch.setattr("gnomon.app.stage_feedback.CEILING_PAIRS", 500)
    monkeypatch.setattr("gnomon.app.examine.PAIRS", 200)
    films.go()
    parts = check_parts(films.run)
    assert {name: len(ids) for name, ids in parts.items()} == {"training": 60, "held_out": 24, "reserved": 140}
    result = read_json(films.run / "people" / "result.json")
    assert (result["items"], result["ratings"]) == (280, 1400)
    assert result["raters_per_item"] == {"least": 5, "mean": 5.0, "most": 5}
    assert result["krippendorff_alpha"]["value"] > 0.8  # these raters nearly agree
    assert abs(result["demonstrations_mean_rating"]) < 0.3  # neutral as a whole
    assert [row["reason"] for row in read_jsonl(films.run / "people" / "rejected.jsonl")] == ["no rating"]
    check_examination(films.run)
    rows = {row["name"]: row for row in read_json(films.run / "judge" / "result.json")["evaluation"]["rows"]}
    assert rows["tfidf-ridge"]["pearson"] > 0.8  # words decide here, and it reads words
    data = read_json(films.run / "environment.json")["data"]
    assert "people/preferences.jsonl" in data


@pytest.mark.slow
def test_real_ratings(films: Project) -> None:
    """The film reviews themselves; fetched once."""
    films.go()
    check_parts(films.run)
    check_examination(films.run)
    result = read_json(films.run / "people" / "result.json")
    assert result["items"] > 10_000
    assert 0.5 < result["krippendorff_alpha"]["value"] < 0.9
    ceiling = result["human_ceiling"]
    assert 0.7 < ceiling["pair_agreement"] < 0.95
