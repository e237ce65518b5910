"""The link of a crowd platform over real HTTP: who gets in, as whom, and how they finish."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from serving import Site, User, fill, judgements, serving, visible
from sqlalchemy import func, select

from gnomon.feedback.crowd_platforms import CrowdLink, crowd_link
from gnomon.feedback.quality.payments import Payment, payments
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.crowd_access import CrowdAccess
from gnomon.feedback.store.schema import AnnotatorRow, CrowdVisitRow, ItemRow
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.gold_items import mark_gold
from gnomon.feedback.tasks.suitability import set_domains
from gnomon.web import context

PID, OTHER = "5f0c1a2b3c4d5e6f7a8b9c0d", "6a0c1a2b3c4d5e6f7a8b9c0e"


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    store = Store(database)
    fill(store, 4)
    with serving(store) as site:
        yield site
    store.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    """On SQLite only, for tests that do not depend on the database."""
    store = Store(tmp_path / "feedback.db")
    fill(store, 4)
    with serving(store) as site:
        yield site
    store.close()


def new_link(site: Site, link: CrowdLink | None = None) -> str:
    link = link or crowd_link("prolific", code="C1ABC", max_judgements=2)
    _, token = CrowdAccess(Access(site.store)).add_link(site.project, link)
    return f"{site.address}/crowd/{token}"


def open_link(site: Site, link: str, query: str) -> tuple[User, requests.Response]:
    """Press the button of a link's page."""
    user = User(site.address)
    page = user.http.get(f"{link}?{query}", headers={"Accept": "text/html"})
    if page.status_code != 200:
        return user, page
    (action,) = re.findall('action="([^"]+)"', page.text)
    page = user.http.post(site.address + action.replace("&amp;", "&"), headers={"Origin": site.address})
    known = re.findall('data-who="([0-9a-f]+)"', page.text)
    user.who = known[0] if known else "nobody"
    return user, page


def finish_of(user: User) -> Any:
    reply = user.post("/api/task")
    assert reply.status_code == 200, reply.text
    assert reply.json()["task"] is None
    return reply.json()["finish"]


def paid(site: Site) -> list[Payment]:
    return payments(site.store, site.project)


def test_a_worker_judges_to_the_limit_and_gets_the_code(site: Site) -> None:
    worker, _ = open_link(site, new_link(site), f"PROLIFIC_PID={PID}&STUDY_ID=s1&SESSION_ID=v1")
    for number in range(2):
        worker.judge(worker.task()["item"], number)
    address = "https://app.prolific.com/submissions/complete?cc=C1ABC"
    assert finish_of(worker) == {"code": "C1ABC", "address": address}
    (payment,) = paid(site)
    assert (payment.platform, payment.worker, payment.judgements) == ("prolific", PID, 2)
    assert (payment.active_seconds, payment.code, payment.state) == (4.0, "C1ABC", "active")
    assert payment.details == {"STUDY_ID": "s1", "SESSION_ID": "v1"}
    assert payment.finished is not None
    assert payment.finished >= payment.started


def test_opening_the_link_twice_is_the_same_annotator(site: Site) -> None:
    link = new_link(site)
    first, _ = open_link(site, link, f"PROLIFIC_PID={PID}&SESSION_ID=v1")
    item = first.task()["item"]
    first.judge(item, 1)
    again, _ = open_link(site, link, f"PROLIFIC_PID={PID}&SESSION_ID=v2")
    other, _ = open_link(site, link, f"PROLIFIC_PID={OTHER}")
    assert first.who == again.who != other.who
    assert again.task()["item"] != item
    assert [(one.worker, one.judgements) for one in paid(site)] == [(PID, 1), (OTHER, 0)]
    assert paid(site)[0].details == {"SESSION_ID": "v2"}


