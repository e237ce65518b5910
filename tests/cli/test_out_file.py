"""An output file never replaces an input file; any other file of that name is replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Ran

import gnomon
from gnomon.cli.out_file import check_out
from gnomon.core.errors import ConfigError
from gnomon.feedback.store.store import Project

Ask = Callable[..., Ran]
ROW = {"prompt": "How was it?", "completion": "A good soup."}


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of rows in the working folder, with links to it and to its folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    (tmp_path / "link.jsonl").symlink_to(file)
    os.link(file, tmp_path / "hard.jsonl")
    (tmp_path / "here").symlink_to(tmp_path)
    return file


@pytest.mark.parametrize("out", ["rows.jsonl", "./rows.jsonl", "here/rows.jsonl", "link.jsonl", "hard.jsonl"])
@pytest.mark.parametrize(
    "command",
    [("score", "vader", "rows.jsonl"), ("sample", "no-model", "--prompts", "rows.jsonl")],
    ids=["score", "sample"],
)
def test_a_command_does_not_replace_its_input(rows: Path, ask: Ask, command: tuple[str, ...], out: str) -> None:
    before = rows.read_bytes()
    code, _, err = ask(*command, "--out", out)
    assert code == 2
    assert "which this command reads; give another file." in " ".join(err.split())
    assert rows.read_bytes() == before


def test_a_command_does_not_replace_a_file_of_its_pattern(rows: Path, ask: Ask) -> None:
    code, _, err = ask("score", "vader", "row*.jsonl", "--out", "rows.jsonl")
    assert code == 2
    assert "--out rows.jsonl is rows.jsonl, which this command reads" in " ".join(err.split())
    assert ask("score", "vader", "row*.jsonl", "--out", "scores.jsonl")[0] == 0
    assert json.loads(Path("scores.jsonl").read_text("utf-8"))["completion"]["text"] == ROW["completion"]


def test_a_command_does_not_replace_its_judge_model_or_store(rows: Path, ask: Ask, tiny_model: Path) -> None:
    judge = rows.with_name("judge.py")
    judge.write_text("def score(prompt, completion):\n    return 1.0\n", encoding="utf-8")
    gnomon.feedback_init("feedback.db", Project("soup", "Soup", "pair"))
    inside = tiny_model / "config.json"
    before = {path: path.read_bytes() for path in (judge, rows.with_name("feedback.db"), inside)}
    for command in (
        ("score", "judge.py:score", "rows.jsonl", "--out", "judge.py"),
        ("sample", str(tiny_model), "--prompt", "a", "--out", str(inside)),
        (
            "sample",
            "no-model",
            "--prompt",
            "a",
            "--best-of",
            "2",
            "--reward",
            "judge.py:score",
            "--out",
            "judge.py",
        ),
        ("feedback", "select-prompts", "feedback.db", "--count", "1", "--out", "feedback.db"),
        ("feedback", "select-prompts", "sqlite:///feedback.db", "--count", "1", "--out", "here/feedback.db"),
    ):
        code, _, err = ask(*command)
        assert code == 2
        assert "which this command reads" in " ".join(err.split())
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(ConfigError, match="is a folder; give the name of a file"):
        check_out(rows.parent, [])


def test_any_other_file_is_replaced(rows: Path, ask: Ask) -> None:
    other = rows.with_name("scored.jsonl")
    other.write_text("mine\n", encoding="utf-8")
    code, _, err = ask("score", "vader", "rows.jsonl", "--out", "scored.jsonl")
    assert code == 0, err
    assert "score" in json.loads(other.read_text(encoding="utf-8"))
