"""`gnomon feedback crowd-link`, `payments` and what `status` prints of them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Ran
from tiny import prompts_of

from gnomon.core.types import Completion
from gnomon.feedback.crowd_platforms import CrowdWorker
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.crowd_access import CrowdAccess
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.feedback.tasks.crowd_progress import CrowdProgress
from gnomon.feedback.tasks.queue import NewJudgement, Queue

Ask = Callable[..., Ran]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store = Store("f.db")
    store.add_project(Project("films", "Which is better?", "pair"))
    add_prompts(store, "films", map(BankPrompt, prompts_of("How was film 0?")))
    add_completions(store, "films", [("p0", Completion(side, f"Answer {side}."), {}) for side in "ab"])
    add_items(store, "films", ["ab"])
    store.close()
    return tmp_path


def judge_one(path: str) -> None:
    """Join as a worker with a link's path, and judge one item in 30 seconds."""
    store = Store("f.db")
    access = Access(store)
    token = path.removeprefix("/crowd/").partition("?")[0]
    cookie = CrowdAccess(access).join("films", token, CrowdWorker("W1", {"study": "s-1"})).cookie
    user, queue = access.current_user(cookie), Queue(store, "films")
    assert user is not None
    task = queue.take(user.annotator)
    assert task is not None
    seconds = {"active": 30.0, "idle": 9.0}
    judgement = NewJudgement(
        "j", task.item, user.annotator, {"choice": "tie"}, seconds=seconds, invite=user.invite
    )
    queue.submit(judgement)
    CrowdProgress(store).visit(str(user.invite))
    store.close()


def test_from_a_link_to_a_payment_list(ask: Ask, here: Path) -> None:
    options = ("--platform", "panel", "--worker-parameter", "pid", "--context-parameter", "study", "--code", "OK")
    code, out, err = ask("feedback", "crowd-link", "f.db", *options, "--max-judgements", 1)
    assert code == 0, err
    (path,) = re.findall(r"/crowd/\S+", out)
    judge_one(path)
    code, out, err = ask("feedback", "status", "f.db")
    assert (code, "link 1 (panel): 1 workers, 1 finished, 1 judgements" in out) == (0, True), (out, err)
    code, out, err = ask("feedback", "payments", "f.db")
    assert (code, "panel W1: 1 judgements in 0.5 min, reliability –, active, OK" in out) == (0, True), (out, err)
    _, out, _ = ask("feedback", "payments", "f.db", "--json")
    (row,) = json.loads(out)
    assert (row["worker"], row["active_seconds"], row["details"]) == ("W1", 30.0, {"study": "s-1"})
    _, out, _ = ask("feedback", "payments", "f.db", "--csv")
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["worker"], row["judgements"], row["code"], row["study"]) == ("W1", "1", "OK", "s-1")
    assert row["reliability"] == ""
    assert ask("feedback", "crowd-link", "f.db", "--end", 1)[0] == 0
    assert "link 1 (panel, ended)" in ask("feedback", "status", "f.db")[1]


def test_a_prolific_link_has_the_placeholders_of_prolific(ask: Ask, here: Path) -> None:
    _, out, _ = ask("feedback", "crowd-link", "f.db", "--platform", "prolific", "--code", "C1")
    query = "?PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"
    assert out.strip().endswith(query)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("crowd-link",), "name the platform with --platform"),
        (("crowd-link", "--platform", "prolific"), "give it with --code"),
        (("crowd-link", "--platform", "mturk", "--max-judgements", "0"), "--max-judgements"),
        (("crowd-link", "--end", "1", "--code", "C"), "--end ends a link"),
        (("crowd-link", "--end", "7"), "has no crowd link 7"),
        (("payments", "--json", "--csv"), "exclude each other"),
    ],
)
def test_a_mistake_is_one_sentence(ask: Ask, here: Path, line: tuple[str, ...], message: str) -> None:
    code, _, err = ask("feedback", line[0], "f.db", *line[1:])
    assert (code, message in " ".join(err.split())) == (2, True), err


def test_payments_of_a_project_without_workers_is_an_empty_table(ask: Ask, here: Path) -> None:
    assert ask("feedback", "payments", "f.db", "--json")[1].strip() == "[]"
    _, out, _ = ask("feedback", "payments", "f.db", "--csv")
    assert out.startswith("platform,worker,link,")
    assert len(out.splitlines()) == 1
