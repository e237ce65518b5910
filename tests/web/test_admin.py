"""The administrators' and reviewers' pages over real HTTP: permissions, contents, changes."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from rich.console import Console
from serving import ID, Site, User, fill, serving, visible
from sqlalchemy import select, update

from gnomon.api.feedback.projects import feedback_export
from gnomon.feedback.quality.summary import quality_report
from gnomon.feedback.store.schema import AnnotatorRow, ItemRow
from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.task_types import setup_of
from gnomon.feedback.tasks.gold_items import gold_items
from gnomon.web.agreement_tables import print_report

PAGES = ("/admin", "/admin/agreement", "/admin/annotators", "/admin/gold", "/admin/setup")
READ = (
    "/api/admin/progress",
    "/api/admin/figures.json",
)
CHANGE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/api/admin/invite", {"name": "Eve", "role": "admin"}),
    ("/api/admin/annotator", {"id": "x", "state": "paused"}),
    ("/api/admin/gold", {"item": 1, "answer": {"choice": "first"}}),
    ("/api/admin/export", {}),
    ("/api/admin/link", {"id": "x"}),
    ("/api/admin/setup", {"title": "x", "votes_per_item": 1, "max_votes": 1, "settings": {}}),
)
DECIDE = {"id": ID.format(9), "item": 1, "answer": {"choice": "first"}}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    store = Store(tmp_path / "feedback.db")
    fill(store)
    store.update_project(Project("films", "Which is better?", "pair", 2, 2, "Be kind."))
    with serving(store) as site:
        yield site
    store.close()


def get(who: User, path: str) -> Any:
    return who.http.get(who.address + path)


def exported(who: User) -> zipfile.ZipFile:
    answer = who.post("/api/admin/export")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    return zipfile.ZipFile(io.BytesIO(answer.content))


def dispute(here: Site) -> tuple[int, User, User]:
    """Number of an item on which two annotators disagree, and both annotators."""
    people = [here.log_in("Ann"), here.log_in("Bob")]
    item = 0
    for number, (who, word) in enumerate(zip(people, ("Good", "Bad"), strict=True)):
        task = who.task()
        item = task["item"]
        position = next(n for n, c in enumerate(task["completions"]) if word in c["html"])
        answer = who.judge(item, number, ("first", "second")[position], reason=f"<b>{word}</b> it is")
        assert answer.status_code == 200
    return item, people[0], people[1]


def test_annotators_reach_neither_administration_nor_review(here: Site) -> None:
    ann = here.log_in("Ann")
    for path in (*PAGES, *READ, "/review", "/review/1"):
        assert get(ann, path).status_code == 403, path
    for path, body in (*CHANGE, ("/api/review/decide", DECIDE)):
        assert ann.post(path, body).status_code == 403, path
    visitor = User(here.address)
    for path in (*PAGES, *READ, "/review", "/review/1"):
        assert get(visitor, path).status_code == 401, path
    for path, body in (*CHANGE, ("/api/review/decide", DECIDE)):
        assert visitor.post(path, body).status_code == 401, path
    with here.store.reading() as session:
        assert {row.state for row in session.scalars(select(ItemRow))} == {"open"}


def test_reviewers_reach_the_review_alone(here: Site) -> None:
    item, _, _ = dispute(here)
    rae = here.log_in("Rae", "reviewer")
    for path in (*PAGES, *READ):
        assert get(rae, path).status_code == 403, path
    for path, body in CHANGE:
        assert rae.post(path, body).status_code == 403, path
    assert get(rae, "/review").status_code == 200
    assert get(rae, f"/review/{item}").status_code == 200
    assert get(rae, f"/review/{item % 3 + 1}").status_code == 403, "an item that nobody disputes"
    assert get(rae, "/review/99").status_code == 409


def test_a_reviewer_sees_answers_and_reasons_but_no_names(here: Site) -> None:
    item, _, _ = dispute(here)
    page = get(here.log_in("Rae", "reviewer"), f"/review/{item}").text
    assert "&lt;b&gt;Good&lt;/b&gt; it is" in page
    text = visible(page)
    assert "A is better" in text
    assert "B is better" in text
    assert "Ann " not in text.replace("Annotator", "")
    assert "secret-model" not in page
    assert "Known answer" not in text
    root = visible(get(here.log_in("Root", "admin"), f"/review/{item}").text)
    assert "Bob" in root
    assert "Known answer" in root


def test_a_decision_settles_an_item(here: Site) -> None:
    item, _, _ = dispute(here)
    rae, root = here.log_in("Rae", "reviewer"), here.log_in("Root", "admin")
    sent = {"id": ID.format(7), "item": item, "answer": {"choice": "second"}, "reason": "so it is"}
    assert rae.post("/api/review/decide", sent).status_code == 200
    assert rae.post("/api/review/decide", sent).status_code == 200, "sent again, it is acknowledged again"
    late = root.post("/api/review/decide", sent | {"id": ID.format(8)})
    assert (late.status_code, "another reviewer decided" in late.json()["detail"]) == (409, True)
    assert "so it is" in visible(get(rae, f"/review/{item}").text)
    assert get(root, "/api/admin/progress").json()["disputed"] == 0
    with exported(root) as archive:
        (row,) = archive.read("preferences.jsonl").decode().splitlines()
        assert '"chosen": {"id": "b' in row
        assert json.loads(archive.read("manifest.json"))["decisions"] == {str(item): ID.format(7)}


@pytest.mark.parametrize("task", ["pair", "ranking", "rating", "likert"])
def test_the_archive_is_what_the_command_writes(tmp_path: Path, task: str) -> None:
    store = Store(tmp_path / "feedback.db")
    fill(
        store, 1, task=task, texts=("Good {}.", "Bad {}.", "Odd {}.")[: 2 + (task == "ranking")], votes_per_item=1
    )
    with serving(store) as site:
        root = site.log_in("Root", "admin")
        assert "no judgements yet" in root.post("/api/admin/export").json()["detail"]
        scores: dict[str, Any] = dict.fromkeys(setup_of({}).criteria_of(task), 2)
        answers: dict[str, dict[str, Any]] = {"pair": {"choice": "first"}, "ranking": {"order": [2, 0, 1]}}
        answer = answers.get(task, {"scores": [scores, dict.fromkeys(scores, 3)]})
        assert root.judge(root.task()["item"], 1, answer=answer).status_code == 200
        with exported(root) as archive:
            archive.extractall(tmp_path / "page")
        manifest = feedback_export(tmp_path / "feedback.db", "films", tmp_path / "command")
        assert json.loads((tmp_path / "page" / "manifest.json").read_text("utf-8")) == manifest
        for name in manifest["files"]:
            assert (tmp_path / "page" / name).read_bytes() == (tmp_path / "command" / name).read_bytes()
        assert '"items"' in (tmp_path / "page" / "preferences.jsonl").read_text("utf-8")
    store.close()


def test_a_decided_item_that_became_gold_is_shown_to_no_reviewer(here: Site) -> None:
    item, _, _ = dispute(here)
    rae, root = here.log_in("Rae", "reviewer"), here.log_in("Root", "admin")
    sent = {"id": ID.format(7), "item": item, "answer": {"choice": "second"}}
    assert rae.post("/api/review/decide", sent).status_code == 200
    assert root.post("/api/admin/gold", {"item": item, "answer": {"choice": "first"}}).status_code == 200
    assert get(rae, f"/review/{item}").status_code == 403
    assert get(root, f"/review/{item}").status_code == 200


def test_forms_offer_the_scores_of_the_project(tmp_path: Path) -> None:
    store = Store(tmp_path / "feedback.db")
    fill(store, 1, task="rating", texts=("Alone {}.",), criteria=["kind"], scale=[0, 4])
    with serving(store) as site:
        root = site.log_in("Root", "admin")
        assert 'data-criterion="kind" min="0" max="4"' in get(root, "/review/1").text
        known = {"item": 1, "answer": {"scores": [{"kind": 0}]}}
        assert root.post("/api/admin/gold", known).status_code == 200
        assert 'value="0"' in get(root, "/review/1").text
    store.close()


NUL = "no\0thing \ud800"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/admin/invite", {"name": NUL}),
        ("/api/admin/gold", {"item": 1, "answer": {"choice": "first", "rewrite": {"place": 0, "text": NUL}}}),
        ("/api/review/decide", DECIDE | {"answer": {"choice": "first", "rewrite": {"place": 0, "text": NUL}}}),
        ("/api/admin/setup", {"title": NUL, "votes_per_item": 2, "max_votes": 2, "settings": {"contact": NUL}}),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_any_text_of_an_administrator_can_be_stored(database: str, path: str, body: dict[str, Any]) -> None:
    store = Store(database)
    fill(store)
    with store.writing() as session:
        session.execute(update(ItemRow).where(ItemRow.key == 1).values(state="disputed"))
    with serving(store) as site:
        root = site.log_in("Root", "admin")
        assert root.post(path, body).status_code == 200
        page = get(root, "/admin/annotators" if "name" in body else "/review/1")
        assert page.status_code == 200
    store.close()


def test_an_item_becomes_gold_and_back(here: Site) -> None:
    root = here.log_in("Root", "admin")
    assert root.post("/api/admin/gold", {"item": 2, "answer": {"choice": "first"}}).status_code == 200
    assert [one.item for one in gold_items(here.store, "films")] == [2]
    assert "A is better" in visible(get(root, "/admin/gold").text)
    assert root.post("/api/admin/gold", {"item": 2, "answer": {"order": [0]}}).status_code == 409
    assert root.post("/api/admin/gold", {"item": 2, "answer": None}).status_code == 200
    assert gold_items(here.store, "films") == []


def test_administrators_pause_resume_and_withdraw(here: Site) -> None:
    root, ann = here.log_in("Root", "admin"), here.log_in("Ann")

    def change(state: str, who: str = ann.who) -> Any:
        return root.post("/api/admin/annotator", {"id": who, "state": state})

    assert ann.post("/api/task").json()["paused"] is False
    assert change("paused").status_code == 200
    answer = ann.post("/api/task").json()
    assert (answer["task"], answer["paused"]) == (None, True)
    assert change("active").status_code == 200
    assert ann.task() is not None
    assert change("withdrawn").status_code == 200
    assert ann.post("/api/task").status_code == 401
    assert change("withdrawn", root.who).status_code == 409
    here.store.add_annotator("elsewhere", id="elsewhere")
    assert change("paused", "elsewhere").status_code == 409, "nobody of this project"


def test_setup_changes_settings_and_shows_the_contact(here: Site) -> None:
    root = here.log_in("Root", "admin")
    sent = {"title": "Which?", "guidelines": "New.", "votes_per_item": 2, "max_votes": 3}
    changed = root.post(
        "/api/admin/setup", sent | {"settings": {"contact": "Zoë", "min_reliability": 0.4, "min_seconds": None}}
    )
    assert changed.status_code == 200
    assert "Please contact Zoë." in visible(get(here.log_in("Ann"), "/").text)
    project = here.store.project("films")
    assert (project.title, project.guidelines, project.max_votes) == ("Which?", "New.", 3)
    assert project.settings == {"contact": "Zoë", "min_reliability": 0.4}
    page = get(root, "/admin/setup").text
    assert 'name="settings.min_reliability" id="f-min_reliability" value="0.4"' in page
    for settings, setting in (({"gold_rate": 0.9}, "gold_rate"), ({"colour": 1}, "colour")):
        wrong = root.post("/api/admin/setup", sent | {"settings": settings})
        assert (wrong.status_code, setting in wrong.json()["detail"]) == (409, True)
    assert here.store.project("films").settings == {"contact": "Zoë", "min_reliability": 0.4}


def test_an_unreliable_annotator_is_paused_automatically(here: Site) -> None:
    """The quality monitor checks after the fifth judgement, once the response is sent."""
    settings = {"min_reliability": 1.0, "min_votes_before_pause": 1, "min_seconds": 60.0}
    here.store.update_project(Project("films", "T", "pair", 2, 2, "", settings))
    ann = here.log_in("Ann")
    number, corrects = 0, None
    for _ in range(3):
        item = ann.task()["item"]
        for choice in ("first", "second"):
            more: dict[str, Any] = {"corrects": corrects} if corrects else {}
            assert ann.judge(item, number, choice, **more).status_code == 200
            corrects = ID.format(number)
            number += 1
        corrects = None
    for _ in range(100):
        with here.store.reading() as session:
            row = session.get(AnnotatorRow, ann.who)
        if row is not None and row.state == "paused":
            break
        time.sleep(0.05)
    assert row is not None
    assert (row.state, row.below is not None) == ("paused", True)
    assert "reliability was" in visible(get(here.log_in("Root", "admin"), "/admin/annotators").text)


def test_a_resumed_annotator_gets_a_new_link(here: Site) -> None:
    root, ann = here.log_in("Root", "admin"), here.log_in("Ann")
    for state in ("withdrawn", "active"):
        if state == "active":
            assert "set them to active" in root.post("/api/admin/link", {"id": ann.who}).json()["detail"]
        assert root.post("/api/admin/annotator", {"id": ann.who, "state": state}).status_code == 200
    assert ann.post("/api/task").status_code == 401
    assert f'data-link="{ann.who}"' in get(root, "/admin/annotators").text
    first, second = (root.post("/api/admin/link", {"id": ann.who}).json()["link"] for _ in range(2))
    lost = ann.http.post(here.address + first, headers={"Origin": here.address})
    assert lost.status_code == 404, "the one before has ended"
    back = ann.http.post(here.address + second, headers={"Origin": here.address})
    assert f'data-who="{ann.who}"' in back.text
    assert root.post("/api/admin/link", {"id": "nobody"}).status_code == 409


def test_skips_are_counted_and_their_reasons_shown(here: Site) -> None:
    root, ann = here.log_in("Root", "admin"), here.log_in("Ann")
    item = ann.task()["item"]
    assert ann.post("/api/skip", {"item": item, "reason": "I do not read <b>Greek</b>"}).status_code == 200
    page = visible(get(root, f"/review/{item}").text)
    assert "Ann I do not read &lt;b&gt;Greek" in page
    assert "Skipped 1" in visible(get(root, "/admin").text)


def test_the_invite_step_is_done_once_an_annotator_is_invited(here: Site) -> None:
    """A second administrator is not an annotator."""
    root = here.log_in("Root", "admin")
    here.link("Eve", "admin")
    step = "Invite people"
    for role in ("admin", "annotator"):
        here.link("Pat", role)
        step_item = re.search(f'<li( class="done")?>{step}', get(root, "/admin").text)
        assert step_item is not None
        assert bool(step_item[1]) == (role == "annotator")


def test_long_guidelines_in_any_script_can_be_saved(here: Site) -> None:
    root = here.log_in("Root", "admin")
    sent = {"title": "T", "guidelines": "语" * 100_000, "votes_per_item": 2, "max_votes": 2, "settings": {}}
    assert root.post("/api/admin/setup", sent).status_code == 200
    assert root.post("/api/admin/gold", {"item": 1, "answer": {"x": "y" * 200_001}}).status_code == 413
    consensus_threshold = sent | {"settings": {"consensus_threshold": 1.0}}
    assert "consensus_threshold" in root.post("/api/admin/setup", consensus_threshold).json()["detail"]


@pytest.mark.parametrize(("language", "message"), [("en", "There is no such page"), ("zh-CN", "没有这个页面")])
def test_errors_are_pages_for_browsers(here: Site, language: str, message: str) -> None:
    headers = {"Accept": "text/html", "Accept-Language": language}
    root, ann = here.log_in("Root", "admin"), here.log_in("Ann")
    for who, path, status in (
        (root, "/review/99", 409),
        (root, "/nowhere", 404),
        (ann, "/admin", 403),
        (User(here.address), "/admin", 401),
    ):
        answer = who.http.get(here.address + path, headers=headers)
        assert (answer.status_code, "<!doctype html>" in answer.text) == (status, True), path
        assert (message in answer.text) == (status in (404, 409)), path
    bad = requests.post(f"{here.address}/join/x", headers=headers | {"Origin": here.address})
    assert (bad.status_code, "<main" in bad.text) == (404, True)


def test_reliability_is_empty_without_comparisons(here: Site) -> None:
    root, ann = here.log_in("Root", "admin"), here.log_in("Ann")
    assert ann.judge(ann.task()["item"], 1).status_code == 200
    page = visible(get(root, "/admin/annotators").text)
    assert "Reliability – Judgements 1" in page
    assert "Right by Dawid–Skene –" in page


def test_confidence_is_compared_with_the_others_judgements(tmp_path: Path) -> None:
    """Both agree on the items of which they are certain; two judgements prove nothing."""
    store = Store(tmp_path / "feedback.db")
    fill(store, 2, confidence=True)
    with serving(store) as site:
        admin = site.log_in("Rae", "admin")
        assert "Stated confidence" not in visible(admin.http.get(f"{site.address}/admin/agreement").text)
        for offset, name in ((0, "Ann"), (10, "Bob")):
            user = site.log_in(name)
            for number in range(2):
                user.judge(user.task()["item"], offset + number, "tie", confidence=1.0 if number else 0.25)
    with serving(store) as site:
        admin = site.log_in("Ria", "admin")
        page = visible(admin.http.get(f"{site.address}/admin/agreement").text)
        assert "Stated confidence Judgements Right 25% 2 100% [34, 100] 100% 2 100% [34, 100]" in page
        assert "not proven, so confidence weights no judgement" in page
    printed = io.StringIO()
    print_report(quality_report(store, "films"), Console(file=printed, width=100))
    assert (
        "more right from confidence 0 to 1: 0.00 [0.00, 0.00]; confidence weights no votes" in printed.getvalue()
    )
    store.close()
