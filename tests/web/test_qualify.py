"""The qualification over real HTTP: who gets questions, and what the answers bring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import ID, Site, User, fill, serving, visible
from tiny import prompts_of

from gnomon.core.types import Completion, Prompt
from gnomon.feedback.crowd_platforms import CrowdWorker, crowd_link
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.crowd_access import CrowdAccess
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.qualification import NewQuestion, Qualification


def add_questions(store: Store, count: int, project: str = "films") -> None:
    """Questions of which the completion with "right" in it is right."""
    made = []
    for n, prompt in enumerate(prompts_of(*(f"Practice {n}?" for n in range(count)))):
        both = (Completion(f"r{n}", f"The right one of {n}."), Completion(f"w{n}", f"The wrong one of {n}."))
        prompt = Prompt(f"practice{n}", prompt.messages)
        made.append(NewQuestion(prompt, both, {"choice": "first"}, f"It is *polite*. <b>{n}</b>"))
    Qualification(store, project).add(made)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = Store(tmp_path / "feedback.db")
    fill(store, 3, contact="Rae")
    add_questions(store, 2)
    with serving(store) as site:
        yield site
    store.close()


def reply_of(user: User) -> Any:
    reply = user.post("/api/task")
    assert reply.status_code == 200, reply.text
    return reply.json()


def answer(user: User, number: int, right: bool) -> Any:
    """Answer the next question right or wrong."""
    task = reply_of(user)["task"]
    assert task["question"] is not None
    first_is_right = "right" in task["completions"][0]["html"]
    choice = "first" if first_is_right == right else "second"
    body = {"id": ID.format(number), "who": user.who, "item": task["item"], "answer": {"choice": choice}}
    reply = user.post("/api/qualify", body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_questions_with_feedback_come_before_the_first_item(site: Site) -> None:
    ann = site.log_in("Ann")
    task = reply_of(ann)["task"]
    assert task["question"] == {"number": 1, "questions": 2, "attempt": 1, "attempts": 2}
    wrong = answer(ann, 1, right=False)
    assert (wrong["correct"], wrong["result"]) == (False, None)
    assert wrong["words"] in ("1 is better", "2 is better")
    assert "<em>polite</em>" in wrong["explanation"]
    assert "<b>" not in wrong["explanation"]
    failed = answer(ann, 2, right=True)
    assert failed["result"] == {
        "correct": 1, "questions": 2, "required": 2, "passed": False, "attempts_left": 1
    }  # fmt: skip
    for number in (3, 4):
        passed = answer(ann, number, right=True)
    assert passed["result"]["passed"] is True
    task = reply_of(ann)["task"]
    assert "question" not in task
    assert ann.judge(task["item"], 5).status_code == 200


def test_whoever_fails_gets_nothing(site: Site) -> None:
    ann = site.log_in("Ann")
    for number in range(4):
        answer(ann, number, right=False)
    reply = reply_of(ann)
    assert (reply["task"], reply["failed"], reply["paused"]) == (None, True, False)
    body = {"id": ID.format(9), "who": ann.who, "item": 4, "answer": {"choice": "first"}}
    assert ann.post("/api/qualify", body).status_code == 409
    assert ann.judge(1, 10).status_code == 409
    admin = site.log_in("Rae", "admin")
    page = visible(admin.http.get(f"{site.address}/admin/annotators").text)
    assert "Qualification: failed, 0/2, attempts: 2" in page


@pytest.mark.parametrize("role", ["admin", "reviewer"])
def test_administrators_and_reviewers_need_no_qualification(site: Site, role: str) -> None:
    assert "question" not in reply_of(site.log_in("Rae", role))["task"]


def test_an_answer_for_another_user_or_without_a_session_is_refused(site: Site) -> None:
    ann, bob = site.log_in("Ann"), site.log_in("Bob")
    item = reply_of(ann)["task"]["item"]
    body = {"id": ID.format(1), "who": bob.who, "item": item, "answer": {"choice": "first"}}
    assert ann.post("/api/qualify", body).status_code == 403
    assert User(site.address).post("/api/qualify", body | {"who": "x"}).status_code == 401
    assert ann.post("/api/qualify", body | {"who": ann.who, "answer": {"choice": "left"}}).status_code == 409
    assert reply_of(ann)["task"]["question"]["number"] == 1


def test_questions_reveal_neither_the_answer_nor_the_completions_ids(site: Site) -> None:
    text = site.log_in("Ann").post("/api/task").text
    assert "polite" not in text
    assert '"r0"' not in text
    assert "gold" not in text


def test_a_crowd_worker_who_fails_gets_no_code(site: Site) -> None:
    crowd = CrowdAccess(Access(site.store))
    _, token = crowd.add_link(site.project, crowd_link("mturk"))
    worker = User(site.address)
    page = worker.http.post(f"{site.address}/crowd/{token}?workerId=A1B2C3", headers={"Origin": site.address})
    assert page.status_code == 200
    worker.who = next(iter(page.text.split('data-who="')[1:])).split('"')[0]
    for number in range(4):
        answer(worker, number, right=False)
    reply = reply_of(worker)
    assert (reply["failed"], reply["finish"]) == (True, None)
    assert crowd.join(site.project, token, CrowdWorker("A1B2C3", {})).cookie is not None
