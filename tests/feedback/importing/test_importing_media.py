"""Items with images: refused by name wherever they would enter a store, whose page shows text alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from project import Ran, write_rows

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Prompt
from gnomon.data.records import parse_record
from gnomon.feedback.store.ingest import add_completions, add_prompts
from gnomon.feedback.store.store import BankPrompt, Project, Store

REASON = "it has 1 image, and the page on which people judge shows text alone"
PLAIN = {"prompt": "Q", "chosen": "A", "rejected": "B"}
DRAWN = {**PLAIN, "images": ["a.png"]}
PICTURE = [{"role": "assistant", "content": [{"type": "image", "image": "a.png"}]}]
RATED = {"prompt": "Q", "text": "A", "rater": "r", "rating": 3}
PAIR = {"prompt": "Q", "answer1": "A", "answer2": "B"}


def task(**data: Any) -> dict[str, Any]:
    result = {"from_name": "q", "type": "pairwise", "value": {"selected": "left"}}
    notes = [{"completed_by": {"email": "anna"}, "result": [result]}]
    return {"id": len(data), "data": {**PAIR, **data}, "annotations": notes}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store = Store("f.db")
    store.add_project(Project("tone", "Kinder?", "pair", votes_per_item=1))
    store.close()
    return tmp_path


@pytest.mark.parametrize(
    ("rows", "options"),
    [
        ([PLAIN, DRAWN], ()),
        ([PLAIN, {**PLAIN, "chosen": PICTURE}], ()),
        ([PLAIN, {"prompt": "Q", "completions": ["A", "B"], "image": "a.png"}], ()),
        ([{"prompt": "Q"}, {"prompt": "Q", "image": "a.png"}], ("--prompts",)),
        ([task(), task(image="a.png")], ("--judgements",)),
        (
            [
                {"prompt": "Q", "response_a": "A", "response_b": "B", "winner": "a", **more}
                for more in ({}, {"image": "a.png"})
            ],
            ("--judgements",),
        ),
        ([RATED, {**RATED, "image": "a.png"}], ("--ratings",)),
    ],
)
def test_an_import_with_an_image_names_the_row_and_adds_nothing(
    here: Path, ask: Callable[..., Ran], rows: list[dict[str, Any]], options: tuple[str, ...]
) -> None:
    path = Path("rows.json" if "data" in rows[0] else "rows.jsonl")
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        write_rows(path, rows)
    project = "rated" if "--ratings" in options else "tone"
    code, _, err = ask("feedback", "import", "f.db", path, "--project", project, *options)
    where = "row 2" if path.suffix == ".json" else "line 2"
    assert code == 2
    assert f"{path}, {where}: {REASON}; " in " ".join(err.split())
    store = Store("f.db")
    assert list(store.bank("tone")) == []
    store.close()
    fewer = rows[:1]
    if path.suffix == ".json":
        path.write_text(json.dumps(fewer), encoding="utf-8")
    else:
        write_rows(path, fewer)
    assert ask("feedback", "import", "f.db", path, "--project", project, *options)[0] == 0


def test_the_store_itself_refuses_them(here: Path) -> None:
    store = Store("f.db")
    drawn: Prompt = parse_record(Prompt, {"prompt": "Q", "image": "a.png"})
    plain: Prompt = parse_record(Prompt, {"prompt": "Q"})
    with pytest.raises(DataError, match=REASON):
        add_prompts(store, "tone", [BankPrompt(plain), BankPrompt(drawn)])
    assert list(store.bank("tone")) == []
    add_prompts(store, "tone", [BankPrompt(plain)])
    answer = Completion("c", "", turns=drawn.messages)
    with pytest.raises(DataError, match=REASON):
        add_completions(store, "tone", [(plain.id, answer, {})])
    store.close()
