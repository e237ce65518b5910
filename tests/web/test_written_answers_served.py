"""Written answers over real HTTP: what the page gets, what is stored, what reviewers and administrators see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests
from serving import ID, Site, User, judgements, serving, visible
from test_crowd import PID, new_link, open_link
from test_texts_as_html import HOSTILE
from writing import leased, submit, writing_project

from gnomon.core.translations import LANGUAGES
from gnomon.feedback.quality.payments import payments
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.adjudication import decided_items, review_item

TEXT = "Steam pushes the piston, and the piston turns the **wheel**."


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


@pytest.fixture
def site(store: Store) -> Iterator[Site]:
    """Two prompts of one text each, with a review."""
    writing_project(store, 2, approval=True, max_votes=1, min_answer_chars=5)
    with serving(store, "help") as site:
        yield site


def send(user: User, item: int, number: int, answer: dict[str, Any], **more: Any) -> Any:
    body = {"id": ID.format(number), "who": user.who, "item": item, "answer": answer}
    return user.post("/api/submit", body | {"seconds": {"active": 60.0, "idle": 0.0}} | more)


def test_from_a_link_to_a_demonstration(site: Site) -> None:
    ann, bob = site.log_in("Ann"), site.log_in("Bob")
    task = ann.task()
    assert (task["completions"], task["reviews"], task["written"]) == ([], None, "")
    assert "How does machine 0 work?" in task["prompt"][0]["html"]
    assert send(ann, task["item"], 1, {"text": TEXT}).json()["again"] is False
    other = bob.task()
    assert (other["item"], other["written"]) == (task["item"], TEXT)
    assert (
        other["written_html"]
        == "<p>Steam pushes the piston, and the piston turns the <strong>wheel</strong>.</p>\n"
    )
    assert send(bob, other["item"], 2, {"text": TEXT, "reviews": other["reviews"]}).status_code == 200
    assert [row.answer.get("verdict") for row in judgements(site)] == [None, "approved"]
    root = site.log_in("Root", "admin")
    archive = root.post("/api/admin/export")
    assert archive.status_code == 200
    assert b"demonstrations.jsonl" in archive.content


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"text": "abc"}, "has 3 characters, and 5 are required; answer again"),
        ({"text": "\u200b" * 6}, "there is no text; answer again"),
        ({"text": "\x01" * 7}, "there is no text; answer again"),
        ({"choice": "first"}, "does not fit the task"),
        ({"text": "x" * 20_001}, "20000 are the limit; answer again"),
        ({"rejected": True}, "only the text of another annotator can be rejected"),
        ({"text": TEXT, "reviews": "none"}, "has no written text 'none' to review"),
    ],
    ids=["short", "zero-width", "control", "choice", "long", "reject", "review"],
)
def test_other_answers_are_refused_in_a_sentence(site: Site, answer: dict[str, Any], problem: str) -> None:
    ann = site.log_in("Ann")
    refused = send(ann, ann.task()["item"], 1, answer)
    assert refused.status_code == 409
    assert problem in refused.json()["detail"]
    assert judgements(site) == []


def post_utf8(user: User, path: str, body: dict[str, Any]) -> requests.Response:
    """Send JSON as browsers do, without escapes of characters beyond ASCII."""
    headers = {"Origin": user.address, "Content-Type": "application/json"}
    return user.http.post(user.address + path, json.dumps(body, ensure_ascii=False).encode(), headers=headers)


def test_the_longest_text_of_wide_characters_fits_into_a_request(site: Site) -> None:
    ann = site.log_in("Ann")
    item = ann.task()["item"]
    text = "😀" * 20_000
    draft = {"item": item, "answer": {"text": text}, "seconds": {"active": 5.0, "idle": 1.0}}
    assert post_utf8(ann, "/api/heartbeat", draft).json()["until"]
    assert ann.task()["draft"] == {"answer": {"text": text}, "seconds": {"active": 5.0, "idle": 1.0}}
    body = {"id": ID.format(1), "who": ann.who, "item": item, "answer": {"text": text}}
    assert post_utf8(ann, "/api/submit", body | {"seconds": draft["seconds"]}).status_code == 200
    assert judgements(site)[0].answer == {"text": text}


def test_what_no_database_stores_is_replaced(site: Site) -> None:
    ann = site.log_in("Ann")
    assert send(ann, ann.task()["item"], 1, {"text": "one\0two\ud800 three"}).status_code == 200
    assert judgements(site)[0].answer == {"text": "onetwo? three"}


def test_hostile_texts_are_rendered_from_the_allow_list(site: Site) -> None:
    """As the text under review, on the item's page, in its form, and in the list of flagged texts."""
    ann, bob, root = site.log_in("Ann"), site.log_in("Bob"), site.log_in("Root", "admin")
    text = (
        "As an AI language model\n\n" + "\n\n".join(one for one in HOSTILE if "\ud800" not in one) + "</textarea>"
    )
    item = ann.task()["item"]
    assert send(ann, item, 1, {"text": text}).status_code == 200
    pages = [bob.task()["written_html"], root.http.get(f"{site.address}/review/{item}").text]
    pages.append(root.http.get(f"{site.address}/review").text)
    for page in pages:
        assert not re.search(r"<(img|iframe|svg|style|form action=http|base)\b", page)
        assert "<script>alert" not in page
    assert pages[1].count("</textarea>") == 2, "the text does not close its field"
    assert "&lt;/textarea&gt;" in pages[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_speak_of_writing_and_claim_no_agreement(site: Site, language: str) -> None:
    ann, bob, root = site.log_in("Ann"), site.log_in("Bob"), site.log_in("Root", "admin")
    send(ann, ann.task()["item"], 1, {"text": "As an AI language model, I cannot."})
    other = bob.task()
    send(bob, other["item"], 2, {"rejected": True, "reviews": other["reviews"]}, reason="boilerplate")
    paths = ("/", "/admin", "/admin/agreement", "/admin/annotators", "/admin/setup", "/review", "/review/1")
    pages = {path: root.http.get(f"{site.address}{path}?lang={language}") for path in paths}
    assert {page.status_code for page in pages.values()} == {200}
    shown = {path: unescape(visible(page.text)) for path, page in pages.items()}
    no_agreement, flag, rejected, nothing = {
        "en": ("no agreement is defined", "a refusal or a model's boilerplate", "Rejected", "Nothing to write"),
        "zh": ("因此不存在一致性", "拒答或模型套话", "退回", "没有需要撰写"),
    }[language]
    assert no_agreement in shown["/admin/agreement"]
    assert "Krippendorff" not in shown["/admin/agreement"]
    assert "κ" not in shown["/admin/annotators"]
    for path in ("/admin/agreement", "/review", "/review/1"):
        assert flag in shown[path]
    assert rejected in shown["/review/1"]
    assert nothing in shown["/"]
    assert "/admin/gold" not in "".join(page.text for page in pages.values())
    for setting in ("gold_rate", "consensus_threshold", "rewrite", "criteria"):
        assert f"settings.{setting}" not in pages["/admin/setup"].text
    for setting in ("approval", "min_answer_chars", "max_answer_chars", "check_language"):
        assert f"settings.{setting}" in pages["/admin/setup"].text
    assert root.http.get(f"{site.address}/admin/gold", headers={"Accept": "text/html"}).status_code == 409


def test_the_review_of_a_withdrawn_text_is_neither_shown_nor_proposed(site: Site) -> None:
    ann, bob, root = site.log_in("Ann"), site.log_in("Bob"), site.log_in("Root", "admin")
    item = ann.task()["item"]
    send(ann, item, 1, {"text": TEXT})
    send(bob, item, 2, {"text": "A crank turns the wheel.", "reviews": bob.task()["reviews"]})
    page = f"{site.address}/review/{item}"
    assert root.http.get(page).text.count("A crank turns the wheel.") == 2, "shown and proposed"
    site.store.set_annotator(ann.who, "withdrawn")
    assert "A crank" not in root.http.get(page).text
    assert review_item(site.store, "help", item).judgements == ()


def test_lists_name_no_review_of_a_withdrawn_text(site: Site) -> None:
    ann, bob, root = site.log_in("Ann"), site.log_in("Bob"), site.log_in("Root", "admin")
    item = ann.task()["item"]
    send(ann, item, 1, {"text": TEXT})
    send(bob, item, 2, {"text": "A crank turns the wheel.", "reviews": bob.task()["reviews"]})
    assert root.post("/api/review/decide", {"id": ID.format(3), "item": item, "answer": {"text": TEXT}}).ok
    assert [one.labels for one in decided_items(site.store, "help")] == [("written", "revised")]
    site.store.set_annotator(ann.who, "withdrawn")
    assert [one.labels for one in decided_items(site.store, "help")] == [()]


def test_a_reviewer_decides_on_a_rejected_text(site: Site) -> None:
    ann, bob, rae = site.log_in("Zoë"), site.log_in("Bob"), site.log_in("Rae", "reviewer")
    item = ann.task()["item"]
    send(ann, item, 1, {"text": "Dunno."})
    send(bob, item, 2, {"rejected": True, "reviews": bob.task()["reviews"]})
    assert f"/review/{item}" in rae.http.get(f"{site.address}/review").text
    decision = {"id": ID.format(3), "item": item, "answer": {"text": TEXT}}
    assert rae.post("/api/review/decide", decision).status_code == 200
    page = rae.http.get(f"{site.address}/review/{item}").text
    assert "the piston turns the <strong>wheel</strong>" in page
    assert "Zoë" not in visible(page), "reviewers see no names"


def test_a_crowd_worker_writes_reviews_and_is_paid(site: Site, store: Store) -> None:
    link = new_link(site)
    user, page = open_link(site, link, f"PROLIFIC_PID={PID}&STUDY_ID=s&SESSION_ID=t")
    assert page.status_code == 200
    user.who = str(re.findall('data-who="([0-9a-f]+)"', page.text)[0])
    assert "fewer than" in page.text
    send(user, user.task()["item"], 1, {"text": TEXT})
    queue = writing_queue(store)
    while (task := queue.take("bob")) is not None and task.reviews is not None:
        queue.skip("bob", task.item, "not mine")
    submit(queue, leased(queue, "bob"), "bob", {"text": TEXT})
    other = user.task()
    assert other["written"] == TEXT
    send(user, other["item"], 2, {"text": TEXT, "reviews": other["reviews"]})
    assert user.post("/api/task").json()["finish"]["code"] == "C1ABC"
    (payment,) = payments(store, "help")
    assert (payment.judgements, payment.active_seconds, payment.gold_items, payment.code) == (
        2,
        120.0,
        0,
        "C1ABC",
    )


def writing_queue(store: Store) -> Any:
    from gnomon.feedback.tasks.queue import Queue

    return Queue(store, "help")


def test_settings_of_answers_can_be_changed(site: Site, tmp_path: Path) -> None:
    root = site.log_in("Root", "admin")
    sent = {"title": "Write!", "votes_per_item": 2, "max_votes": 3}
    changed = {"approval": False, "min_answer_chars": 10, "max_answer_chars": 100}
    assert root.post("/api/admin/setup", sent | {"settings": changed}).status_code == 200
    assert site.store.project("help").settings == changed
    wrong = root.post("/api/admin/setup", sent | {"settings": {"min_answer_chars": 200}})
    assert (wrong.status_code, "swap min_answer_chars" in wrong.json()["detail"]) == (409, True)
