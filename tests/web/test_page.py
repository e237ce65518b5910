"""The page where people judge, in a real browser against a real server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import Open, press
from exported import pair_preferences
from playwright.sync_api import Browser, expect
from serving import Site, fill, judgements, serving
from test_texts_as_html import HOSTILE

from gnomon.feedback.crowd_platforms import crowd_link
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.crowd_access import CrowdAccess
from gnomon.feedback.store.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = Store(tmp_path / "feedback.db")
    fill(store, 4)
    with serving(store) as site:
        yield site
    store.close()


def test_keys_judge_and_nothing_else_is_needed(open_page: Open, site: Site) -> None:
    page = open_page()
    shown = page.locator("#first .text").inner_text()
    for judged, key in enumerate(["1", "ArrowRight", "0", "b"], start=1):
        press(page, key, judged)
    expect(page.locator("#nothing")).to_be_visible()
    rows = judgements(site)
    assert [row.answer["choice"] for row in rows] == ["first", "second", "tie", "bad"]
    assert shown.startswith("Good" if rows[0].shown[0].startswith("a") else "Bad")
    assert all(row.seconds["active"] > 0 for row in rows)


def test_letters_in_the_reason_are_letters(open_page: Open, site: Site) -> None:
    page = open_page()
    page.get_by_label("Why?").fill("")
    page.get_by_label("Why?").press_sequentially("bug 1 0")
    page.keyboard.press("Escape")
    press(page, "1", 1)
    (row,) = judgements(site)
    assert (row.reason, row.answer["choice"]) == ("bug 1 0", "first")


def test_undo_is_a_correction(open_page: Open, site: Site) -> None:
    page = open_page()
    press(page, "1", 1)
    page.keyboard.press("u")
    expect(page.locator(".choice.chosen")).to_have_attribute("data-choice", "first")
    expect(page.locator("#correcting")).to_contain_text("again")
    expect(page.locator("#correcting")).to_be_visible()
    expect(page.locator("#status")).to_have_text("1 judged")
    page.keyboard.press("2")
    expect(page.locator("#correcting")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("1 judged")
    rows = judgements(site)
    assert [row.answer["choice"] for row in rows] == ["first", "second"]
    assert rows[1].supersedes == rows[0].id


@pytest.mark.parametrize("way", ["u", "button"])
def test_an_undone_judgement_can_stay_unchanged(open_page: Open, site: Site, way: str) -> None:
    """The earlier choice looks chosen, not focused; buttons without effect are hidden."""
    page = open_page()
    press(page, "1", 1)
    now = page.locator("#prompt .message").inner_text()
    page.get_by_label("Why?").fill("half a thou")
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    first, second = (page.locator(f"[data-choice={name}]") for name in ("first", "second"))
    expect(first).to_have_attribute("aria-pressed", "true")
    colors = [one.evaluate("element => getComputedStyle(element).backgroundColor") for one in (first, second)]
    assert colors[0] != colors[1]
    expect(first).to_have_css("outline-style", "none")
    for name in ("Undo", "Skip"):
        expect(page.get_by_role("button", name=name)).to_be_hidden()
    keep = page.get_by_role("button", name="Keep it as it was")
    expect(keep).to_be_visible()
    page.get_by_label("Why?").fill("not to be kept")
    if way == "u":
        page.keyboard.press("Escape")
        page.keyboard.press("u")
    else:
        keep.click()
    expect(page.locator("#prompt .message")).to_have_text(now)
    expect(page.get_by_label("Why?")).to_have_value("half a thou")
    expect(page.locator("#correcting")).to_be_hidden()
    expect(keep).to_be_hidden()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    (row,) = judgements(site)
    assert (row.answer["choice"], row.reason) == ("first", "")
    press(page, "2", 2)


def test_skip_sends_the_reason_and_shows_the_next_item(open_page: Open, site: Site) -> None:
    page = open_page()
    before = page.locator("#prompt .message").inner_text()
    page.get_by_label("Why?").fill("a language that I do not read")
    page.get_by_role("button", name="Skip").click()
    expect(page.locator("#prompt .message")).not_to_have_text(before)
    assert judgements(site) == []


def test_a_key_right_after_a_skip_does_not_judge_what_is_skipped(open_page: Open, site: Site) -> None:
    page = open_page()
    before = page.locator("#prompt .message").inner_text()

    def late(route: Any) -> None:
        page.wait_for_timeout(700)
        route.continue_()

    page.route("**/api/skip", late, times=1)
    page.keyboard.press("s")
    page.wait_for_timeout(200)
    page.keyboard.press("1")
    expect(page.locator("#prompt .message")).not_to_have_text(before)
    assert judgements(site) == []
    press(page, "1", 1)
    assert len(judgements(site)) == 1


def test_a_skip_that_fails_leaves_the_item_to_be_judged(open_page: Open, site: Site) -> None:
    page = open_page(quiet=False)
    page.route("**/api/skip", lambda route: route.abort(), times=1)
    page.keyboard.press("s")
    expect(page.locator("#status")).to_contain_text("No connection")
    press(page, "1", 1)


def test_parallel_annotators_never_exceed_the_votes_per_item(open_page: Open, site: Site) -> None:
    pages = [open_page(name) for name in ("Ann", "Bob", "Cyd")]
    for judged in range(1, 3):
        for page in pages[:2]:
            press(page, "1", judged)
    press(pages[2], "2", 1)
    counts: dict[int, int] = {}
    for row in judgements(site):
        counts[row.item] = counts.get(row.item, 0) + 1
        assert not row.surplus
    assert max(counts.values()) <= 2


def test_without_a_connection_nothing_is_lost_and_nothing_doubled(open_page: Open, site: Site) -> None:
    page = open_page(quiet=False)
    page.context.set_offline(True)
    page.keyboard.press("1")
    expect(page.locator("#status")).to_contain_text("No connection")
    expect(page.locator("#status")).to_contain_text("1 waiting to be sent")
    assert judgements(site) == []
    page.context.set_offline(False)
    expect(page.locator("#status")).to_have_text("1 judged", timeout=15_000)
    assert len(judgements(site)) == 1


@pytest.mark.long
def test_a_lost_acknowledgement_stores_one_judgement(open_page: Open, site: Site) -> None:
    page = open_page(quiet=False)
    lost = []

    def lose(route: Any) -> None:
        route.fetch()  # the server has it, and the browser does not know
        lost.append(1)
        route.abort()

    page.route("**/api/submit", lose, times=1)
    page.keyboard.press("2")
    expect(page.locator("#status")).to_have_text("1 judged", timeout=15_000)
    for _ in range(300):  # a slow server may have the page's second request before the first one's handler ends
        if not lost:
            page.wait_for_timeout(50)
    assert lost == [1]
    assert [row.answer["choice"] for row in judgements(site)] == ["second"]


def test_a_closed_page_keeps_what_was_not_sent(open_page: Open, site: Site) -> None:
    page = open_page(quiet=False)
    page.route("**/api/submit", lambda route: route.abort())
    page.keyboard.press("1")
    expect(page.locator("#status")).to_contain_text("waiting to be sent")
    page.unroute("**/api/submit")
    page.reload()
    expect(page.locator("#status")).to_have_text("1 judged")
    assert len(judgements(site)) == 1


def test_a_refused_answer_is_reported_until_acknowledged(open_page: Open, site: Site) -> None:
    """Two tabs show one item: the second tab's judgement is refused, and the page reports it."""
    page = open_page(quiet=False)
    other = page.context.new_page()
    other.goto(site.address)
    other.wait_for_selector("#first .text p")
    press(page, "1", 1)
    other.keyboard.press("2")
    expect(other.locator("#status")).to_contain_text("1 not accepted")
    expect(other.locator("#first .text p")).to_be_visible()
    expect(other.locator("#status")).to_contain_text("you have already judged this item")
    press(other, "2", 2)
    expect(other.locator("#status")).to_contain_text("you have already judged this item")
    assert len(judgements(site)) == 2
    other.get_by_role("button", name="Seen").click()
    expect(other.locator("#status")).to_have_text("2 judged")
    expect(other.locator("#seen")).to_be_hidden()
    other.reload()
    expect(other.locator("#status")).to_have_text("2 judged")


