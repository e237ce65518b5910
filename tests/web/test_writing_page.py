"""The page of written answers in a real browser: writing, drafts, lengths, scripts, reviews, keyboard, phones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import Open
from playwright.sync_api import Page, expect
from serving import Site, judgements, serving
from writing import write, writing_project

from gnomon.feedback.quality.written_checks import main_script
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.queue import Queue
from gnomon.feedback.visible_text import visible_length

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]
CHINESE = "请用几句话解释蒸汽机是怎样工作的。"
TEXT = "Steam pushes the piston, and the piston turns the wheel."


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    store = Store(tmp_path / "feedback.db")
    prompts = ("How does a steam engine work?\n\n```python\nprint('" + "long" * 60 + "')\n```", CHINESE)
    yield writing_project(
        store, prompts=prompts, approval=True, min_answer_chars=10, max_answer_chars=80, check_language=True
    )
    store.close()


@pytest.fixture
def site(queue: Queue) -> Iterator[Site]:
    with serving(queue.store, "help") as site:
        yield site


def done(page: Page, count: int) -> None:
    expect(page.locator("#status")).to_contain_text(f"{count} done")


def test_a_text_is_written_with_the_keyboard_alone(open_page: Open, site: Site) -> None:
    """`e` enters the field, where letters are text; Ctrl and Enter submit; `u` brings the text back."""
    page = open_page()
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page.locator("#written")).to_be_focused()
    page.keyboard.type("Steam, sugar and u")
    page.keyboard.press("Control+Enter")
    done(page, 1)
    (row,) = judgements(site)
    assert row.answer == {"text": "Steam, sugar and u"}
    assert 0 < row.seconds["active"] < 60
    expect(page.locator("#written")).to_have_value("")
    page.keyboard.press("u")
    expect(page.locator("#correcting")).to_be_visible()
    expect(page.locator("#written")).to_have_value("Steam, sugar and u")
    page.locator("#written").fill(TEXT)
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    done(page, 1)
    expect(page.locator("#correcting")).to_be_hidden()
    assert [one.answer["text"] for one in judgements(site)] == ["Steam, sugar and u", TEXT]


def test_lengths_are_counted_and_checked(open_page: Open, site: Site) -> None:
    page = open_page()
    hint, alert = page.locator("#written-hint"), page.get_by_role("alert")
    expect(hint).to_have_text("0 characters; 10 to 80 are allowed")
    for text, problem in (
        ("", "Write the answer first."),
        ("  \n ", "Write the answer first."),
        ("😀" * 9, "The answer has 9 characters; at least 10 are required."),
        ("x" * 81, "The answer has 81 characters; 80 are the limit."),
    ):
        page.locator("#written").fill(text)
        page.get_by_role("button", name="Submit").click()
        expect(alert).to_have_text(problem)
    assert judgements(site) == []
    page.locator("#written").fill("\n\n" + "x" * 80 + "\n")
    expect(hint).to_have_text("80 characters; 10 to 80 are allowed")
    page.get_by_role("button", name="Submit").click()
    done(page, 1)
    assert judgements(site)[0].answer == {"text": "x" * 80}


def test_another_script_is_asked_about_once(open_page: Open, site: Site) -> None:
    page = open_page()
    page.locator("#written").fill(TEXT)
    page.keyboard.press("Control+Enter")
    done(page, 1)
    expect(page.locator("#prompt")).to_contain_text("蒸汽机")
    page.locator("#written").fill(TEXT)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("in another script than the prompt")
    page.keyboard.press("Control+Enter")
    done(page, 2)
    assert len(judgements(site)) == 2


@pytest.mark.long
def test_a_draft_survives_with_its_time(open_page: Open, site: Site) -> None:
    """From the browser's storage, and from the server if that is empty."""
    page = open_page()
    page.locator("#written").press_sequentially("Steam pushes", delay=30)
    page.reload()
    expect(page.locator("#written")).to_have_value("Steam pushes")
    with page.expect_response("**/api/heartbeat") as sent:
        page.evaluate(
            """Object.defineProperty(document, "visibilityState", { get: () => "hidden" });
            document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));"""
        )
    assert sent.value.ok
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(page.locator("#written")).to_have_value("Steam pushes")
    page.keyboard.press("Control+Enter")
    done(page, 1)
    assert judgements(site)[0].seconds["active"] > 0.3, "the time before the page was loaded again counts"


