"""Ratings to judgements, preferences, demonstrations and splits; a reward model examined on held-out texts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project, write_rows

from gnomon.core.errors import DataError
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.core.types import Demonstration, Preference, Prompt, RatedText, RejectedRow
from gnomon.data.records import read_records

SIZES = {"judge_holdout": 0.5, "training": 60, "demonstrations": 20, "held_out": 24, "group_size": 4}


def rated(count: int) -> tuple[list[RatedText], list[RejectedRow]]:
    """Made-up reviews whose ratings follow their words, with raters who differ a little."""
    draw = random.Random(0)
    items = []
    for n in range(count):
        level = n % 7 - 3
        word = ["awful", "bad", "dull", "plain", "good", "great", "superb"][level + 3]
        ratings = tuple(float(max(-4, min(4, level + draw.choice([-1, 0, 0, 1])))) for _ in range(5))
        items.append(RatedText(f"made-up:{n}", f"Film {n} is {word}.", ratings))
    return items, [RejectedRow("made-up:x", "no rating", "…")]


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
            "judge_holdout": "people/judge_holdout",
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
        for name in ("training", "held_out", "judge_holdout")
    }
    assert not parts["training"] & parts["held_out"]
    assert not (parts["training"] | parts["held_out"]) & parts["judge_holdout"]
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
    monkeypatch.setattr("gnomon.stages.feedback.load_film_reviews", lambda: rated(280))
    monkeypatch.setattr("gnomon.stages.feedback.CEILING_PAIRS", 500)
    monkeypatch.setattr("gnomon.stages.common.evaluate_reward_model.PAIRS", 200)
    films.go()
    parts = check_parts(films.run)
    assert {name: len(ids) for name, ids in parts.items()} == {
        "training": 60,
        "held_out": 24,
        "judge_holdout": 140,
    }
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


def own(films: Project, rows: list[dict[str, Any]], **keys: Any) -> Project:
    """The same route on a file of the user's, the evaluation left out."""
    path = films.folder / "ratings.jsonl"
    write_rows(path, rows)
    content = yaml.safe_load(films.recipe.read_text(encoding="utf-8"))
    content["stages"] = content["stages"][:2]
    content["stages"][0] = {"name": "people", "feedback": str(path), "group_size": 4, **keys}
    films.recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    return films


def long_rows(prompts: int) -> list[dict[str, Any]]:
    """Five answers to each prompt, rated 1 to 5 by ann and one lower by bob: one row a rating."""
    return [
        {"prompt": f"问题 {p}?", "text": f"Answer {k} to {p}.", "rater": rater, "rating": k - (rater == "bob")}
        for p in range(prompts)
        for k in range(1, 6)
        for rater in ("ann", "bob")
    ]


def test_own_ratings_with_prompts(films: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.stages.common.evaluate_reward_model.PAIRS", 200)
    own(films, long_rows(20), demonstration_choice="best").go()
    folder = films.run / "people"
    result = read_json(folder / "result.json")
    assert (result["items"], result["ratings"]) == (100, 200)
    assert result["split"] == {"judge_holdout": 25, "training": 60, "held_out": 15}
    judgements = list(read_jsonl(folder / "judgements.jsonl"))
    assert {row["rater"] for row in judgements} == {"ann", "bob"}
    assert len({row["id"] for row in judgements}) == 120
    parts = {n: read_records(RatedText, folder / f"{n}.jsonl") for n in ("training", "held_out", "judge_holdout")}
    asked = {name: {item.prompt for item in part} for name, part in parts.items()}
    assert [len(found) for found in asked.values()] == [12, 3, 5]
    assert len(set.union(*asked.values())) == 20
    assert set(read_records(Prompt, folder / "prompts.jsonl")) == asked["training"]
    assert set(read_records(Prompt, folder / "held_out_prompts.jsonl")) == asked["held_out"]
    pairs = read_records(Preference, folder / "preferences.jsonl")
    prompts = {item.id: item.prompt for item in parts["training"]}
    for pair in pairs:  # five answers in groups of at most 4: 3 pairs of three, 1 of two, a prompt
        own_prompt = prompts[pair.chosen.id]
        assert own_prompt == prompts[pair.rejected.id]
        assert own_prompt is not None
        assert pair.prompt.messages == own_prompt.messages
    assert len(pairs) == 12 * (3 + 1)
    shown = read_records(Demonstration, folder / "demonstrations.jsonl")
    assert [prompts[d.completion.id] for d in shown] == [d.prompt for d in shown]
    assert sorted(d.completion.text.split()[1] for d in shown) == ["3"] * 6 + ["4"] * 12 + ["5"] * 12
    assert read_json(films.run / "judge" / "result.json")["evaluation"]["items"] == 15


def test_own_ratings_without_prompts_answer_the_wordings(films: Project) -> None:
    """One rating a text: how far people agree is undefined, and said to be so; the rest goes on."""
    rows = [{"id": str(n), "text": f"Film {n}.", "ratings": [n % 5 + 1]} for n in range(40)]
    asked = {"prompt_templates": ["Write.", "写。"], "held_out_prompt_templates": ["Please write."]}
    own(films, rows, judge_holdout=0.2, training=20, held_out=0.25, demonstrations=10, **asked).go()
    folder = films.run / "people"
    assert check_parts(films.run).keys() == {"training", "held_out", "judge_holdout"}
    result = read_json(folder / "result.json")
    assert result["split"] == {"judge_holdout": 8, "training": 20, "held_out": 10}
    assert result["krippendorff_alpha"]["value"] is None
    texts = [row["messages"][0]["content"] for row in read_jsonl(folder / "prompts.jsonl")]
    assert texts == ["Write.", "写。"]
    assert [r["messages"][0]["content"] for r in read_jsonl(folder / "held_out_prompts.jsonl")] == [
        "Please write."
    ]
    mean = sum(item.mean for item in read_records(RatedText, folder / "training.jsonl")) / 20
    assert abs(result["demonstrations_mean_rating"] - mean) < 0.2  # neutral is the average text, not 0


@pytest.mark.parametrize(
    ("rows", "keys", "sentence"),
    [
        ([{"id": "a", "text": "x", "ratings": [1]}], {}, "have no prompts; give each row one, or give the stage"),
        (
            long_rows(4),
            {"prompt_templates": ["W"], "held_out_prompt_templates": ["V"]},
            "prompts of their own; remove prompt_templates",
        ),
        (long_rows(2), {}, "10 texts leave 1 for held_out, which needs 2"),
        (long_rows(2), {"held_out": 2, "training": 6}, "2 prompts are too few for 3 parts"),
        ([{"text": "x"}], {}, r"ratings\.jsonl, line 1: no 'ratings' in it"),
        (
            [{"prompt": f"Q{n}", "text": str(n), "rater": "ann", "rating": n} for n in range(20)],
            {},
            "no prompt has two different texts",
        ),
    ],
)
def test_own_ratings_that_do_not_do(
    films: Project, rows: list[dict[str, Any]], keys: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        own(films, rows, **keys).go()


@pytest.mark.long
def test_a_changed_ratings_file_is_read_again(films: Project) -> None:
    own(films, long_rows(20)).go()
    write_rows(films.folder / "ratings.jsonl", long_rows(24))
    films.go()
    assert read_json(films.run / "people" / "result.json")["items"] == 120
    assert read_json(films.run / "people.1" / "result.json")["items"] == 100


@pytest.mark.long
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
