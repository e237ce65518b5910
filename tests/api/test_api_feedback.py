"""`gnomon feedback` from Python: prompt bank, ratings, excluded annotators, and provenance in runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from project import Ran, write_rows

from gnomon.core.progress import StopSignal
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.tasks.queue import NewJudgement, Queue
from gnomon.models.engine.device import find_compute
from gnomon.pipeline.recipe import build_recipe
from gnomon.reporting.run_report import write_report
from gnomon.stages.workspace import Workspace

Ask = Callable[..., Ran]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store = Store("f.db")
    store.add_project(Project("tone", "Kinder?", "pair", votes_per_item=1))
    store.close()
    return tmp_path


def test_prompt_columns_are_stored_and_used_to_select(ask: Ask, here: Path) -> None:
    lines = ["prompt,category,tags,value,edge"]
    lines += [f'Tell me about {word}!,{kind},"x, y",{value},{edge}' for word, kind, value, edge in (
        ("astronomy", "facts", 0.9, 0), ("my illness", "care", 0.2, 1), ("a joke on cats", "fun", 0.1, 0),
    )]  # fmt: skip
    Path("bank.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, out, err = ask("feedback", "import", "f.db", "bank.csv", "--project", "tone", "--prompts")
    assert (code, out.strip()) == (0, "3 prompts added, 0 there already"), err
    store = Store("f.db")
    result = {one.category: one for one in store.bank("tone")}
    store.close()
    assert (result["facts"].tags, result["facts"].value, result["care"].edge) == (("x", "y"), 0.9, True)
    code, out, err = ask("feedback", "select-prompts", "f.db", "--count", 2, "--out", "next.jsonl", "--mix",
                         "high_value=0.5,edge=0.5,under_covered=0,random=0")  # fmt: skip
    assert code == 0, err
    assert [(row["category"], row["picked_as"]) for row in read_jsonl(Path("next.jsonl"))] == [
        ("care", "edge"),
        ("facts", "high_value"),
    ]
    assert "facts: 1 prompts, 0 items (0%), 1 selected" in out
    code, _, err = ask(
        "feedback", "select-prompts", "f.db", "--count", 2, "--out", "next.jsonl", "--mix", "edge=2"
    )
    assert code == 2
    assert "Traceback" not in err


def test_the_same_answer_to_two_prompts(ask: Ask, here: Path) -> None:
    write_rows(Path("a.jsonl"), [{"prompt": p, "chosen": "Yes.", "rejected": "No."} for p in ("One?", "Two?")])
    code, out, err = ask("feedback", "import", "f.db", "a.jsonl", "--project", "tone")
    assert (code, out.strip()) == (0, "2 items added, 0 there already"), err


def test_importing_ratings_creates_the_project(ask: Ask, here: Path) -> None:
    rows = [{"text": text, "rater": who, "rating": n} for n, text in enumerate("abc") for who in ("Ann", "Bob")]
    write_rows(Path("r.jsonl"), rows)
    line = ("feedback", "import", "f.db", "r.jsonl", "--project", "rated", "--ratings")
    code, _, err = ask(*line, "--scale", "0,5")
    assert (code, "give all such texts one with --prompt" in " ".join(err.split())) == (2, True)
    store = Store("f.db")
    assert store.projects() == ["tone"]  # nothing is left of it
    store.close()
    code, out, err = ask(*line, "--scale", "0,5", "--prompt", "Say a letter.")
    assert (code, out.strip()) == (0, "6 judgements added, 0 there already"), err
    code, out, err = ask("feedback", "export", "f.db", "--project", "rated", "--out", "d", "--format", "parquet")
    assert (code, "3 preferences from 6 judgements of 2 annotators in d" in out) == (0, True), err
    for wrong in (["--scale", "5"], ["--scale", "5,0"], ["--prompts"]):
        code, _, err = ask(*line, *wrong)
        assert (code, "Traceback" in err) == (2, False)


def exported(ask: Ask) -> None:
    write_rows(Path("a.jsonl"), [{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}])
    assert ask("feedback", "import", "f.db", "a.jsonl", "--project", "tone")[0] == 0
    store = Store("f.db")
    store.add_annotator("ann", id="ann")
    task = Queue(store, "tone").take("ann")
    assert task is not None
    Queue(store, "tone").submit(NewJudgement("j", task.item, "ann", {"choice": "first"}))
    store.close()
    assert ask("feedback", "export", "f.db", "--project", "tone", "--out", "data")[0] == 0


def noted(run: Path) -> str:
    """A run folder and its report contain the provenance of exported data."""
    row = {"name": "judge", "algorithm": "reward_model", "data": "data/preferences.jsonl"}
    recipe = build_recipe({"run": str(run), "model": {"name": "tiny-random"}, "stages": [row]}, "test")
    work = Workspace(run, recipe, find_compute("cpu", "float32"), StopSignal())
    work.prepare_stage(recipe.stages[0])
    work.note_environment({})
    return write_report(run).read_text(encoding="utf-8")


def test_a_run_records_the_judgements_behind_its_data(
    ask: Ask, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(ask)
    page = noted(here / "run")
    (note,) = read_json(here / "run" / "environment.json")["judgements"].values()
    manifest = read_json(here / "data" / "manifest.json")
    assert (note["project"], note["judgements"], note["annotators"], note["unchanged"]) == ("tone", 1, 1, True)
    assert read_json(here / "run" / note["manifest"]) == manifest
    assert f'href="{note["manifest"]}"' in page
    assert manifest["digest"] in page
    assert "1 judgements of 1 annotators" in page
    assert "1 位标注者的 1 次判断" in page
    assert "was changed after" not in page
    Path("data/preferences.jsonl").write_text(
        Path("data/preferences.jsonl").read_text(encoding="utf-8").replace("Hello!", "Bye!"), encoding="utf-8"
    )
    page = noted(here / "other")
    assert "This file was changed after the export" in page
    assert "该文件在导出后被改动" in page
    assert "was changed after it was exported" in " ".join(capsys.readouterr().err.split())
