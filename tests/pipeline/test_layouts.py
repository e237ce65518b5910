"""Formats and mappings of columns in recipes, commands and calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from project import Ran, write_rows
from safetensors.torch import load_file

import gnomon
from gnomon.core.errors import ConfigError
from gnomon.core.types import Demonstration
from gnomon.pipeline.recipe import load_recipe
from gnomon.stages.common.independence.ancestry import ancestry

PAIRS = [("How was Solaris?", "A joy!", "No."), ("How was 花样年华?", "A delight!", "Bad.")]
COLUMNS = {"prompt": "q", "chosen": {"by": "vote", 1: "a", 2: "b"}, "rejected": {"by": "vote", 1: "b", 2: "a"}}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same pairs in Gnomon's own layout, as transcripts, and as votes in a table."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "own.jsonl", [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in PAIRS])
    start = "\n\nHuman: {}\n\nAssistant: {}"
    transcripts = [{"chosen": start.format(p, c), "rejected": start.format(p, r)} for p, c, r in PAIRS]
    write_rows(tmp_path / "hh.jsonl", transcripts)
    (p, c, r), (q, d, s) = PAIRS
    (tmp_path / "votes.csv").write_text(f"q,a,b,vote\n{p},{c},{r},1\n{q},{s},{d},2\n", encoding="utf-8")
    return tmp_path


def test_one_data_set_trains_the_same_weights_in_each_layout(files: Path, tiny_model: Path) -> None:
    layouts: dict[str, dict[str, Any]] = {
        "own.jsonl": {}, "hh.jsonl": {}, "votes.csv": {"columns": COLUMNS},
    }  # fmt: skip
    weights = []
    for name, layout in layouts.items():
        trained = gnomon.train("dpo", model=tiny_model, data=name, out=f"run-{name}", adapter="none", **layout)
        weights.append(load_file(trained.folder / "model.safetensors"))
    for other in weights[1:]:
        assert all(bool((other[key] == value).all()) for key, value in weights[0].items())


def recipe_of(files: Path, model: Path, **keys: Any) -> Path:
    content = {
        "run": "run", "model": {"name": str(model), "adapter": "none"}, **keys,
        "stages": [{"name": "dpo", "algorithm": "dpo", "data": "votes.csv"}],
    }  # fmt: skip
    path = files / "recipe.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


def test_a_recipe_maps_the_columns_of_its_files(files: Path, tiny_model: Path, ask: Any) -> None:
    recipe = recipe_of(files, tiny_model, columns={"votes.csv": COLUMNS})
    code, _, err = ask("run", str(recipe))
    assert code == 0, err
    (data,) = ancestry("dpo", files / "run").data
    assert data.layout.given
    metrics = (files / "run" / "dpo" / "metrics.jsonl").read_bytes()
    assert ask("run", str(recipe))[0] == 0
    assert (files / "run" / "dpo" / "metrics.jsonl").read_bytes() == metrics, "nothing is trained again"
    other = {**COLUMNS, "chosen": COLUMNS["rejected"], "rejected": COLUMNS["chosen"]}
    recipe = recipe_of(files, tiny_model, columns={"votes.csv": other})
    code, _, err = ask("run", str(recipe))
    assert code == 0, err
    assert (files / "run" / "dpo" / "metrics.jsonl").read_bytes() != metrics, "another mapping is other data"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"columns": {"other.csv": COLUMNS}}, r"recipe\.yaml, columns: no stage reads 'other\.csv'"),
        ({"columns": {"votes.csv": {"promt": "q"}}}, r"votes\.csv: columns: 'promt' is no key of a record"),
        ({"formats": {"votes.csv": "hhh"}}, r"votes\.csv: 'hhh' is no format; did you mean 'hh'"),
        ({"formats": {"votes.csv": "hh"}, "columns": {"votes.csv": COLUMNS}}, "exclude each other"),
    ],
)
def test_wrong_layouts_are_refused(files: Path, tiny_model: Path, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recipe(recipe_of(files, tiny_model, **keys))


def test_the_command_trains_by_a_mapping(files: Path, tiny_model: Path, ask: Any) -> None:
    (files / "columns.yaml").write_text(yaml.safe_dump(COLUMNS), encoding="utf-8")
    result: Ran = ask(
        "train", "dpo", "--model", tiny_model, "--data", "votes.csv", "--columns", "columns.yaml", "adapter=none"
    )
    assert result[0] == 0, result[2]
    config = yaml.safe_load((files / "runs" / "dpo" / "config.yaml").read_text("utf-8"))
    assert config["columns"]["votes.csv"]["prompt"] == "q"
    code, _, err = ask("train", "dpo", "--model", tiny_model, "--format", "hh")
    assert (code, "a format or columns are given, but no data" in err) == (2, True)


def test_a_format_without_the_kind_is_refused_with_its_kinds(files: Path, tiny_model: Path, ask: Any) -> None:
    code, _, err = ask("train", "sft", "--model", tiny_model, "--data", "hh.jsonl")
    assert code == 2
    line = "hh.jsonl is Anthropic HH transcripts, which hold preferences, not demonstrations"
    assert line in " ".join(err.split())


def test_an_inspection_in_python_takes_a_mapping(files: Path) -> None:
    result = gnomon.inspect("votes.csv", columns={"prompt": "q", "completion": "a"})
    assert result.kind is Demonstration
    assert result.unread == ("b", "vote")
