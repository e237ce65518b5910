"""A real browser, and somebody who came in with it: for tests of the pages, which have a `site` of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # every run of pytest starts through here
    from playwright.sync_api import Browser, Page
    from serving import Site

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Open]:
    """A browser of somebody's own that came in by their link; nothing may complain on its console."""
    contexts, complaints = [], list[str]()

    def opened(name: str = "Ann", role: str = "annotator", quiet: bool = True, **settings: Any) -> Page:
        usual: dict[str, Any] = {"locale": "en-GB", "viewport": {"width": 1440, "height": 900}}
        context = browser.new_context(**usual | settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8_000)
        if quiet:
            page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.link(name, role))
        page.get_by_role("button").click()
        page.wait_for_selector("#answers .text p, #written, #nothing:not([hidden])")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def press(page: Page, key: str, judged: int) -> None:
    """Press a key, after which so many items are judged."""
    from playwright.sync_api import expect

    page.keyboard.press(key)
    expect(page.locator("#status")).to_contain_text(f"{judged} judged")
