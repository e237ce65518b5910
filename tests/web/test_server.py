"""The annotation server over real HTTP: access, responses, stored data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from exported import pair_preferences
from serving import ID, Site, User, fill, serving, visible
from sqlalchemy import select, update

from gnomon.core.storage.files import to_json
from gnomon.core.translations import LANGUAGES, texts_in
from gnomon.core.types import Preference
from gnomon.data.records import parse_record
from gnomon.feedback.store.schema import InviteRow, JudgementRow, SessionRow
from gnomon.feedback.store.store import Store
from gnomon.web.context import MAX_FAILED_LINKS
from gnomon.web.server import MAX_BYTES


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    store = Store(database)
    fill(store)
    with serving(store) as site:
        yield site
    store.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    """On SQLite only, for tests that do not depend on the database."""
    store = Store(tmp_path / "feedback.db")
    fill(store)
    with serving(store) as site:
        yield site
    store.close()


def test_from_a_link_to_a_preference(site: Site) -> None:
    ann, bob = site.log_in("Ann"), site.log_in("Bob")
    for number in range(3):
        for offset, who in ((0, ann), (100, bob)):
            task = who.task()
            good = next(n for n, c in enumerate(task["completions"]) if "Good" in c["html"])
            assert who.judge(task["item"], number + offset, ("first", "second")[good]).json()["again"] is False
    assert ann.task() is None
    rows = pair_preferences(site.store, "films").rows
    assert [(r.chosen.text, r.rejected.text, r.probability) for r in rows] == [
        (f"Good {i}.", f"Bad {i}.", 1.0) for i in range(3)
    ]
    assert [parse_record(Preference, to_json(row)) for row in rows] == rows


def test_model_names_are_never_sent(here: Site) -> None:
    ann = here.log_in("Ann")
    text = ann.post("/api/task").text + ann.http.get(here.address).text
    assert "secret-model" not in text
    assert '"a0"' not in text
    assert "Good 0" in text


def test_sending_twice_adds_nothing_and_another_answer_is_refused(site: Site) -> None:
    ann = site.log_in("Ann")
    item = ann.task()["item"]
    assert [ann.judge(item, 1).json()["again"] for _ in range(3)] == [False, True, True]
    refused = ann.judge(item, 1, "second")
    assert (refused.status_code, "belongs to another judgement" in refused.json()["detail"]) == (409, True)
    with site.store.reading() as session:
        assert len(session.scalars(select(JudgementRow)).all()) == 1


def test_undo_corrects_the_last_one(site: Site) -> None:
    ann = site.log_in("Ann")
    assert ann.post("/api/last").json() == {"task": None}
    item = ann.task()["item"]
    ann.judge(item, 1, "first")
    last = ann.post("/api/last").json()
    assert (last["task"]["item"], last["answer"], last["corrects"]) == (item, {"choice": "first"}, ID.format(1))
    assert last["reason"] == ""
    assert ann.judge(item, 2, "tie", corrects=last["corrects"]).status_code == 200
    (row,) = pair_preferences(site.store, "films").rows
    assert row.probability == 0.5


def test_a_skipped_item_is_not_shown_again(here: Site) -> None:
    ann = here.log_in("Ann")
    skipped = []
    while (task := ann.task()) is not None:
        skipped.append(task["item"])
        assert ann.post("/api/skip", {"item": task["item"], "reason": "不懂"}).status_code == 200
    assert sorted(skipped) == sorted(set(skipped))


def test_a_draft_comes_back(here: Site) -> None:
    ann = here.log_in("Ann")
    item = ann.task()["item"]
    assert ann.post("/api/heartbeat", {"item": item, "reason": "half a thou"}).json()["until"] > 0
    assert ann.task()["draft"] == {"reason": "half a thou"}


def test_a_whole_draft_comes_back(site: Site) -> None:
    """A whole draft of the page; characters that no database can store are dropped."""
    ann = site.log_in("Ann")
    item = ann.task()["item"]
    draft = {"answer": {"choice": "tie", "rewrite": {"place": 0, "text": "a\0b"}}, "confidence": 0.25}
    assert ann.post("/api/heartbeat", {"item": item, **draft}).status_code == 200
    assert ann.task()["draft"] == {
        "answer": {"choice": "tie", "rewrite": {"place": 0, "text": "ab"}},
        "confidence": 0.25,
    }
    odd = f'{{"item": {item}, "answer": {{"scores": [NaN, Infinity, "\\ud800"]}}}}'
    headers = {"Origin": site.address, "Content-Type": "application/json"}
    assert ann.http.post(f"{site.address}/api/heartbeat", data=odd, headers=headers).status_code == 200
    assert ann.task()["draft"] == {"answer": {"scores": [None, None, "?"]}}


def test_a_correction_starts_from_the_whole_judgement(here: Site) -> None:
    ann = here.log_in("Ann")
    ann.judge(ann.task()["item"], 1, "tie", confidence=0.5, reason="even")
    last = ann.post("/api/last").json()
    assert (last["answer"], last["confidence"], last["reason"]) == ({"choice": "tie"}, 0.5, "even")


def test_texts_are_sent_only_to_annotators_of_the_item(tmp_path: Path) -> None:
    """In the order shown, only if the project allows rewrites, and to nobody else."""
    store = Store(tmp_path / "feedback.db")
    fill(store, 2, texts=("*One* {}.", "Two {}.", "Three {}."), task="ranking", rewrite=True)
    with serving(store) as site:
        ann, bob = site.log_in("Ann"), site.log_in("Bob")
        task = ann.task()
        texts = ann.post("/api/text", {"item": task["item"]}).json()["texts"]
        assert [visible(c["html"]) for c in task["completions"]] == [t.replace("*One*", "One") for t in texts]
        refused = bob.post("/api/text", {"item": task["item"]})
        assert (refused.status_code, "was never leased" in refused.json()["detail"]) == (409, True)
        assert User(site.address).post("/api/text", {"item": task["item"]}).status_code == 401
    store.close()


def test_texts_are_refused_without_the_rewrite_setting(here: Site) -> None:
    ann = here.log_in("Ann")
    assert ann.post("/api/text", {"item": ann.task()["item"]}).status_code == 403


def test_a_rewritten_answer_may_contain_any_text(site: Site) -> None:
    ann = site.log_in("Ann")
    rewrite = {"place": 1, "text": "a\0b 好"}
    assert ann.judge(ann.task()["item"], 1, answer={"choice": "second", "rewrite": rewrite}).status_code == 200
    with site.store.reading() as session:
        (row,) = session.scalars(select(JudgementRow)).all()
    assert row.answer["rewrite"] == {"place": 1, "text": "ab 好"}


# --- Who may come in ------------------------------------------------------------------------------------------


def test_requests_without_a_session_are_refused(here: Site) -> None:
    visitor = User(here.address)
    for path in ("/api/task", "/api/last", "/api/submit", "/api/skip", "/api/heartbeat", "/api/admin/invite"):
        assert visitor.post(path).status_code in (401, 422)
    assert visitor.post("/api/task").status_code == 401
    assert visitor.http.get(f"{here.address}/admin").status_code == 401
    assert visitor.post("/api/admin/export").status_code == 401
    page = visitor.http.get(here.address)
    assert "Open your personal link" in visible(page.text)
    assert "Good" not in page.text
    for path in ("/docs", "/openapi.json", "/redoc", "/static/../server.py"):
        assert visitor.http.get(here.address + path).status_code == 404


def test_annotators_do_not_administer(here: Site) -> None:
    ann = here.log_in("Ann")
    assert ann.http.get(f"{here.address}/admin").status_code == 403
    assert ann.post("/api/admin/invite", {"name": "Eve", "role": "admin"}).status_code == 403
    assert ann.post("/api/admin/export").status_code == 403


def test_administrators_invite(here: Site) -> None:
    root = here.log_in("Root", "admin")
    link = root.post("/api/admin/invite", {"name": "<b>Eve</b>"}).json()["link"]
    eve = User(here.address)
    assert eve.http.post(here.address + link, headers={"Origin": here.address}).status_code == 200
    assert eve.task() is not None
    page = root.http.get(f"{here.address}/admin").text
    assert "&lt;b&gt;Eve&lt;/b&gt;" in page
    assert "<b>Eve</b>" not in page


def test_fetching_a_link_starts_no_session(here: Site) -> None:
    """Mail scanners open links; only the button starts a session."""
    link = here.link("Ann")
    response = requests.get(link)
    assert response.status_code == 200
    assert "Set-Cookie" not in response.headers
    with here.store.reading() as session:
        assert not session.scalars(select(SessionRow)).all()


def test_cookies_are_http_only_and_same_site(here: Site) -> None:
    answer = requests.post(here.link("Ann"), headers={"Origin": here.address}, allow_redirects=False)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def test_the_store_holds_neither_links_nor_cookies(here: Site) -> None:
    link = here.link("Ann")
    answer = requests.post(link, headers={"Origin": here.address}, allow_redirects=False)
    with here.store.reading() as session:
        tokens = [r.token for r in session.scalars(select(InviteRow))] + [
            r.token for r in session.scalars(select(SessionRow))
        ]
    assert len(tokens) == 2
    assert link.rpartition("/")[2] not in tokens
    assert next(iter(answer.cookies.values())) not in tokens


def test_a_revoked_link_ends_its_sessions(here: Site) -> None:
    ann = here.log_in("Ann")
    assert ann.post("/api/task").status_code == 200
    with here.store.writing() as session:
        for row in session.scalars(select(InviteRow)):
            row.revoked = True
    assert ann.post("/api/task").status_code == 401


def test_a_project_of_any_name_lets_people_in(tmp_path: Path) -> None:
    store = Store(tmp_path / "feedback.db")
    fill(store, project="my tone; 语气=é")
    with serving(store, "my tone; 语气=é") as site:
        ann = site.log_in("Ann")
        assert ann.task() is not None
    store.close()


@pytest.mark.parametrize("way", ["get", "post"])
def test_repeated_invalid_links_are_limited(here: Site, way: str) -> None:
    codes = [
        requests.request(way, f"{here.address}/join/guess{n}", headers={"Origin": here.address}).status_code
        for n in range(MAX_FAILED_LINKS + 2)
    ]
    assert codes == [404] * MAX_FAILED_LINKS + [429] * 2


@pytest.mark.parametrize(("language", "message"), [("en", "This link is not valid."), ("zh-CN", "此链接无效")])
def test_an_invalid_link_shows_an_error_page(here: Site, language: str, message: str) -> None:
    """Before anybody presses the button; also for a link that was revoked."""
    link = here.link("Ann")
    headers = {"Accept": "text/html", "Accept-Language": language}
    assert "<button" in requests.get(link, headers=headers).text
    with here.store.writing() as session:
        session.execute(update(InviteRow).values(revoked=True))
    for address in (link, f"{here.address}/join/none"):
        page = requests.get(address, headers=headers)
        assert (page.status_code, message in visible(page.text), "<button" in page.text) == (404, True, False)


# --- What is sent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_other_pages_cannot_make_a_browser_judge(here: Site, origin: str | None) -> None:
    ann = here.log_in("Ann")
    item = ann.task()["item"]
    body = {"id": ID.format(1), "who": ann.who, "item": item, "answer": {"choice": "tie"}}
    body["seconds"] = {"active": 1, "idle": 0}
    headers = {"Origin": origin} if origin else {}
    assert ann.http.post(f"{here.address}/api/submit", json=body, headers=headers).status_code == 403
    plain = ann.http.post(
        f"{here.address}/api/submit",
        data=str(body),
        headers={"Origin": here.address, "Content-Type": "text/plain"},
    )
    assert plain.status_code == 415


def test_the_size_of_requests_is_limited(here: Site) -> None:
    ann = here.log_in("Ann")
    assert ann.post("/api/skip", {"item": 1, "reason": "x" * MAX_BYTES}).status_code == 413
    chunks = ann.http.post(
        f"{here.address}/api/skip",
        data=iter([b"{" * 10]),
        headers={"Origin": here.address, "Content-Type": "application/json"},
    )
    assert chunks.status_code == 411


@pytest.mark.parametrize(
    "change",
    [
        {"id": "1"},
        {"id": ID.format(1).upper().replace("0", "G")},
        {"seconds": {"active": "long"}},
        {"confidence": 2},
        {"reason": "x" * 20_001},
        {"annotator": "someone-else"},
    ],
    ids=str,
)
def test_malformed_judgements_are_refused(here: Site, change: dict[str, Any]) -> None:
    ann = here.log_in("Ann")
    assert ann.judge(ann.task()["item"], 1, **change).status_code == 422
    with here.store.reading() as session:
        assert not session.scalars(select(JudgementRow)).all()


@pytest.mark.parametrize("answer", [{"choice": "third"}, {}, {"order": [0, 1]}], ids=str)
def test_an_answer_of_another_task_is_refused(here: Site, answer: dict[str, Any]) -> None:
    ann = here.log_in("Ann")
    refused = ann.judge(ann.task()["item"], 1, answer=answer)
    assert refused.status_code == 409
    assert "does not fit the task 'pair'" in refused.json()["detail"]
    with here.store.reading() as session:
        assert not session.scalars(select(JudgementRow)).all()


def test_a_number_beyond_all_items_is_refused(here: Site) -> None:
    assert here.log_in("Ann").post("/api/skip", {"item": 2**70}).status_code == 422


@pytest.mark.parametrize("seconds", [{"active": -0.001, "idle": 1e9}, {"active": 1e300, "idle": 0}], ids=str)
def test_implausible_times_are_clipped(here: Site, seconds: dict[str, float]) -> None:
    ann = here.log_in("Ann")
    assert ann.judge(ann.task()["item"], 1, seconds=seconds).status_code == 200
    with here.store.reading() as session:
        (row,) = session.scalars(select(JudgementRow)).all()
    assert all(0 <= value <= 86_400 for value in row.seconds.values())


def test_any_text_can_be_stored(site: Site) -> None:
    """NUL and lone surrogates, which PostgreSQL and UTF-8 cannot store."""
    ann = site.log_in("Ann")
    judgement = {"id": ID.format(1), "who": ann.who, "item": ann.task()["item"], "answer": {"choice": "tie"}}
    odd = '"seconds": {"active": NaN, "idle": 1}, "reason": "a\\u0000b\\ud800c"'
    body = json.dumps(judgement)[:-1] + f", {odd}}}"
    headers = {"Origin": site.address, "Content-Type": "application/json"}
    assert ann.http.post(f"{site.address}/api/submit", data=body, headers=headers).status_code == 200
    with site.store.reading() as session:
        (row,) = session.scalars(select(JudgementRow)).all()
    assert row.reason == "ab?c"


def test_a_judgement_of_another_user_is_refused(here: Site) -> None:
    """Two people use one browser: one must not send the other's unsent judgement."""
    ann, bob = here.log_in("Ann"), here.log_in("Bob")
    item = bob.task()["item"]
    assert bob.judge(item, 1, who=ann.who).status_code == 403
    assert bob.judge(item, 1).status_code == 200