def test_a_text_is_approved_revised_or_rejected(open_page: Open, site: Site, queue: Queue) -> None:
    write(queue, "ann", "Steam pushes the **piston**.")
    write(queue, "ann", "蒸汽推动活塞，活塞带动车轮。")
    page = open_page()
    card = page.get_by_role("article", name="Somebody's answer")
    expect(card.locator("strong")).to_have_text("piston")
    expect(page.get_by_label("The answer as you leave it")).to_have_value("Steam pushes the **piston**.")
    page.get_by_label("The answer as you leave it").fill("Steam pushes the **piston** up.")
    page.get_by_role("button", name="Submit").click()
    done(page, 1)
    page.get_by_label("Reject it").check()
    expect(page.locator("#written")).to_be_disabled()
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("Give the reason for the rejection")
    page.locator("#reason").fill("too short")
    page.get_by_role("button", name="Submit").click()
    done(page, 2)
    answers = [row.answer for row in judgements(site)[2:]]
    assert [one["verdict"] for one in answers] == ["revised", "rejected"]
    assert answers[0]["text"] == "Steam pushes the **piston** up."
    page.keyboard.press("u")
    expect(page.get_by_label("Reject it")).to_be_checked()
    page.get_by_label("Reject it").uncheck()
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#correcting")).to_be_hidden()
    assert judgements(site)[-1].answer["verdict"] == "approved"


