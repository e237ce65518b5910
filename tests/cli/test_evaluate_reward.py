"""`gnomon evaluate reward`: tables, JSON, conditions, and mistakes of the user."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Ran, write_rows

Ask = Callable[..., Ran]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with twelve pairs, of which a reward that counts exclamation marks orders nine."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"prompt": f"{n}?", "chosen": "Yes!" if n < 9 else "Yes", "rejected": f"No, {n}.", "domain": "ab"[n % 2]}
        for n in range(12)
    ]
    write_rows(tmp_path / "pairs.jsonl", rows)
    (tmp_path / "marks.py").write_text("def score(prompt, text):\n    return text.count('!')\n", "utf-8")
    return tmp_path


def test_the_help_teaches_by_example(ask: Ask) -> None:
    for arguments in (("evaluate",), ("evaluate", "--help"), ("evaluate", "reward", "--help")):
        out = ask(*arguments)[1]
        assert out.partition("Examples")[2].count("gnomon evaluate") >= 2
    assert "Compare models by judges" in ask("evaluate", "models", "--help")[1]


def test_tables_on_a_pipe(ask: Ask) -> None:
    code, out, err = ask("evaluate", "reward", "marks.py:score", "vader", "--data", "pairs.jsonl")
    assert code == 0, err
    assert "marks.py:score\t87.5%\t" in out
    assert "always the longer text\t0.0%\t" in out
    assert "a (few)\t6\t91.7%" in out
    assert "marks.py:score − vader\t" in out


def test_json(ask: Ask) -> None:
    code, out, _ = ask("evaluate", "reward", "marks.py:score", "--data", "pairs.jsonl", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["accuracy"][0]["overall"]["value"] == 0.875
    assert result["category"] == "domain"


def test_a_page(ask: Ask) -> None:
    code, _, err = ask("evaluate", "reward", "vader", "--data", "pairs.jsonl", "--html", "page.html")
    assert code == 0, err
    assert "vader" in Path("page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("conditions", "status", "sentence"),
    [
        (["accuracy<0.8", "failed_share>0"], 0, ""),
        (["accuracy<0.8", "accuracy < 0.9"], 1, "marks.py:score: accuracy is 0.875, which meets accuracy<0.9"),
        (["accuracy<=0.875"], 1, "meets accuracy<=0.875"),
        (["accuracy.b<0.9"], 1, "accuracy.b is 0.8333, which meets accuracy.b<0.9"),
        (["margin_over_length>=-1"], 1, "margin_over_length is -0.125"),
    ],
)
def test_conditions(ask: Ask, conditions: list[str], status: int, sentence: str) -> None:
    options = [word for one in conditions for word in ("--fail-if", one)]
    code, _, err = ask("evaluate", "reward", "marks.py:score", "--data", "pairs.jsonl", *options)
    assert code == status
    assert sentence in err
    assert err.count("failed: ") == status


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["vader", "--data", "pairs.jsonl", "--fail-if", "acuracy<0.7"],
            "'acuracy' is no figure; choose one of acc",
        ),
        (["vader", "--data", "pairs.jsonl", "--fail-if", "accuracy=0.7"], "is not of the form FIGURE<NUMBER"),
        (["vader", "--data", "pairs.jsonl", "--fail-if", "accuracy<nan"], "is not of the form FIGURE<NUMBER"),
        (["vader", "--data", "none.jsonl"], "no data at none.jsonl; give a file of pairs"),
        (["vader", "vader", "--data", "pairs.jsonl"], "'vader' is given twice"),
        (["nobody", "--data", "pairs.jsonl"], "nobody"),
        (["ridge", "--data", "pairs.jsonl"], "the reward ridge needs judge_holdout"),
        (["vader", "--data", "pairs.jsonl", "--html", "pairs.jsonl"], "--html pairs.jsonl is pairs.jsonl, which"),
        (["vader", "--data", "pairs.jsonl", "--html", "."], "--html . is a folder"),
        (["vader", "--data", "pairs.jsonl", "--bins", "1"], "--bins must be at least 2"),
        (["vader", "--data", "pairs.jsonl", "--category", "kind"], "no row has a value in the column 'kind'"),
    ],
)
def test_mistakes_are_one_sentence(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, err = ask("evaluate", "reward", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert sentence in err
    assert len(err.splitlines()) == 1