def test_a_page_of_another_user_is_refused(here: Site) -> None:
    """Ann's page in a browser where Bob logged in later leases and skips nothing."""
    bob, item = here.log_in("bob"), {"item": 1}
    for path, more in (("task", {}), ("last", {}), ("skip", item), ("heartbeat", item), ("text", item)):
        refused = bob.post(f"/api/{path}", {"who": "ann", **more})
        assert (refused.status_code, "another user" in refused.json()["detail"]) == (403, True), path
    assert bob.post("/api/task", {"who": bob.who}).status_code == 200


def test_items_have_numbers_that_a_database_can_hold(here: Site) -> None:
    root = here.log_in("root", "admin")
    assert root.http.get(f"{here.address}/review/100000000000000000000").status_code == 422


def test_valid_links_are_not_counted_as_guesses(here: Site) -> None:
    assert all(here.log_in(f"pupil {n}") for n in range(MAX_FAILED_LINKS + 3))


def test_security_headers_are_set(here: Site) -> None:
    for path in ("/", "/join/x", "/static/judge.js", "/nowhere"):
        headers = requests.get(here.address + path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


def test_the_demo_texts_are_translated(tmp_path: Path) -> None:
    """They name the buttons as the pages do; texts that an administrator changed stay as written."""
    words = {name: texts_in(name)["annotation_pages"] for name in LANGUAGES}
    for t in words.values():
        assert all(
            any(p.startswith(t[b]) for p in t["demo"]["guidelines"].split("\n\n")) for b in ("tie", "bad", "skip")
        )
    store = Store(tmp_path / "demo.db")
    fill(store, 1)
    project = replace(store.project("films"), **words["en"]["demo"])
    store.update_project(project)
    chinese = {"Accept-Language": "zh-CN"}
    with serving(store) as site:
        ann = site.log_in("Root", "admin")
        page = visible(ann.http.get(site.address, headers=chinese).text)
        assert words["zh"]["demo"]["title"] in page
        assert "文笔好坏不重要" in page
        assert words["en"]["demo"]["title"] in visible(ann.http.get(site.address).text)
        form = ann.http.get(f"{site.address}/admin/setup", headers=chinese).text
        assert f'value="{words["en"]["demo"]["title"]}"' in form, "or saving would change the stored title"
        store.update_project(replace(project, title="Mine"))
        page = visible(ann.http.get(site.address, headers=chinese).text)
        assert "Mine" in page
        assert "文笔好坏不重要" in page
    store.close()


def test_a_chinese_browser_gets_chinese_texts(here: Site) -> None:
    chinese = requests.get(here.address, headers={"Accept-Language": "zh-CN,zh;q=0.9"}).text
    assert 'lang="zh-Hans"' in chinese
    assert "专属链接" in chinese
