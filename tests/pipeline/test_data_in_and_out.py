"""Users' own data from the recipe on: other formats, several turns, a model without template, rows too long."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import write_rows

from gnomon.core.errors import ConfigError, DataError, ModelError
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.models.loading import load_tokenizer
from gnomon.pipeline.preflight import inputs_of
from gnomon.pipeline.recipe import load_recipe
from gnomon.pipeline.run import run_recipe
from gnomon.pipeline.single_stage import layout_settings, parse_sources

ROWS = [
    {"prompt": f"How was film {n}?", "completion": [{"role": "assistant", "content": "Long."}]} for n in range(4)
]


def recipe(folder: Path, model: Path, data: str, **changes: Any) -> Path:
    """A recipe of one stage of SFT."""
    path = folder / "recipe.yaml"
    stage = {"name": "sft", "algorithm": "sft", "data": data, "training": {"batch_size": 4}}
    chosen = {"name": str(model), "rank": 2, "device": "cpu", "precision": "float32"} | changes
    content = {"run": str(folder / "run"), "model": chosen, "stages": [stage]}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_split_of_a_saved_data_set_is_trained_on(tmp_path: Path, tiny_model: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": rows, "test": rows.select([0])}).save_to_disk(str(tmp_path / "films"))
    source = f"{tmp_path}/films#train"
    run_recipe(load_recipe(recipe(tmp_path, tiny_model, source)))
    assert read_json(tmp_path / "run" / "sft" / "result.json")["examples"] == 4
    assert len(read_json(tmp_path / "run" / "environment.json")["data"][source]) == 64
    with pytest.raises(DataError, match="no data at"):
        run_recipe(load_recipe(recipe(tmp_path, tiny_model, f"{tmp_path}/absent#train")))


def test_files_of_a_pattern_are_trained_on_and_a_new_one_trains_again(tmp_path: Path, tiny_model: Path) -> None:
    """The pattern is looked up in the recipe's folder, and its files' content is part of the fingerprint."""
    (tmp_path / "shards").mkdir()
    write_rows(tmp_path / "shards" / "a.jsonl", ROWS[:2])
    lines = "".join(json.dumps(row) + "\n" for row in ROWS[2:])
    (tmp_path / "shards" / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    made = recipe(tmp_path, tiny_model, "shards/*.jsonl*")
    result = tmp_path / "run" / "sft" / "result.json"
    run_recipe(load_recipe(made))
    assert read_json(result)["examples"] == 4
    before = result.stat().st_mtime_ns
    run_recipe(load_recipe(made))
    assert result.stat().st_mtime_ns == before
    write_rows(tmp_path / "shards" / "c.jsonl", [{"prompt": "More?", "completion": "Yes."}])
    run_recipe(load_recipe(made))
    assert read_json(result)["examples"] == 5
    write_rows(tmp_path / "shards" / "d.jsonl", [{"prompt": "More?"}])
    with pytest.raises(DataError, match=r"shards/\*\.jsonl\*, line 1 of .*shards/d\.jsonl: no 'completion'"):
        run_recipe(load_recipe(made))


def test_a_run_may_lie_beside_the_files_of_its_pattern(tmp_path: Path, tiny_model: Path) -> None:
    write_rows(tmp_path / "a.jsonl", ROWS)
    loaded = load_recipe(recipe(tmp_path, tiny_model, "*.jsonl"), [f"run={tmp_path}"])
    assert tmp_path / "a.jsonl" in inputs_of(loaded)
    run_recipe(loaded)


def test_sources_with_weights_on_the_command_line(tmp_path: Path) -> None:
    text = "{a.jsonl: 1, 'shards/*.gz': 0.5}"
    assert parse_sources(text) == {"a.jsonl": 1, "shards/*.gz": 0.5}
    assert parse_sources("a.jsonl") == "a.jsonl"
    assert layout_settings(parse_sources(text), "hh", None) == [
        (["formats"], {"a.jsonl": "hh", "shards/*.gz": "hh"})
    ]
    for wrong in ("{a.jsonl: x}", "{a.jsonl}", "{}", "{a: 1", "{a: 1, a: 2}"):
        with pytest.raises(ConfigError, match="is no mapping of files to weights, as in"):
            parse_sources(wrong)


def test_a_conversation_is_trained_on_and_one_beyond_the_context_is_refused(
    tmp_path: Path, tiny_model: Path
) -> None:
    """The model reads 1024 tokens, less than the stage's max_tokens."""
    turns = [("user", "How was it?"), ("assistant", "Good."), ("user", "Why?"), ("assistant", "Long.")]
    talk = {"messages": [{"role": role, "content": text} for role, text in turns]}
    write_rows(tmp_path / "rows.jsonl", [talk, {"prompt": "Q", "completion": "x" * 1100}])
    made = recipe(tmp_path, tiny_model, str(tmp_path / "rows.jsonl"))
    run_recipe(load_recipe(made, ["sft.training.max_tokens=4096"]))
    assert read_json(tmp_path / "run" / "sft" / "result.json")["examples"] == 1
    (rejected,) = read_jsonl(tmp_path / "run" / "sft" / "rejected.jsonl")
    assert "more than the 1024 that max_tokens and the model's context allow" in rejected["reason"]


def test_a_model_without_template_needs_one_and_keeps_it(tmp_path: Path, tiny_model: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has no chat template"):
        run_recipe(load_recipe(recipe(tmp_path, bare, str(tmp_path / "rows.jsonl"))))
    run_recipe(load_recipe(recipe(tmp_path, bare, str(tmp_path / "rows.jsonl"), chat_template="plain")))
    assert "Human" in load_tokenizer(str(tmp_path / "run" / "sft" / "model")).chat_template


def test_a_template_that_is_not_there_is_refused_before_anything_runs(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.chat_template.*: no file at .*absent\.jinja; give plain or"):
        load_recipe(recipe(tmp_path, tiny_model, "rows.jsonl", chat_template=str(tmp_path / "absent.jinja")))