def test_another_link_of_the_platform_is_the_same_annotator_with_a_count_of_its_own(site: Site) -> None:
    first, _ = open_link(site, new_link(site), f"PROLIFIC_PID={PID}")
    seen = [first.task()["item"]]
    first.judge(seen[0], 1)
    second, _ = open_link(
        site, new_link(site, crowd_link("prolific", code="C2", max_judgements=1)), f"PROLIFIC_PID={PID}"
    )
    assert second.who == first.who
    task = second.task()
    assert task["item"] not in seen
    second.judge(task["item"], 2)
    assert finish_of(second)["code"] == "C2"
    assert [(one.link, one.judgements, one.code) for one in paid(site)] == [(1, 1, None), (2, 1, "C2")]
    assert first.task() is not None


def test_a_corrected_judgement_counts_once_with_the_time_of_both(here: Site) -> None:
    worker, _ = open_link(here, new_link(here), f"PROLIFIC_PID={PID}")
    worker.judge(worker.task()["item"], 1)
    last = worker.post("/api/last").json()
    worker.judge(last["task"]["item"], 2, "second", corrects=last["corrects"])
    (payment,) = paid(here)
    assert (payment.judgements, payment.active_seconds) == (1, 4.0)
    assert worker.task() is not None


def test_a_finished_worker_may_still_correct_and_repeat_but_judges_no_more(here: Site) -> None:
    """A judgement on an item leased earlier is refused too, so a limit of 2 pays for 2."""
    worker, _ = open_link(here, new_link(here), f"PROLIFIC_PID={PID}")
    items = [worker.task()["item"]]
    with here.store.writing() as session:  # the lease has expired: the worker holds another one too
        session.get_one(ItemRow, items[0]).state = "closed"
    for number in range(2):
        items.append(worker.task()["item"])
        worker.judge(items[-1], number)
    with here.store.writing() as session:
        session.get_one(ItemRow, items[0]).state = "open"
    assert finish_of(worker)["code"] == "C1ABC"
    assert worker.judge(items[1], 0).json()["again"] is True
    refused = worker.judge(items[0], 7)
    assert (refused.status_code, "as many items as this link" in refused.json()["detail"]) == (409, True)
    last = worker.post("/api/last").json()
    assert worker.judge(last["task"]["item"], 8, "tie", corrects=last["corrects"]).status_code == 200
    assert paid(here)[0].judgements == 2


def test_without_items_a_worker_finishes_with_a_code_of_their_own(site: Site) -> None:
    link = new_link(site, crowd_link("mturk", min_judgements=4))
    codes = []
    for number, name in enumerate(("A1B2C3", "A1B2C4")):
        worker, _ = open_link(site, link, f"workerId={name}&assignmentId=3X")
        while (task := worker.task()) is not None:
            worker.judge(task["item"], 100 * number + task["item"], "tie")
        codes.append(finish_of(worker)["code"])
        assert finish_of(worker) == {"code": codes[-1], "address": None}
    assert re.fullmatch("[0-9A-F]{10}", codes[0])
    assert len(set(codes)) == 2
    late, _ = open_link(site, link, "workerId=A1B2C5")
    assert finish_of(late) is None
    assert "fewer than 4" in late.http.get(site.address).text


def test_skipping_everything_earns_no_code(site: Site) -> None:
    """Two judged and two skipped are enough; one judged and three skipped are not. The list has both numbers."""
    link = new_link(site, crowd_link("mturk"))
    finishes = []
    for offset, (name, judged) in enumerate((("A1B2C3", 2), ("A1B2C4", 1))):
        worker, _ = open_link(site, link, f"workerId={name}")
        for number in range(4):
            item = worker.task()["item"]
            if number < judged:
                worker.judge(item, 10 * offset + number, "tie")
            else:
                worker.post("/api/skip", {"item": item, "reason": ""})
        finishes.append(finish_of(worker))
    assert finishes[0] is not None
    assert finishes[1] is None
    assert [(one.judgements, one.skipped, one.code is None) for one in paid(site)] == [
        (2, 2, False),
        (1, 3, True),
    ]


def test_a_paused_worker_gets_no_code(here: Site) -> None:
    worker, _ = open_link(here, new_link(here), f"PROLIFIC_PID={PID}")
    worker.judge(worker.task()["item"], 1)
    here.store.set_annotator(worker.who, "paused")
    reply = worker.post("/api/task").json()
    assert (reply["task"], reply["paused"], reply["finish"]) == (None, True, None)
    assert [(one.state, one.code) for one in paid(here)] == [("paused", None)]


