"""The page's other tasks in a real browser: rankings, scores, confidence and rewrites."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import Open, press
from playwright.sync_api import Page, expect
from serving import Site, fill, judgements, serving
from test_texts_as_html import HOSTILE

from gnomon.feedback.store.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
]
FOUR = ("One {}.", "Two {}.", "Three {}.", "Four {}.")
KINDS: dict[str, dict[str, Any]] = {
    "pair": {"confidence": True, "rewrite": True, "min_reason_chars": 20},
    "ranking": {"task": "ranking", "texts": FOUR, "confidence": True},
    "rating": {"task": "rating", "texts": ("Alone **{}**.",), "rewrite": True},
    "likert": {"task": "likert", "texts": FOUR[:2], "criteria": ["overall", "<b>kind</b> & brief", "准确"]},
}


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A project of the kind that the test names, with two items."""
    store = Store(tmp_path / "feedback.db")
    fill(store, 2, **KINDS.get(request.param, {}) if isinstance(request.param, str) else request.param)
    with serving(store) as site:
        yield site
    store.close()


def of(kind: str | dict[str, Any]) -> Callable[..., Any]:
    """Parametrizes a test with a project: one of `KINDS`, or its own."""
    return pytest.mark.parametrize(
        "site", [kind], indirect=True, ids=lambda kind: kind if isinstance(kind, str) else "own"
    )


def answered(page: Page, site: Site, key: str = "Enter") -> dict[str, Any]:
    """Presses a key that submits; returns the stored answer. Another item follows."""
    before = len(judgements(site))
    page.keyboard.press(key)
    expect(page.locator("#status")).to_contain_text("judged")
    page.wait_for_function("n => document.querySelector('#status').textContent.startsWith(`${n} judged`)", arg=1)
    rows = judgements(site)
    assert len(rows) == before + 1
    return rows[-1].answer


def ranks(page: Page) -> list[str]:
    rows = page.locator("#ranks li")
    return [f"{row.locator('.rank').inner_text()} {row.locator('b').inner_text()[-1]}" for row in rows.all()]


def leave_and_forget(page: Page) -> None:
    """Hides the page, which sends the draft, and reloads it with an empty browser storage."""
    with page.expect_response("**/api/heartbeat") as sent:
        page.evaluate(
            """Object.defineProperty(document, "visibilityState", { get: () => "hidden" });
            document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));"""
        )
    assert sent.value.ok
    page.evaluate("localStorage.clear()")
    page.reload()
    page.wait_for_selector("#answers .text p")


# --- Ranking ----------------------------------------------------------------------------------------------------


@of("ranking")
def test_number_keys_rank_best_first(open_page: Open, site: Site) -> None:
    """A number pressed again removes its answer. The last of four gets the remaining rank, and its number changes
    nothing; after a complete ranking, a number starts a new one."""
    page = open_page()
    assert ranks(page) == ["– 1", "– 2", "– 3", "– 4"]
    for key, order in (
        ("3", ["1 3", "– 1", "– 2", "– 4"]),
        ("1", ["1 3", "2 1", "– 2", "– 4"]),
        ("3", ["1 1", "– 3", "– 2", "– 4"]),
        ("4", ["1 1", "2 4", "– 3", "– 2"]),
        ("2", ["1 1", "2 4", "3 2", "4 3"]),
        ("3", ["1 1", "2 4", "3 2", "4 3"]),
        ("3", ["1 1", "2 4", "3 2", "4 3"]),
        ("4", ["1 4", "– 1", "– 2", "– 3"]),
        ("3", ["1 4", "2 3", "– 1", "– 2"]),
        ("1", ["1 4", "2 3", "3 1", "4 2"]),
    ):
        page.keyboard.press(key)
        assert ranks(page) == order
    expect(page.locator("#announcement")).to_have_text("Answer 1 has rank 3. Your ranking is complete.")
    page.keyboard.press("Shift+Digit2")
    assert answered(page, site) == {"order": [3, 2, 0, 1]}
    (row,) = judgements(site)
    assert row.confidence == 0.25
    assert ranks(page) == ["– 1", "– 2", "– 3", "– 4"]


