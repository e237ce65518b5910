"""The qualification in a real browser: by keys, with feedback that is read out, in both languages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import Open, press
from playwright.sync_api import Page, expect
from serving import Site, fill, judgements, serving
from test_qualify import add_questions

from gnomon.feedback.store.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store = Store(tmp_path / "feedback.db")
    fill(store, 2, contact="Rae", confidence=True, rewrite=True)
    add_questions(store, 2)
    with serving(store) as site:
        yield site
    store.close()


def choose(page: Page, right: bool) -> None:
    """Answer the question by a key and Enter."""
    first_is_right = "right" in page.locator("#first .text").inner_text()
    page.keyboard.press("1" if first_is_right == right else "2")
    page.keyboard.press("Enter")
    expect(page.locator("#feedback")).to_be_visible()


def test_by_keys_from_questions_to_items(open_page: Open, site: Site) -> None:
    """A question has no confidence, reason, skip or undo; an answer cannot change under its feedback."""
    page = open_page()
    expect(page.locator("#question-of")).to_contain_text("Practice question 1 of 2, attempt 1 of 2")
    for hidden in ("#sure", "#reason", "#skip", "#undo", "#edit"):
        expect(page.locator(hidden)).to_be_hidden()
    page.keyboard.press("s")
    page.keyboard.press("u")
    expect(page.locator("#question-of")).to_contain_text("Practice question 1 of 2")
    choose(page, right=False)
    expect(page.locator("#feedback-title")).to_have_text("Not quite.")
    expect(page.locator("#right-answer")).to_contain_text("is better")
    expect(page.locator("#explanation em")).to_have_text("polite")
    right = "first" if "right" in page.locator("#first .text").inner_text() else "second"
    expect(page.locator(".choice.chosen")).to_have_attribute("data-choice", right)
    expect(page.locator("#continue")).to_be_focused()
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    page.keyboard.press("0")
    expect(page.locator(".choice.chosen")).to_have_attribute("data-choice", right)
    page.keyboard.press("Enter")
    expect(page.locator("#question-of")).to_contain_text("Practice question 2 of 2")
    choose(page, right=True)
    expect(page.locator("#feedback-title")).to_have_text("Right.")
    expect(page.locator("#result")).to_contain_text("1 of 2 right; 2 are required. You can try again, 1 more")
    for number in (1, 2):
        page.keyboard.press("Enter")
        expect(page.locator("#question-of")).to_contain_text(f"question {number} of 2, attempt 2 of 2")
        choose(page, right=True)
    expect(page.locator("#result")).to_contain_text("have passed")
    page.keyboard.press("Enter")
    expect(page.locator("#question-of")).to_be_hidden()
    expect(page.locator("#sure")).to_be_visible()
    expect(page.locator("#status")).to_have_text("0 judged")
    page.keyboard.press("1")
    page.keyboard.press("Shift+Digit5")
    press(page, "Enter", 1)
    assert len(judgements(site)) == 1


@pytest.mark.long
def test_whoever_fails_is_told_whom_to_ask(open_page: Open, site: Site) -> None:
    page = open_page(locale="zh-CN")
    for _ in range(4):
        choose(page, right=False)
        page.keyboard.press("Enter")
        expect(page.locator("#feedback")).to_be_hidden()
    expect(page.locator("#failed")).to_contain_text("未通过资格测试")
    expect(page.locator("#failed")).to_contain_text("Rae")
    expect(page.locator("#nothing")).to_be_hidden()
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


def test_a_lost_answer_is_sent_again_under_its_id(open_page: Open, site: Site) -> None:
    """The first answer reaches the server, its response is lost; the second request adds nothing."""
    page = open_page(quiet=False)
    page.route("**/api/qualify", lambda route: (route.fetch(), route.abort())[1], times=1)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_class("warn")
    page.keyboard.press("Enter")
    expect(page.locator("#feedback")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#question-of")).to_contain_text("Practice question 2 of 2")
