"""Every command that takes data takes it compressed, from a pattern and from standard input."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Ran, write_rows

from gnomon.data.reading import standard_input
from gnomon.feedback.store.store import Project, Store

Ask = Callable[..., Ran]
SOURCE = object()
ROWS = [{"prompt": f"How was film {n}?", "chosen": "A joy.", "rejected": "A bore."} for n in range(3)]


@pytest.fixture(params=["gzip", "pattern", "stdin"])
def ask_of(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> Ask:
    """The command line, with the rows for each SOURCE: a compressed file, a pattern, or standard input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(standard_input, "_copies", {})
    data = "".join(json.dumps(row) + "\n" for row in ROWS)
    source = {"gzip": "rows.jsonl.gz", "pattern": "*.jsonl", "stdin": "-"}[request.param]
    if request.param == "gzip":
        Path(source).write_bytes(gzip.compress(data.encode()))
    elif request.param == "pattern":
        write_rows(Path("a.jsonl"), ROWS[:1])
        write_rows(Path("b.jsonl"), ROWS[1:])

    def run(*arguments: object) -> Ran:
        ran: Ran = ask(*(source if one is SOURCE else one for one in arguments), typed=data)
        return ran

    return run


def test_data_is_inspected_and_converted(ask_of: Ask) -> None:
    code, out, err = ask_of("data", "inspect", SOURCE)
    assert code == 0, err
    assert "kind: preferences\nrows: 3\n" in out
    code, out, err = ask_of("data", "convert", SOURCE, "--to", "gnomon", "--out", "out/own.jsonl")
    assert (code, out.splitlines()[0]) == (0, "3 preferences in out/own.jsonl"), err


def test_data_is_scored(ask_of: Ask) -> None:
    code, _, err = ask_of("score", "vader", SOURCE, "--out", "scores.json")
    assert code == 0, err
    scores = [json.loads(line) for line in Path("scores.json").read_text("utf-8").splitlines()]
    assert len(scores) == 3
    assert all(row["chosen_score"] > row["rejected_score"] for row in scores)


def test_data_is_imported_for_feedback(ask_of: Ask) -> None:
    store = Store("f.db")
    store.add_project(Project("tone", "Kinder?", "pair"))
    store.close()
    code, out, err = ask_of("feedback", "import", "f.db", SOURCE)
    assert code == 0, err
    assert out.startswith("3 ")