@of({"task": "ranking", "texts": ("```python\n" + "long_name = " * 60 + "{}\n```", *FOUR[1:])})
@pytest.mark.parametrize("width", [390, 1440])
def test_a_long_line_of_code_scrolls_in_its_card(open_page: Open, site: Site, width: int) -> None:
    """The page does not scroll sideways, and no card overlaps the ranking."""
    page = open_page(viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    code = page.locator("#cards pre")
    assert code.evaluate("element => element.scrollWidth > element.clientWidth")
    boxes = [page.locator(name).bounding_box() for name in ("#cards article >> nth=0", "#order")]
    card, order = (box for box in boxes if box is not None)
    assert card["x"] + card["width"] <= (order["x"] if width > 1000 else width)
    assert Axe().run(page).violations_count == 0


@of("ranking")
def test_an_incomplete_ranking_is_not_submitted(open_page: Open, site: Site) -> None:
    page, sent = open_page(), list[str]()
    page.on("request", lambda request: sent.append(request.url))
    page.keyboard.press("Shift+Digit1")
    for key in ("Enter", "2", "Enter", "1", "Enter"):
        page.keyboard.press(key)
        if key == "Enter":
            expect(page.get_by_role("alert")).to_contain_text("Rank the answers first")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert not any("submit" in url for url in sent)
    assert judgements(site) == []


@of({"task": "ranking", "texts": FOUR})
@pytest.mark.parametrize("width", [390, 1440])
def test_a_row_is_dragged_by_its_handle(open_page: Open, site: Site, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 700})
    rows = page.locator("#ranks li")
    rows.first.scroll_into_view_if_needed()
    rows.last.scroll_into_view_if_needed()
    handle = rows.nth(3).locator(".handle").bounding_box()
    target = rows.nth(0).bounding_box()
    assert handle is not None
    assert target is not None
    page.mouse.move(handle["x"] + 8, handle["y"] + 8)
    page.mouse.down()
    page.mouse.move(handle["x"] + 8, handle["y"] - 45, steps=3)
    assert ranks(page)[2].endswith("4")
    page.mouse.move(handle["x"] + 8, target["y"] + 2, steps=5)
    page.mouse.up()
    assert ranks(page) == ["1 4", "2 1", "3 2", "4 3"]
    assert page.locator("#ranks [style*=translate]").count() == 0
    assert answered(page, site) == {"order": [3, 0, 1, 2]}


