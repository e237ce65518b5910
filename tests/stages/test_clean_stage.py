"""The clean stage: its parts as data of later stages, its checks, its section of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Project, write_rows
from quality_rows import lines, pair

import gnomon
from gnomon.core.errors import ConfigError, DataError, Interrupted
from gnomon.core.storage.files import read_json
from gnomon.data.quality import file_checks
from gnomon.data.quality.registry import all_filters
from gnomon.data.quality.shard import RowChecks
from gnomon.reporting.formatting import text_or_name


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path) -> Path:
    """A recipe that cleans preferences and trains a reward model on them."""
    rows: list[Any] = [
        pair(f"Which of these is number {n}?", f"It is {n * 7919}.", f"No {n}.") for n in range(12)
    ]
    rows += [rows[0], pair("Who?", "a", "a"), {"prompt": "broken"}, pair("Held out?"), pair("Rude?", "Darn it.")]
    write_rows(tmp_path / "pairs.jsonl", rows)
    write_rows(tmp_path / "test.jsonl", [{"prompt": "Held out?"}])
    (tmp_path / "words.txt").write_text("darn\n")
    clean = {
        "name": "tidy",
        "clean": "pairs.jsonl",
        "held_out": ["test.jsonl"],
        "filters": {
            "lexicon": {"files": ["words.txt"]},
            "near_duplicates": "off",
            "length": {"max_tokens": 2000},
            "judge": {"judge": "vader", "min_score": -0.9},
        },
    }
    train = {"name": "judge", "algorithm": "reward_model", "data": "tidy/clean", "training": {"batch_size": 4}}
    model = {"name": str(tiny_model), "device": "cpu", "precision": "float32", "rank": 2}
    content = {"run": "x", "seed": 1, "model": model, "stages": [clean, train]}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_later_stages_train_on_the_cleaned_rows_and_the_report_shows_them(recipe: Path, tmp_path: Path) -> None:
    run = Project(tmp_path, recipe).go().parent
    result = read_json(run / "tidy" / "result.json")
    assert [result[key] for key in ("kind", "records", "rows", "clean", "rejected", "unreadable")] == [
        "clean", "preferences", 17, 12, 5, 1,
    ]  # fmt: skip
    rejected = {row["where"]: row["filter"] for row in lines(run / "tidy" / "rejected.jsonl")}
    assert rejected == {
        "line 13": "duplicates",
        "line 14": "same_sides",
        "line 15": "unreadable",
        "line 16": "held_out",
        "line 17": "lexicon",
    }
    assert read_json(run / "judge" / "result.json")["kind"]
    page = gnomon.report(run).read_text(encoding="utf-8")
    assert "Of 17 rows 12 are clean and 5 are rejected." in page
    assert "held-out prompts" in page
    assert "留出数据中的提示" in page


def test_a_second_run_keeps_the_result_until_a_lexicon_changes(recipe: Path, tmp_path: Path) -> None:
    loaded = gnomon.load_recipe(recipe)
    stage = loaded.stages[0]
    before = stage.semantic_settings()
    assert stage.semantic_settings() == before
    (tmp_path / "words.txt").write_text("darn\nblast\n")
    assert stage.semantic_settings() != before


def test_a_stopped_stage_goes_on_and_changed_settings_start_it_again(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    check = RowChecks._check

    def counted(self: RowChecks, where: str, *rest: Any) -> Any:
        checked.append(where)
        if len(checked) == 9:
            raise KeyboardInterrupt
        return check(self, where, *rest)

    monkeypatch.setattr(RowChecks, "_check", counted)
    monkeypatch.setattr(file_checks, "SHARD", 4)
    with pytest.raises(Interrupted, match="stopped after 8 checked rows; run the same command again to go on"):
        Project(tmp_path, recipe).go()
    (folder,) = tmp_path.rglob(".gnomon-*.work")
    monkeypatch.undo()
    monkeypatch.setattr(RowChecks, "_check", counted)
    run = Project(tmp_path, recipe).go().parent
    assert checked == [f"line {n}" for n in (*range(1, 10), *range(9, 18))]
    assert read_json(run / "tidy" / "result.json")["rows"] == 17
    assert not folder.exists()


def test_rows_of_a_stopped_stage_go_when_its_settings_change(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gnomon.data.quality.clean.compare_rows", stop)
    with pytest.raises(Interrupted, match="after 17 checked rows"):
        Project(tmp_path, recipe).go()
    monkeypatch.undo()
    content = yaml.safe_load(recipe.read_text("utf-8"))
    content["stages"][0]["filters"]["degenerate"] = "off"
    recipe.write_text(yaml.safe_dump(content), "utf-8")
    run = Project(tmp_path, recipe).go().parent
    assert list(tmp_path.rglob(".gnomon-*")) == []
    assert sorted(path.name for path in run.iterdir() if path.name.startswith("tidy")) == ["tidy"]


def test_wrong_filters_are_refused_before_anything_runs(recipe: Path) -> None:
    content = yaml.safe_load(recipe.read_text("utf-8"))
    content["stages"][0]["filters"] = {"refusal": "drop"}
    recipe.write_text(yaml.safe_dump(content), "utf-8")
    with pytest.raises(ConfigError, match=r"stage 1, filters: 'refusal' is no filter; .*refusals"):
        gnomon.load_recipe(recipe)


def test_data_without_a_kind_is_refused(recipe: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", [{"colour": "red"}])
    with pytest.raises(DataError, match=r"pairs\.jsonl.*no row is a record"):
        gnomon.check(recipe)


def test_every_filter_has_a_name_in_the_report() -> None:
    for name in all_filters():
        assert "<code>" not in text_or_name("filter", name), name
