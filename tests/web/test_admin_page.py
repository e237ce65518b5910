"""The administrators' and reviewers' pages in a real browser: disputes, gold items, set-up, accessibility."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from exported import pair_preferences
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from serving import Site, fill, serving

from gnomon.feedback.store.store import Project, Store
from gnomon.feedback.tasks.gold_items import gold_items
from gnomon.feedback.tasks.queue import NewJudgement, Queue

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Three items: one disputed by two annotators, one on which they agree, and one that is gold."""
    store = Store(tmp_path / "feedback.db")
    fill(store)
    store.update_project(
        Project("films", "Which is better?", "pair", 2, 2, "Be kind.", {"gold_rate": 0, "min_reliability": 0.1})
    )
    queue = Queue(store, "films")
    for who in ("ann", "bob"):
        store.add_annotator(who.title(), id=who)
        for _ in range(2):
            task = queue.take(who)
            assert task is not None
            side = "b" if who == "bob" and task.completions[0].id[1:] == "0" else "a"
            choice = ("first", "second")[[c.id[0] for c in task.completions].index(side)]
            queue.submit(
                NewJudgement(f"{who}{task.item}", task.item, who, {"choice": choice}, reason=f"{who}'s reason")
            )
    with serving(store) as site:
        yield site
    store.close()


def open_page(browser: Browser, site: Site, role: str, **settings: Any) -> tuple[Page, list[str]]:
    usual: dict[str, Any] = {"locale": "en-GB", "viewport": {"width": 1440, "height": 900}}
    page, complaints = browser.new_context(**usual | settings).new_page(), list[str]()
    page.set_default_timeout(20_000)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(site.link(role.title(), role))
    page.get_by_role("button").click()
    page.wait_for_load_state("networkidle")
    return page, complaints


@pytest.mark.long
def test_a_reviewer_decides_and_an_administrator_sees_to_the_rest(browser: Browser, site: Site) -> None:
    rae, complaints = open_page(browser, site, "reviewer")
    rae.get_by_role("link", name="Review").click()
    rae.get_by_role("link", name="film 0").click()
    expect(rae.get_by_text("bob's reason")).to_be_visible()
    rae.get_by_label("B is better").check()
    rae.get_by_label("Why?").fill("it is")
    rae.get_by_role("button", name="Decide").click()
    expect(rae.get_by_text("Nothing is waiting for a decision.")).to_be_visible()
    assert "b0" in {row.chosen.id for row in pair_preferences(site.store, "films").rows}
    rae.context.close()

    root, more = open_page(browser, site, "admin")
    root.goto(f"{site.address}/admin/gold")
    root.get_by_label("Number of the item").fill("3")
    root.get_by_role("button", name="Show").click()
    root.get_by_label("A is better").check()
    root.get_by_role("button", name="Make it a gold question").click()
    expect(root.get_by_role("button", name="No longer gold")).to_be_visible()
    assert [one.item for one in gold_items(site.store, "films")] == [3]

    root.get_by_role("link", name="Annotators").click()
    bob = root.get_by_role("article", name="Bob")
    bob.get_by_role("button", name="Pause").click()
    expect(bob.get_by_text("paused")).to_be_visible()
    bob.get_by_role("button", name="Resume").click()
    expect(bob.get_by_text("active")).to_be_visible()

    root.get_by_role("link", name="Set-up").click()
    root.get_by_label("Share of gold questions").fill("0.25")
    root.get_by_label("Pause below").fill("")
    root.get_by_label("Ask annotators how sure they are").check()
    root.get_by_role("button", name="Save").click()
    expect(root.get_by_text("Saved.")).to_be_visible()
    settings = site.store.project("films").settings
    assert (settings["gold_rate"], settings["confidence"], "min_reliability" in settings) == (0.25, True, False)
    root.get_by_label("Maximum").fill("1")
    root.get_by_role("button", name="Save").click()
    expect(root.get_by_text("must be no smaller than “Judgements per item”")).to_be_visible()
    root.get_by_role("link", name="中文").click()
    root.get_by_label("意见不一时最多").fill("1")
    root.get_by_role("button", name="保存").click()
    expect(root.get_by_text("“意见不一时最多”不能小于“每题评判数”。")).to_be_visible()
    root.context.close()
    assert complaints == []
    assert all("409" in message for message in more), "the browser notes the refused one"


def test_a_click_before_the_script_has_loaded_is_not_lost(browser: Browser, site: Site) -> None:
    """The form waits for its script, rather than being sent as a bare form that changes nothing."""
    root, _ = open_page(browser, site, "admin")
    site.store.set_annotator("bob", "paused")

    def late(route: Route) -> None:
        time.sleep(1.0)
        route.continue_()

    root.route("**/static/admin.js", late)
    root.goto(f"{site.address}/admin/annotators", wait_until="commit")
    bob = root.get_by_role("article", name="Bob")
    bob.get_by_role("button", name="Resume").click()
    expect(bob.get_by_text("active")).to_be_visible()


def test_no_short_word_is_broken_on_a_phone(browser: Browser, site: Site) -> None:
    """Long names leave roles and states on one line; checkboxes stand below each other."""
    site.link("a rather long name of somebody or of a program")
    page, _ = open_page(browser, site, "admin", locale="zh-CN", viewport={"width": 390, "height": 844})
    page.goto(f"{site.address}/admin")
    lines = (
        "e => { const r = document.createRange(); r.selectNodeContents(e); return r.getClientRects().length; }"
    )
    cells = page.locator("td.short").all()
    assert cells
    assert all(cell.evaluate(lines) == 1 for cell in cells)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{site.address}/admin/setup")
    ticks = [box for box in (one.bounding_box() for one in page.locator("[type=checkbox]").all()) if box]
    assert len({box["x"] for box in ticks}) == 1
    page.context.close()


@pytest.mark.long
@pytest.mark.parametrize(
    ("width", "locale", "scheme"), [(1440, "en-GB", "light"), (390, "zh-CN", "dark")], ids=["wide", "phone"]
)
def test_all_pages_are_accessible_and_fit(
    browser: Browser, site: Site, width: int, locale: str, scheme: str
) -> None:
    page, complaints = open_page(
        browser, site, "admin", locale=locale, viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    for path in ("", "/agreement", "/annotators", "/gold", "/setup", "/../review", "/../review/1"):
        page.goto(f"{site.address}/admin{path}")
        page.wait_for_load_state("networkidle")
        for summary in page.locator("summary").all():
            summary.click()
        assert "object at 0x" not in page.inner_text("body")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        result = Axe().run(page)
        assert result.violations_count == 0, result.generate_report()
    page.context.close()
    assert complaints == []
