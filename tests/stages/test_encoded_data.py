"""Data of a training stage on disk: the same training as in memory, tokenized once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from project import Project, make_project

from gnomon.core.storage.files import read_jsonl
from gnomon.stages.common import encoded_data

BOTH = ["judge.training.validation={share: 0.3}", "sft.training.log_samples_every=2"]


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "cache"))
    project = make_project(tmp_path / "project", tiny_model)
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    recipe["stages"] = recipe["stages"][:2]  # the two that train on stored data
    project.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return project


def test_training_on_disk_is_training_in_memory(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row of the metrics and every sample; another run finds the tokens."""
    stages = ("sft", "judge")
    project.go(*BOTH)
    in_memory = {name: project.metrics(name) for name in stages}
    samples = list(read_jsonl(project.run / "sft" / "samples.jsonl"))
    project.run.rename(project.folder / "first")
    monkeypatch.setattr(encoded_data, "is_large", lambda path: True)
    capsys.readouterr()
    project.go(*BOTH)
    assert {name: project.metrics(name) for name in stages} == in_memory
    assert list(read_jsonl(project.run / "sft" / "samples.jsonl")) == samples
    assert "tokenized already" not in capsys.readouterr().err
    project.run.rename(project.folder / "second")
    project.go(*BOTH, "judge.training.learning_rate=0.02")
    assert capsys.readouterr().err.count("rows are tokenized already") == 2


def test_without_a_cache_the_data_are_held_in_memory(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project.go()
    in_memory = project.metrics("judge")
    project.run.rename(project.folder / "first")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(encoded_data, "is_large", lambda path: True)
    project.go()
    assert project.metrics("judge") == in_memory
    assert "with room; the data are held in memory" in " ".join(capsys.readouterr().err.split())
