"""Rendering untrusted texts as HTML: only elements of an allow-list appear."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st

from gnomon.web.markdown import as_html

ALLOWED = {
    "p", "br", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "table", "thead", "tbody",
    "tr", "th", "td", *(f"h{n}" for n in range(1, 7)),
}  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil.example/pixel.png)",
    "[click](javascript:alert(1))",
    "[click]: javascript:alert(1)\n\n[click]",
    "<https://evil.example>",
    "<svg/onload=alert(1)>",
    "</div></main><form action=http://evil.example><button>Begin",
    "<style>*{display:none}</style>",
    "```html\n</code></pre><script>alert(1)</script>\n```",
    '``` "onmouseover=alert(1)\nx\n```',
    "| a |\n|---|\n| <iframe src=//evil.example> |",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<!--<script>-->alert(1)<!--</script>-->",
    "\ud800 half a pair",
    "<base href=//evil.example>",
]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


def check(html: str) -> None:
    tags = Tags()
    tags.feed(html)
    for tag, attributes in tags.found:
        assert tag in ALLOWED
        for name, value in attributes:
            assert (tag, name) in {("code", "class"), ("ol", "start"), ("th", "style"), ("td", "style")}
            assert name != "style" or value in ("text-align:left", "text-align:center", "text-align:right")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_stay_texts(text: str) -> None:
    check(as_html(text))


@given(st.text(alphabet=st.sampled_from("<>&\"'`[]()!|-*_#=/ \nax:"), max_size=80))
def test_random_markup_stays_within_the_allow_list(text: str) -> None:
    check(as_html(text))


def test_markdown_and_code_are_rendered() -> None:
    html = as_html(
        "**bold** *and*\n\n1. one\n2. 二\n\n```python\nif a < b: pass\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    for part in ("<strong>bold</strong>", "<em>and</em>", "<li>二</li>", "if a &lt; b: pass", "<td>1</td>"):
        assert part in html


def test_text_without_markup_is_unchanged() -> None:
    assert as_html('5 < 6 & 7 > 3 "said"') == "<p>5 &lt; 6 &amp; 7 &gt; 3 &quot;said&quot;</p>\n"
    assert as_html("one\ntwo") == "<p>one<br />\ntwo</p>\n"
    assert as_html("&amp; stays") == "<p>&amp;amp; stays</p>\n"
