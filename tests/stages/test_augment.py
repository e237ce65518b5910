"""The augment stage: what is measured, what is kept, and what a stopped run does not do again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gnomon
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.core.types import Completion, Message, Preference, Prompt
from gnomon.stages.common.augmentation_gain import AugmentationGain

FAST = {"epochs": 1, "batch_size": 8, "learning_rate": 0.003, "device": "cpu"}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Forty prompts with three answers: a beats b, b beats c."""
    rows = [
        {"prompt": f"{first} {second} {n}", "chosen": chosen, "rejected": rejected}
        for n, (first, second) in enumerate([(x, y) for x in "abcde" for y in "fghijklm"])
        for chosen, rejected in (("a", "b"), ("b", "c"))
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(pairs: Path, out: Path, **settings: Any) -> Any:
    return gnomon.data_augment(pairs, out, model="tiny-random", **{**FAST, **settings})


def test_kinds_are_measured_and_kept_ones_are_in_the_data(pairs: Path, tmp_path: Path) -> None:
    result = run(pairs, tmp_path / "run", kinds={"chains": None, "soft_labels": {"share": 0.2}}, keep="all")
    assert result["judged"] == result["training"] + result["held_out"] == 80
    assert 0 < result["accuracy"] <= 1
    chains, soft = result["kinds"]["chains"], result["kinds"]["soft_labels"]
    assert chains["rows"] == result["training"] / 2, "a chain for each prompt to train on"
    assert chains["written"] == 40, "one for each prompt"
    assert soft["written"] == 80, "each label is replaced"
    assert chains["accuracy"] - result["accuracy"] == pytest.approx(chains["gain"])
    rows = list(read_jsonl(tmp_path / "run" / "augmented" / "preferences.jsonl"))
    assert len(rows) == result["preferences"] == 120
    assert sum(row["chosen"]["text"] == "a" and row["rejected"]["text"] == "c" for row in rows) == 40
    assert all(0.5 <= row["probability"] < 1 for row in rows[:80])
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Gain of each augmentation" in page


def test_preferences_about_images_are_left_as_they_are(pairs: Path, tmp_path: Path) -> None:
    """No model reads them: nothing is made of them, and they stay in the data."""
    drawn = {"prompt": "What is it?", "chosen": "A cat.", "rejected": "A dog.", "images": ["a.png"]}
    with pairs.open("a", encoding="utf-8") as file:
        file.write(json.dumps(drawn) + "\n")
    result = run(pairs, tmp_path / "run", kinds={"chains": None}, keep="all")
    assert (result["judged"], result["training"] + result["held_out"], result["preferences"]) == (80, 80, 121)
    rows = list(read_jsonl(tmp_path / "run" / "augmented" / "preferences.jsonl"))
    content = rows[-1]["prompt"]["messages"][0]["content"]
    assert content == [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What is it?"}]
    assert sum(isinstance(row["prompt"]["messages"][0]["content"], list) for row in rows) == 1


def test_a_kind_without_a_sure_gain_is_dropped(pairs: Path, tmp_path: Path) -> None:
    """An accuracy is at most 1, so no gain is above 0.99; a kind that makes nothing has no gain at all."""
    result = run(pairs, tmp_path / "run", kinds={"chains": None, "other_prompts": None}, min_gain=0.99)
    assert [one["adopted"] for one in result["kinds"].values()] == [False, False]
    assert result["preferences"] == 80
    assert len(list(read_jsonl(tmp_path / "run" / "augmented" / "preferences.jsonl"))) == 80


def test_what_is_measured_is_not_measured_again(pairs: Path, tmp_path: Path) -> None:
    result = run(pairs, tmp_path / "run", kinds={"chains": None}, keep="all")
    folder = tmp_path / "run" / "augmented"
    (folder / "result.json").unlink()
    measured = {path: path.stat().st_mtime_ns for path in folder.glob("*/measured.json")}
    assert len(measured) == 2
    again = run(pairs, tmp_path / "run", kinds={"chains": None}, keep="all")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/measured.json")} == measured
    assert {**again, "seconds": 0} == {**result, "seconds": 0}


def test_too_few_prompts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")
    with pytest.raises(gnomon.GnomonError, match="1 different prompt is too few for 2 parts"):
        run(path, tmp_path / "run", kinds={"chains": None})


def test_gain_by_hand() -> None:
    """Prompts count with their pairs: (1 + 0 + 0 − 1 + 1)/5; a pair without both scores counts nowhere."""

    def pair(prompt: str) -> Preference:
        return Preference(Prompt(prompt, (Message("user", prompt),)), Completion("a", "a"), Completion("b", "b"))

    class Recipe:
        seed = 0

    class Work:
        recipe = Recipe()

    held_out = [pair("p"), pair("p"), pair("q"), pair("q"), pair("r"), pair("r")]
    gain = AugmentationGain("stage", None, Work(), [], held_out)  # type: ignore[arg-type]
    nan = float("nan")
    gain._right = {"without": [0, 1, 1, 1, 0, 0], "with": [1, 1, 1, 0, 1, nan]}
    assert gain.accuracy("with") == pytest.approx(0.8)
    estimate = gain.gain("with", "without")
    assert estimate.value == pytest.approx(0.2)
    assert estimate.low == pytest.approx(-0.5), "all of q"
    assert estimate.high == pytest.approx(1.0), "all of r"


def test_a_recipe_goes_on_with_the_preferences(pairs: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"run: {tmp_path / 'run'}\nmodel: {{name: tiny-random, device: cpu}}\n"
        "training: {epochs: 1, batch_size: 8}\nstages:\n"
        f"  - {{name: more, augment: {pairs}, kinds: {{chains: {{}}}}, keep: all}}\n"
        "  - {name: judge, algorithm: reward_model, data: more/preferences}\n"
    )
    gnomon.run(recipe)
    assert read_json(tmp_path / "run" / "judge" / "result.json")["examples"] == 40