@pytest.mark.parametrize(
    ("width", "locale", "scheme"), [(1440, "en-GB", "light"), (390, "zh-CN", "dark")], ids=["wide", "phone"]
)
def test_the_page_is_accessible_and_fits(
    open_page: Open, queue: Queue, width: int, locale: str, scheme: str
) -> None:
    for reviews in (False, True):
        if reviews:
            write(queue, "ann", "Steam pushes the **piston**.")
        page = open_page(locale=locale, color_scheme=scheme, viewport={"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert Axe().run(page).violations_count == 0
        box = page.locator("#written").bounding_box()
        assert box is not None
        assert box["width"] >= min(width - 40, 700)
        if not reviews:
            page.locator("#skip").click()


def test_a_reviewer_replaces_a_text(open_page: Open, site: Site, queue: Queue) -> None:
    write(queue, "ann", "As an AI language model, I cannot.")
    page = open_page("Rae", "reviewer")
    page.get_by_role("link", name="Review").click()
    page.get_by_role("link", name="1", exact=True).click()
    page.get_by_label("The answer to export").fill(TEXT)
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_role("heading", name="Decided")).to_be_visible()
    page.goto(f"{site.address}/review/1")
    expect(page.get_by_role("article", name="Answer").last).to_have_text(TEXT)
    page.get_by_label("None is of use").check()
    page.get_by_role("button", name="Decide").click()
    expect(page.get_by_role("heading", name="Decided")).to_be_visible()


def test_keys_of_an_input_method_and_an_empty_field_submit_nothing(open_page: Open, site: Site) -> None:
    """Enter and Ctrl+Enter end a composition; neither does an empty field leave the page by the keyboard."""
    page = open_page()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_have_text("Write the answer first.")
    page.locator("#written").fill(TEXT)
    page.locator("#written").evaluate(
        """field => field.dispatchEvent(new KeyboardEvent("keydown",
        { key: "Enter", ctrlKey: true, isComposing: true, bubbles: true, cancelable: true }))"""
    )
    page.locator("#written").press("Enter")
    page.wait_for_timeout(300)
    assert judgements(site) == []
    expect(page.locator("#written")).to_have_value(f"{TEXT}\n")


def test_a_skipped_prompt_leaves_no_text_behind(open_page: Open, site: Site) -> None:
    page = open_page()
    page.locator("#written").fill("of the first prompt")
    page.locator("#reason").fill("no idea")
    page.get_by_role("button", name="Skip").click()
    expect(page.locator("#prompt")).to_contain_text("蒸汽机")
    expect(page.locator("#written")).to_have_value("")
    expect(page.locator("#reason")).to_have_value("")
    assert page.evaluate("Object.keys(localStorage).filter(name => name.includes('draft'))") == []


def test_text_is_kept_to_the_letter(open_page: Open, site: Site, queue: Queue) -> None:
    """Line breaks, markup and indentation: as it was typed, and after another person edits one word of it."""
    text = '    for x in y:\n        <b>bold</b> & "x"\n\n- a\n- b\t\\n'
    page = open_page()
    page.locator("#written").fill(text)
    page.keyboard.press("Control+Enter")
    done(page, 1)
    assert judgements(site)[0].answer == {"text": text}
    bob = open_page("Bob")
    expect(bob.locator("#written")).to_have_value(text)
    expect(bob.locator("#reviewed b")).to_have_count(0)
    bob.locator("#written").press("Control+Home")
    bob.keyboard.type("#")
    bob.keyboard.press("Control+Enter")
    done(bob, 1)
    assert judgements(site)[1].answer["text"] == f"#{text}"


def test_a_refused_text_is_shown_again(open_page: Open, site: Site, queue: Queue) -> None:
    """The administrator shortens answers while somebody writes: their text comes back, and can be copied."""
    page = open_page(quiet=False)
    page.locator("#written").fill(TEXT)
    about = queue.store.project("help")
    queue.store.update_project(replace(about, settings=about.settings | {"max_answer_chars": 20}))
    page.keyboard.press("Control+Enter")
    expect(page.locator("#status")).to_contain_text("1 not accepted: it is empty, too short or too long")
    expect(page.locator("#written")).to_have_value(TEXT)
    expect(page.locator("#lost-text")).to_have_value(TEXT)
    page.get_by_role("button", name="Seen").click()
    expect(page.locator("#lost")).to_be_hidden()
    page.locator("#written").fill("Steam pushes.")
    page.keyboard.press("Control+Enter")
    done(page, 1)
    assert [row.answer for row in judgements(site)] == [{"text": "Steam pushes."}]


def test_the_page_and_the_checks_see_the_same_scripts(open_page: Open) -> None:
    texts = [
        "Steam pushes it", "蒸汽推动活塞", "東京へ行きます", "ｱｲｳｴｵ カタカナ", "서울에 갑니다",
        "Привет, мир", "Γεια σου κόσμε",
        "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก",
        "你好 hello", "1234", "`abcdef` 你好世界啊",
        "```js\nconst steam = 1;\n```\n打印一行字吧",
        "ｆｕｌｌｗｉｄｔｈ",
        "a\u0301e\u0301i\u0301o\u0301u\u0301", "",
    ]  # fmt: skip
    page = open_page()
    shown = page.evaluate(
        "async texts => { const m = await import('/static/scripts.js'); return texts.map(m.mainScript); }", texts
    )
    assert dict(zip(texts, shown, strict=True)) == {text: main_script(text) for text in texts}


def test_the_page_and_the_server_count_the_same_characters(open_page: Open, site: Site) -> None:
    texts = [
        "",
        "\u200b" * 6,
        "\x01\x7f\t\n",
        "\u3164\u2800\ufe0f\u034f",
        " a\u200b b ",
        "\u200b  a",
        "蒸汽\u3000机",
        "😀\u200d😀",
        "a\u202eb",
    ]
    shown = open_page().evaluate(
        "async texts => { const m = await import('/static/written.js'); return texts.map(m.visibleLength); }",
        texts,
    )
    assert shown == [visible_length(text) for text in texts]