def test_a_withdrawn_worker_does_not_return(here: Site) -> None:
    link = new_link(here)
    worker, _ = open_link(here, link, f"PROLIFIC_PID={PID}")
    here.store.set_annotator(worker.who, "withdrawn")
    Access(here.store).revoke(worker.who)
    _, page = open_link(here, link, f"PROLIFIC_PID={PID}")
    assert (page.status_code, "not valid" in page.text) == (404, True)
    here.store.set_annotator(worker.who, "active")  # their link stays revoked
    _, page = open_link(here, link, f"PROLIFIC_PID={PID}")
    assert page.status_code == 404


def test_a_worker_never_becomes_an_annotator_of_another_kind(here: Site) -> None:
    """Whatever the id in the address: an annotator's id, a program's, or one of another platform."""
    ann = here.log_in("Ann", "admin")
    here.store.add_annotator("judge", kind="judge", id="model-1")
    link = new_link(here, crowd_link("panel", worker_parameter="pid"))
    prolific, _ = open_link(here, new_link(here), f"PROLIFIC_PID={PID}")
    others = [open_link(here, link, f"pid={name}")[0] for name in (ann.who, "model-1", PID, prolific.who)]
    known = {ann.who, "model-1", prolific.who}
    assert not known & {worker.who for worker in others}
    assert len({worker.who for worker in others}) == 4
    for worker in others:
        assert worker.http.get(f"{here.address}/admin").status_code == 403
    with here.store.reading() as session:
        kinds = Counter(session.scalars(select(AnnotatorRow.kind)))
    assert kinds == {"person": 6, "judge": 1}


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", 400, "does not name a worker"),
        ("PROLIFIC_PID=", 400, "does not name a worker"),
        ("PROLIFIC_PID=%3Cscript%3Ealert(1)%3C/script%3E", 400, "does not name a worker"),
        (f"PROLIFIC_PID={PID}&PROLIFIC_PID={OTHER}", 400, "does not name a worker"),
        (f"PROLIFIC_PID={PID}&x=" + "y" * 3000, 400, "does not name a worker"),
        ("PROLIFIC_PID=%7B%7B%25PROLIFIC_PID%25%7D%7D", 400, "does not name a worker"),
    ],
)
def test_an_address_without_a_worker_is_explained(here: Site, query: str, status: int, message: str) -> None:
    _, page = open_link(here, new_link(here), query)
    assert (page.status_code, message in page.text) == (status, True)
    assert "alert(1)<" not in page.text
    with here.store.reading() as session:
        assert session.scalar(select(func.count()).select_from(AnnotatorRow)) == 0


def test_a_preview_of_the_task_adds_nobody(here: Site) -> None:
    link = new_link(here, crowd_link("mturk"))
    _, page = open_link(here, link, "assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=H1")
    assert (page.status_code, "Accept the task" in page.text) == (400, True)


def test_hostile_values_stay_text(here: Site) -> None:
    """Other parameters come back in the form's address, escaped; values that no platform sends are not stored."""
    link = new_link(here)
    query = f"PROLIFIC_PID={PID}&STUDY_ID=%22%3E%3Cscript%3E&lang=zh"
    page = requests.get(f"{link}?{query}", timeout=10).text
    assert "<script>" not in page
    assert "您来自付费任务平台" in page
    assert f"PROLIFIC_PID={PID}" in re.findall('<a href="([^"]+lang=en)"', page)[0]
    open_link(here, link, query)
    assert paid(here)[0].details == {}


def test_a_full_study_takes_no_new_worker_but_those_who_joined(site: Site) -> None:
    link = new_link(site, crowd_link("prolific", code="C1", max_workers=1))
    first, _ = open_link(site, link, f"PROLIFIC_PID={PID}")
    _, page = open_link(site, link, f"PROLIFIC_PID={OTHER}")
    assert (page.status_code, "Enough people" in page.text) == (403, True)
    again, _ = open_link(site, link, f"PROLIFIC_PID={PID}")
    assert again.who == first.who


