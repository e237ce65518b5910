"""`gnomon feedback set-profile`, `set-domains`, and requirements in `import` and `status`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Ran, write_rows

Ask = Callable[..., Ran]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> Path:
    monkeypatch.chdir(tmp_path)
    sides = [("Yes.", "No."), ("先和面。", "不知道。"), ("Hello!", "What?")]
    columns = [
        {"prompt": "Is this contract valid?", "domain": "Law", "language": "en"},
        {"prompt": "怎么烤面包？", "language": "zh-CN", "skills": "baking,烘焙"},
        {"prompt": "Hi", "category": "small talk"},
    ]
    rows = [row | {"chosen": good, "rejected": bad} for row, (good, bad) in zip(columns, sides, strict=True)]
    write_rows(tmp_path / "answers.jsonl", rows)
    assert ask("feedback", "init", "f.db", "--project", "tone", "--title", "Kinder?")[0] == 0
    code, out, err = ask("feedback", "import", "f.db", "answers.jsonl")
    assert (code, "3 items added" in out, "not read" in err) == (0, True, False), (out, err)
    return tmp_path


def test_columns_of_a_file_are_requirements_and_status_counts_who_meets_them(ask: Ask, here: Path) -> None:
    _, out, _ = ask("feedback", "status", "f.db")
    assert "language zh, skill baking, skill 烘焙: 1 open items for nobody, so they go to everybody" in out
    ask("feedback", "invite", "f.db", "--name", "Lea")
    (lea,) = re.findall(r"Lea \(active, id (\w+)\)", ask("feedback", "status", "f.db")[1])
    code, out, err = ask("feedback", "set-profile", "f.db", lea, "--language", "en-GB", "--domain", "LAW")
    assert (code, out.strip()) == (0, f"{lea}: languages en; domains law"), err
    _, out, _ = ask("feedback", "status", "f.db")
    assert "language en, domain law: 1 open items for 1 people" in out
    assert f"Lea (active, id {lea}): 0; languages en; domains law" in out
    assert ask("feedback", "set-profile", "f.db", lea)[1].strip() == f"{lea} has no profile"


def test_domains_are_the_categories_or_clusters(ask: Ask, here: Path) -> None:
    code, out, err = ask("feedback", "set-domains", "f.db")
    assert (code, "small talk: 1 prompts" in out, "(no domain): 2 prompts" in out) == (0, True, True), (out, err)
    code, out, err = ask("feedback", "set-domains", "f.db", "--clusters", 2)
    assert (code, len(out.splitlines())) == (0, 2), err
    code, _, err = ask("feedback", "set-domains", "f.db", "--clusters", 4)
    assert (code, "3 different prompts do not make 4 clusters" in err) == (2, True), err


@pytest.mark.slow
def test_domains_are_clusters_of_embeddings(ask: Ask, here: Path) -> None:
    """Of three prompts: two English ones for the model, and a Chinese one that it cannot read."""
    code, out, err = ask("feedback", "set-domains", "f.db", "--embeddings", "minilm", "--clusters", 3)
    assert (code, len(out.splitlines())) == (0, 3), err
    code, out, err = ask("feedback", "set-domains", "f.db", "--embeddings", "minilm")
    assert (code, len(out.splitlines())) == (0, 2), err
    code, _, err = ask("feedback", "set-domains", "f.db", "--embeddings", "nowhere/model")
    assert (code, "no embedding model at nowhere/model" in err) == (2, True), err


def test_an_unknown_annotator_is_one_sentence(ask: Ask, here: Path) -> None:
    code, _, err = ask("feedback", "set-profile", "f.db", "nobody", "--language", "en")
    assert (code, "the store has no annotator 'nobody'" in err) == (2, True), err
