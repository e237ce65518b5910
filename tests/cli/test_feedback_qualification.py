"""`gnomon feedback qualification`: questions from files, and what `status` prints of annotators."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Ran, write_rows

from gnomon.feedback.store.access import Access
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.qualification import Qualification

Ask = Callable[..., Ran]
ROW = {"prompt": "Say hi.", "chosen": "Hello!", "rejected": "What?", "explanation": "It is kinder."}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(ask: Ask, *more: object) -> None:
    code, _, err = ask("feedback", "init", "f.db", "--project", "tone", "--title", "Kinder?", *more)
    assert code == 0, err


def test_questions_of_a_file_and_the_result_in_status_and_report(ask: Ask, here: Path) -> None:
    init(ask, "--qualification-pass", "1", "--qualification-attempts", "1")
    write_rows(here / "q.jsonl", [ROW, ROW | {"prompt": "你好", "answer": {"choice": "second"}}])
    code, out, err = ask("feedback", "qualification", "f.db", "q.jsonl")
    assert (code, out.strip(), "not read" in err) == (0, "2 questions added; the qualification has 2", False), err
    assert "0 questions added; the qualification has 2" in ask("feedback", "qualification", "f.db", "q.jsonl")[1]
    store = Store("f.db")
    access = Access(store)
    cookie = access.login(access.invite("tone", "Ann"))
    user, qualification = access.current_user(cookie), Qualification(store, "tone")
    assert user is not None
    for number in range(2):
        _, task = qualification.next_question(user.annotator)
        assert task is not None
        right = "What?" if task.prompt.messages[0].content == "你好" else "Hello!"
        choice = ("first", "second")[[one.text for one in task.completions].index(right)]
        qualification.answer(user.annotator, str(number), task.item, {"choice": choice})
    store.close()
    _, out, _ = ask("feedback", "status", "f.db")
    assert "): 0; qualified with 2 of 2, attempt 1" in out
    (person,) = json.loads(ask("feedback", "agreement", "f.db", "--json")[1])["people"]
    assert person["about"]["qualification"] == {"state": "qualified", "attempts": 1, "correct": 2, "questions": 2}
    assert ask("feedback", "qualification", "f.db", "--clear")[1].strip() == "2 questions removed"


def test_scores_need_an_answer(ask: Ask, here: Path) -> None:
    init(ask, "--task", "rating", "--criteria", "kind")
    row = {"prompt": "Say hi.", "completion": "Hello!", "explanation": "Kind."}
    write_rows(here / "q.jsonl", [row])
    code, _, err = ask("feedback", "qualification", "f.db", "q.jsonl")
    assert (code, "line 1: scores have no order; add the column answer" in " ".join(err.split())) == (2, True), (
        err
    )
    write_rows(here / "q.jsonl", [row | {"answer": {"scores": [{"kind": 9}]}}])
    assert "1 questions added" in ask("feedback", "qualification", "f.db", "q.jsonl")[1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW | {"answer": "first"}, "the answer is not an object"),
        (ROW | {"rejected": "Hello!"}, "two completions are equal"),
        ({"prompt": "Hi", "completions": ["a", "b", "c"]}, "a pair has two completions, not 3"),
        (ROW | {"answer": {"choice": "left"}}, "does not fit the task 'pair'"),
        ({"text": "no prompt"}, "best first or chosen and rejected"),
    ],
)
def test_a_damaged_row_is_one_sentence_and_adds_nothing(
    ask: Ask, here: Path, row: dict[str, object], message: str
) -> None:
    init(ask)
    write_rows(here / "q.jsonl", [ROW | {"prompt": "Fine."}, row])
    code, _, err = ask("feedback", "qualification", "f.db", "q.jsonl")
    assert (code, message in " ".join(err.split())) == (2, True), err
    assert ask("feedback", "qualification", "f.db", "--clear")[1].strip() == "0 questions removed"


def test_a_file_or_clear_is_needed(ask: Ask, here: Path) -> None:
    init(ask)
    for more in ((), ("q.jsonl", "--clear")):
        code, _, err = ask("feedback", "qualification", "f.db", *more)
        assert (code, "give either a file of questions" in " ".join(err.split())) == (2, True), err