def test_an_ended_link_lets_nobody_in_while_sessions_finish(here: Site) -> None:
    link = new_link(here)
    worker, _ = open_link(here, link, f"PROLIFIC_PID={PID}")
    CrowdAccess(Access(here.store)).end_link(here.project, 1)
    _, page = open_link(here, link, f"PROLIFIC_PID={PID}")
    assert page.status_code == 404
    for number in range(2):
        worker.judge(worker.task()["item"], number)
    assert finish_of(worker)["code"] == "C1ABC"


def test_a_link_of_another_project_opens_nothing(here: Site) -> None:
    fill(here.store, 1, project="books")
    _, token = CrowdAccess(Access(here.store)).add_link("books", crowd_link("prolific", code="C1"))
    _, page = open_link(here, f"{here.address}/crowd/{token}", f"PROLIFIC_PID={PID}")
    assert page.status_code == 404


def test_guesses_of_links_and_ids_are_limited(here: Site) -> None:
    link = new_link(here)
    for number in range(context.MAX_FAILED_LINKS):
        bad = f"{here.address}/crowd/guess{number}" if number % 2 else link
        assert open_link(here, bad, "PROLIFIC_PID=guess")[1].status_code in (400, 404)
    assert open_link(here, link, f"PROLIFIC_PID={PID}")[1].status_code == 429


def test_one_address_adds_few_workers_a_minute(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "MAX_NEW_WORKERS", 2)
    link = new_link(here)
    names = [f"{n:024x}" for n in range(3)]
    statuses = [open_link(here, link, f"PROLIFIC_PID={name}")[1].status_code for name in names]
    assert statuses == [200, 200, 429]
    assert open_link(here, link, f"PROLIFIC_PID={names[0]}")[1].status_code == 200
    direct = requests.post(f"{link}?PROLIFIC_PID={names[2]}", headers={"Origin": here.address}, timeout=10)
    assert direct.status_code == 429


def test_fetching_a_link_adds_nobody_and_another_site_cannot_press_its_button(here: Site) -> None:
    link = new_link(here)
    assert requests.get(f"{link}?PROLIFIC_PID={PID}", timeout=10).status_code == 200
    refused = requests.post(f"{link}?PROLIFIC_PID={PID}", headers={"Origin": "https://evil.example"}, timeout=10)
    assert refused.status_code == 403
    with here.store.reading() as session:
        assert session.scalar(select(func.count()).select_from(CrowdVisitRow)) == 0


def test_the_payment_list_has_the_quality_on_gold_items(tmp_path: Path) -> None:
    store = Store(tmp_path / "feedback.db")
    fill(store, 3, gold_rate=0.0)
    with serving(store) as site:
        worker, _ = open_link(site, new_link(site, crowd_link("mturk")), "workerId=A1B2C3")
        for number in range(3):
            worker.judge(worker.task()["item"], number, "first")
        for row in judgements(site)[:2]:
            is_first = row.shown[0].startswith("a")
            right = ("second", "first")[is_first == (row.item == 1)]  # of item 1 only, they chose the right one
            mark_gold(store, "films", row.item, {"choice": right})
        (payment,) = paid(site)
        assert (payment.judgements, payment.gold_items, payment.gold_correct) == (3, 2, 1)
        assert payment.reliability is not None
    store.close()


def test_workers_have_the_profile_of_the_links_that_they_joined(here: Site) -> None:
    admin = here.log_in("Ann", "admin")
    for languages, skills in ((["zh-CN"], []), (["en"], ["sql"])):
        link = crowd_link("mturk", languages=languages, skills=skills)
        open_link(here, new_link(here, link), "workerId=A1B2C3")
    page = visible(admin.http.get(f"{here.address}/admin/annotators").text)
    assert "active · languages en, zh; skills sql" in page


def test_the_overview_lists_what_items_require(here: Site) -> None:
    admin = here.log_in("Ann", "admin")
    assert "Requirements of items" not in visible(admin.http.get(f"{here.address}/admin").text)
    set_domains(here.store, here.project, {"p0": "law", "p1": "law"})
    assert "– law – 2 nobody: goes to everybody" in visible(admin.http.get(f"{here.address}/admin").text)