def test_undo_right_after_an_answer_corrects_that_one(open_page: Open, site: Site) -> None:
    """The next item, still loading, must not replace the item under correction."""
    page = open_page()

    def late(route: Any) -> None:
        page.wait_for_timeout(700)
        route.continue_()

    page.route("**/api/task", late, times=1)
    page.keyboard.press("1")
    page.wait_for_timeout(250)
    page.keyboard.press("u")
    expect(page.locator(".choice.chosen")).to_have_attribute("data-choice", "first")
    page.wait_for_timeout(900)
    expect(page.locator(".choice.chosen")).to_have_attribute("data-choice", "first")
    page.keyboard.press("2")
    expect(page.locator("#correcting")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("1 judged")
    rows = judgements(site)
    assert [row.answer["choice"] for row in rows] == ["first", "second"]
    assert rows[1].supersedes == rows[0].id


def test_ids_do_not_need_crypto_random_uuid(open_page: Open, site: Site) -> None:
    """`crypto.randomUUID` exists only on https and localhost."""
    page = open_page()
    page.add_init_script("delete Crypto.prototype.randomUUID")
    page.reload()
    page.wait_for_selector("#first .text p")
    assert page.evaluate("crypto.randomUUID") is None
    press(page, "1", 1)


@pytest.mark.long
def test_a_failed_request_for_a_task_is_retried(open_page: Open, site: Site) -> None:
    page = open_page(quiet=False)
    page.clock.install()
    page.route("**/api/task", lambda route: route.fulfill(status=500, body="{}"), times=1)
    page.keyboard.press("1")
    page.wait_for_timeout(300)
    page.clock.run_for(11_000)
    expect(page.locator("#status")).to_have_text("1 judged")
    press(page, "1", 2)


def test_a_draft_is_there_after_a_reload(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Why?").fill("half a thou")
    page.reload()
    expect(page.get_by_label("Why?")).to_have_value("half a thou")


@pytest.mark.parametrize(
    ("width", "locale", "scheme"),
    [(390, "en-GB", "light"), (390, "zh-CN", "dark"), (1440, "en-GB", "dark"), (1440, "zh-CN", "light")],
)
def test_it_is_accessible_and_fits(open_page: Open, width: int, locale: str, scheme: str) -> None:
    page = open_page(
        "Root", "admin", locale=locale, viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    assert page.evaluate("document.documentElement.lang") == {"en-GB": "en", "zh-CN": "zh-Hans"}[locale]
    for path in ("", "/admin"):
        page.goto(page.url.rstrip("/").removesuffix("/admin") + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        result = Axe().run(page)
        assert result.violations_count == 0, result.generate_report()


def test_guidelines_stay_open_until_they_are_read(open_page: Open, site: Site) -> None:
    """Open but not focused at first, closed after a reload, open again when they change."""
    page = open_page()
    expect(page.get_by_role("heading", name="Which is better?")).to_be_visible()
    guidelines = page.locator("#guidelines")
    expect(guidelines).to_contain_text("Be fair.")
    expect(page.locator("#guidelines-button")).to_have_attribute("aria-expanded", "true")
    press(page, "1", 1)
    expect(guidelines).to_be_visible()
    page.get_by_role("button", name="Got it").click()
    expect(guidelines).to_be_hidden()
    press(page, "1", 2)
    page.reload()
    expect(page.locator("#first .text p")).to_be_visible()
    expect(guidelines).to_be_hidden()
    site.store.update_project(replace(site.store.project("films"), guidelines="Be brief."))
    page.reload()
    expect(guidelines).to_contain_text("Be brief.")
    expect(guidelines).to_be_visible()


def test_guidelines_and_keys_open_by_key(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("g")
    for key, panel in (("g", "#guidelines"), ("?", "#help")):
        expect(page.locator(panel)).to_be_hidden()
        page.keyboard.press(key)
        expect(page.locator(panel)).to_be_visible()
        page.keyboard.press(key)
        expect(page.locator(panel)).to_be_hidden()


def test_the_administrator_invites_and_exports(open_page: Open, site: Site, browser: Browser) -> None:
    page = open_page("Root", "admin")
    press(page, "1", 1)
    page.get_by_role("link", name="Administration").click()
    page.get_by_label("Invite someone").fill("Eve")
    page.get_by_role("button", name="Create a link").click()
    link = page.locator("#link")
    expect(link).to_contain_text("/join/")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all data").click()
    with ZipFile(download.value.path()) as archive:
        assert len(archive.read("preferences.jsonl").splitlines()) == 1
    context = browser.new_context(locale="zh-CN")
    eve = context.new_page()
    address = re.findall(r"http\S+/join/[\w-]+", link.inner_text())[0]
    eve.goto(address)
    eve.get_by_role("button", name="开始").click()
    expect(eve.locator("#first .text p")).to_be_visible()
    context.close()


def test_hostile_texts_do_nothing(browser: Browser, tmp_path: Path) -> None:
    """No script runs, nothing is loaded from other servers, and the page's own buttons still work."""
    store = Store(tmp_path / "hostile.db")
    store_texts = [text.encode("utf-8", "replace").decode() for text in HOSTILE]
    fill(store, 1, texts=("\n\n".join(store_texts[:8]), "\n\n".join(store_texts[8:])))
    with serving(store) as site:
        context = browser.new_context(locale="en-GB")
        page, requests = context.new_page(), list[str]()
        page.on("request", lambda request: requests.append(request.url))
        page.on("dialog", lambda dialog: requests.append("a dialog"))
        page.goto(site.link("Ann"))
        page.get_by_role("button").click()
        page.wait_for_selector("#first .text *")
        assert page.locator("#answers :is(a, img, form, script, iframe, style, svg)").count() == 0
        press(page, "1", 1)
        assert all(url.startswith(site.address) for url in requests)
        context.close()
    assert len(pair_preferences(store, "films").rows) == 1
    store.close()


def test_a_crowd_worker_finishes_with_a_code_and_a_way_back(browser: Browser, site: Site) -> None:
    """From the platform's address to its page at the end, by keys; axe finds no fault on either page."""
    link = crowd_link(
        "panel", worker_parameter="pid", max_judgements=2, redirect="https://panel.example/end?c={code}"
    )
    _, token = CrowdAccess(Access(site.store)).add_link(site.project, link)
    page = browser.new_page(locale="en-GB")
    page.route(
        "https://panel.example/**", lambda route: route.fulfill(body="Thank you", content_type="text/html")
    )
    page.goto(f"{site.address}/crowd/{token}?pid=w1")
    assert Axe().run(page).violations_count == 0
    page.get_by_role("button", name="Begin").press("Enter")
    expect(page.locator("#answers .text p").first).to_be_visible()
    press(page, "1", 1)
    press(page, "2", 2)
    expect(page.locator("#finished")).to_be_visible()
    expect(page.locator("#nothing")).to_be_hidden()
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    code = page.locator("#code").inner_text()
    page.keyboard.press("u")
    expect(page.locator("#finished")).to_be_hidden()
    expect(page.locator("#correcting")).to_be_visible()
    page.keyboard.press("u")
    expect(page.locator("#code")).to_have_text(code)
    page.get_by_role("link", name="Return to the platform").click()
    expect(page.locator("body")).to_have_text("Thank you")
    assert page.url == f"https://panel.example/end?c={code}"
    assert len(judgements(site)) == 2
    page.close()