@of({"task": "ranking", "texts": FOUR})
def test_a_finger_drags_a_row_and_the_page_stays_where_it_is(open_page: Open, site: Site) -> None:
    """Touch events as a screen sends them: without `touch-action` they would scroll the page."""
    page = open_page(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    rows = page.locator("#ranks li")
    rows.last.scroll_into_view_if_needed()
    handle, target = rows.nth(3).locator(".handle").bounding_box(), rows.nth(0).bounding_box()
    assert handle is not None
    assert target is not None
    before = page.evaluate("scrollY")
    screen = page.context.new_cdp_session(page)
    x, y, goal = handle["x"] + 8, handle["y"] + 8, target["y"] + 2

    def touch(kind: str, *heights: float) -> None:
        points = [{"x": x, "y": height} for height in heights]
        screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", y)
    for step in range(1, 9):
        touch("touchMove", y + (goal - y) * step / 8)
    touch("touchEnd")
    assert ranks(page) == ["1 4", "2 1", "3 2", "4 3"]
    assert abs(page.evaluate("scrollY") - before) < 20, "the finger went over 100 pixels"
    assert answered(page, site) == {"order": [3, 0, 1, 2]}


@of({"task": "ranking", "texts": FOUR[:3]})
def test_buttons_move_a_row_and_keep_the_focus(open_page: Open, site: Site) -> None:
    page = open_page()
    page.get_by_role("button", name="Move Answer 3 up").focus()
    page.keyboard.press("Enter")
    assert ranks(page) == ["1 1", "2 3", "3 2"]
    expect(page.get_by_role("button", name="Move Answer 3 up")).to_be_focused()
    page.keyboard.press("Enter")
    assert ranks(page) == ["1 3", "2 1", "3 2"]
    expect(page.get_by_role("button", name="Move Answer 3 down")).to_be_focused()
    expect(page.locator("#announcement")).to_contain_text("Answer 3 has rank 1.")
    assert answered(page, site, "Control+Enter") == {"order": [2, 0, 1]}


# --- Scores -----------------------------------------------------------------------------------------------------


@of("rating")
def test_numbers_score_one_criterion_after_the_other(open_page: Open, site: Site) -> None:
    page = open_page()
    marked = page.locator(".scale.current legend")
    for key, label in (("8", "Helpful"), ("0", "Harmless"), ("1", "Honest")):
        expect(marked).to_contain_text(label)
        page.keyboard.press(key)
    page.get_by_role("radio", name="9", exact=True).nth(1).check()
    assert answered(page, site) == {"scores": [{"helpful": 8, "harmless": 9, "honest": 1}]}


@of("likert")
def test_all_criteria_of_all_answers_are_scored(open_page: Open, site: Site) -> None:
    """A criterion's name is shown as text; keys outside the scale are ignored; a missing score is marked."""
    page = open_page()
    assert page.locator("legend b").count() == 0
    expect(page.locator("legend", has_text="<b>kind</b> & brief")).to_have_count(2)
    for key in "9042351":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("A score is missing.")
    expect(page.locator(".scale.current")).to_be_focused()
    page.keyboard.press("5")
    first = {"overall": 4, "<b>kind</b> & brief": 2, "准确": 3}
    assert answered(page, site) == {"scores": [first, {"overall": 5, "<b>kind</b> & brief": 1, "准确": 5}]}


@of("rating")
def test_built_in_criteria_are_translated(open_page: Open, site: Site) -> None:
    page = open_page(locale="zh-CN")
    assert [legend.inner_text().split()[0] for legend in page.locator("legend").all()] == ["有用", "无害", "诚实"]


# --- Beside the answer ------------------------------------------------------------------------------------------


@pytest.mark.long
@of({"texts": ("Raw **bold** {}.", "<i>Raw</i> **bold** {}."), "confidence": True, "rewrite": True})
def test_a_rewritten_answer_is_stored(open_page: Open, site: Site) -> None:
    """The text is requested only on editing; nothing is sent before all inputs are complete."""
    page, paths = open_page(), list[str]()
    page.on("request", lambda request: paths.append(request.url.rpartition("/")[2]))
    assert "**" not in page.content()
    page.keyboard.press("e")
    expect(page.locator("#rewrite")).to_be_visible()
    index = 1 if "<i>" in page.locator("#second .text").inner_text() else 0
    page.get_by_role("button", name="Discard").click()
    page.keyboard.press(str(index + 1))
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Choose how sure you are.")
    page.keyboard.press("e")
    field = page.get_by_label("Your better version")
    expect(field).to_be_focused()
    item = field.input_value()[-2]
    expect(field).to_have_value(f"<i>Raw</i> **bold** {item}.")
    assert page.locator("i").count() == 0
    field.fill("Better 1 0 b.")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Digit4")
    assert "submit" not in paths
    field.focus()
    choice = ("first", "second")[index]
    rewrite = {"place": index, "text": "Better 1 0 b."}
    assert answered(page, site, "Control+Enter") == {"choice": choice, "rewrite": rewrite}
    assert judgements(site)[0].confidence == 0.75


@of({"texts": ("Raw **bold** {}.", "Other {}."), "rewrite": True})
def test_an_unchanged_rewrite_is_not_sent(open_page: Open, site: Site) -> None:
    page = open_page()
    page.keyboard.press("2")
    page.keyboard.press("e")
    expect(page.get_by_label("Your better version")).to_be_focused()
    assert answered(page, site, "Control+Enter") == {"choice": "second"}


@of("pair")
def test_a_short_reason_only_shows_a_hint(open_page: Open, site: Site) -> None:
    page = open_page()
    page.get_by_label("Why?").fill("好" * 19)
    expect(page.locator("#reason-hint")).to_have_text("19 of at least 20 characters")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.keyboard.press("Shift+Digit5")
    assert answered(page, site) == {"choice": "first"}


# --- What differs -----------------------------------------------------------------------------------------------


@of({"texts": ("The **dog** runs, 很慢的电影.", "The cat runs, 很好的电影.")})
def test_words_that_differ_are_marked_on_request(open_page: Open, site: Site) -> None:
    page = open_page()
    texts = page.locator("#answers .text")
    before = [texts.nth(index).inner_html() for index in range(2)]
    words = [texts.nth(index).inner_text() for index in range(2)]
    page.keyboard.press("d")
    marks = sorted(page.locator("#answers mark").all_inner_texts())
    assert {"dog", "cat"} <= set(marks)
    assert "The" not in "".join(marks)
    assert "电影" not in "".join(marks)
    assert [texts.nth(index).inner_text() for index in range(2)] == words
    page.keyboard.press("d")
    assert [texts.nth(index).inner_html() for index in range(2)] == before


@of({})
def test_the_longest_common_words_by_hand(open_page: Open, site: Site) -> None:
    """`unmatched` against all subsequences, and for texts too long for its table."""
    page = open_page()
    ask = "([a, b]) => import('/static/difference.js').then((m) => m.unmatched(a, b))"

    def common(a: str, b: str) -> int:
        some = (("".join(p) for p in itertools.combinations(a, n)) for n in range(len(a), -1, -1))
        fits = lambda part: any("".join(q) == part for q in itertools.combinations(b, len(part)))  # noqa: E731
        return next(n for n, parts in zip(range(len(a), -1, -1), some, strict=True) if any(map(fits, parts)))

    assert page.evaluate(ask, [list("abcd"), list("axcd")]) == [[1], [1]]
    assert page.evaluate(ask, [list("ab"), list("xaby")]) == [[], [0, 3]]
    for a, b in (("abcabba", "cbabac"), ("", "ab"), ("aab", "aba"), ("abab", "baba"), ("abc", "abc")):
        only_a, only_b = page.evaluate(ask, [list(a), list(b)])
        rests = [[c for n, c in enumerate(side) if n not in only] for side, only in ((a, only_a), (b, only_b))]
        assert rests[0] == rests[1]
        assert len(rests[0]) == common(a, b)
    assert page.evaluate(ask, [[str(n) for n in range(5000)], [str(-n) for n in range(5000)]]) is None


@of({"texts": ("\n\n".join(HOSTILE[:8]), "\n\n".join(HOSTILE[8:14])), "rewrite": True})
def test_hostile_texts_stay_texts_when_they_are_compared_and_edited(open_page: Open, site: Site) -> None:
    page, requests = open_page(), list[str]()
    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", lambda dialog: requests.append("a dialog"))
    page.keyboard.press("1")
    page.keyboard.press("d")
    assert page.locator("#answers mark").count() > 5
    page.keyboard.press("e")
    expect(page.get_by_label("Your better version")).to_be_focused()
    assert page.locator("main :is(a, img, form, script, iframe, style, svg)").count() == 0
    assert all(url.startswith(site.address) for url in requests)


# --- Drafts, undo, no connection --------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["browser", "server"])
@of("ranking")
def test_half_an_order_is_there_after_a_reload(open_page: Open, site: Site, where: str) -> None:
    page = open_page()
    page.keyboard.press("4")
    page.keyboard.press("2")
    page.keyboard.press("Shift+Digit3")
    if where == "server":
        leave_and_forget(page)
    else:
        page.reload()
        page.wait_for_selector("#ranks li")
    assert ranks(page) == ["1 4", "2 2", "– 1", "– 3"]
    expect(page.get_by_role("radio", name="fairly sure")).to_be_checked()


@pytest.mark.parametrize("where", ["browser", "server"])
@of({"task": "rating", "texts": ("Alone {}.",), "rewrite": True})
def test_half_a_rating_is_there_after_a_reload(open_page: Open, site: Site, where: str) -> None:
    page = open_page()
    page.keyboard.press("7")
    page.get_by_label("Why?").fill("half a thou")
    page.get_by_role("button", name="Write a better version").click()
    page.get_by_label("Your better version").fill("Mine.")
    if where == "server":
        leave_and_forget(page)
    else:
        page.reload()
    expect(page.get_by_label("Your better version")).to_have_value("Mine.")
    expect(page.get_by_label("Why?")).to_have_value("half a thou")
    for key in "65":
        page.keyboard.press(key)
    expected = {"scores": [{"helpful": 7, "harmless": 6, "honest": 5}], "rewrite": {"place": 0, "text": "Mine."}}
    assert answered(page, site) == expected


@of({"confidence": True})
def test_a_choice_that_was_not_sent_is_there_after_a_reload(open_page: Open, site: Site) -> None:
    page = open_page()
    page.keyboard.press("0")
    leave_and_forget(page)
    expect(page.locator(".choice.chosen")).to_have_attribute("data-choice", "tie")
    assert judgements(site) == []


@of("ranking")
def test_undo_shows_the_earlier_order(open_page: Open, site: Site) -> None:
    page = open_page()
    for key in ("2", "4", "1", "Shift+Digit1"):
        page.keyboard.press(key)
    press(page, "Enter", 1)
    page.keyboard.press("u")
    expect(page.locator("#correcting")).to_be_visible()
    assert ranks(page) == ["1 2", "2 4", "3 1", "4 3"]
    expect(page.get_by_role("radio", name="guessing")).to_be_checked()
    page.get_by_role("button", name="Move Answer 4 up").click()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#correcting")).to_be_hidden()
    rows = judgements(site)
    assert [row.answer["order"] for row in rows] == [[1, 3, 0, 2], [3, 1, 0, 2]]
    assert rows[1].supersedes == rows[0].id


@of("likert")
def test_undo_shows_the_earlier_scores(open_page: Open, site: Site) -> None:
    page = open_page()
    for key in "123451":
        page.keyboard.press(key)
    press(page, "Enter", 1)
    page.keyboard.press("u")
    expect(page.locator("#correcting")).to_be_visible()
    assert [one.get_attribute("value") for one in page.locator(".scale input:checked").all()] == list("123451")


@pytest.mark.long
@of("likert")
def test_scores_without_a_connection_are_sent_once(open_page: Open, site: Site) -> None:
    """The first time, the server stores them but its response is lost; the second time, they never arrive."""
    page, lost = open_page(quiet=False), list[int]()

    def lose(route: Any) -> None:
        route.fetch()
        lost.append(1)
        route.abort()

    page.route("**/api/submit", lose, times=1)
    for key in "123451":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("1 waiting to be sent")
    expect(page.locator("#status")).to_have_text("1 judged", timeout=15_000)
    assert lost == [1]
    assert len(judgements(site)) == 1
    page.context.set_offline(True)
    for key in "555555":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("1 waiting to be sent")
    page.context.set_offline(False)
    expect(page.locator("#status")).to_have_text("2 judged", timeout=15_000)
    assert [row.answer["scores"][0]["overall"] for row in judgements(site)] == [1, 5]


# --- For everybody ----------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(("width", "locale", "scheme"), [(390, "en-GB", "dark"), (1440, "zh-CN", "light")])
@pytest.mark.parametrize("site", KINDS, indirect=True)
def test_every_kind_is_accessible_and_fits(
    open_page: Open, site: Site, width: int, locale: str, scheme: str
) -> None:
    page = open_page(locale=locale, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for key in ("1", "3", "d", "e", "?", "Enter"):
        page.keyboard.press(key)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


@of({"task": "rating", "texts": ("Alone {}.",), "criteria": ["kind"], "scale": [0, 4]})
def test_scores_use_the_projects_scale(open_page: Open, site: Site) -> None:
    page = open_page()
    assert page.locator(".steps span").all_inner_texts() == ["0", "1", "2", "3", "4"]
    page.keyboard.press("0")
    assert answered(page, site) == {"scores": [{"kind": 0}]}
