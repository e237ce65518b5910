"""Values in Markdown stay values, whatever characters they hold."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from gnomon.models.cards.markdown import code, fence, table

HOSTILE = [
    "plain",
    "a`b``c",
    "`",
    "a|b",
    "---",
    "\n---\nlicense: mit",
    "<script>alert(1)</script>",
    "[a](https://example.com) **b** #c",
    "\u202egnp.exe",
    "\x00\x1b[31m\ud800",
    "花样年华",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_in_a_table_is_one_code_span(value: str) -> None:
    html = MarkdownIt("commonmark").enable("table").render(table(("name", "value"), [("x", code(value))]))
    assert html.count("<td>") == 2
    (cell,) = [part.split("</td>")[0] for part in html.split("<td>")[2:]]
    assert cell.startswith("<code>")
    assert cell.endswith("</code>")
    assert cell.count("<") == 2  # no other tag


def test_a_value_is_shown_as_it_is() -> None:
    assert code("a`b|c") == "``a`b\\|c``"
    assert code("`") == "`` ` ``"
    assert code("one\ntwo\t three") == "`one two three`"
    assert code("") == code("\n\x00") == ""
    assert code("x" * 301) == f"`{'x' * 299}…`"


def test_a_value_has_no_password() -> None:
    assert code("postgresql://ann:hunter2@host/db") == "`postgresql://ann:***@host/db`"


@pytest.mark.parametrize("text", ["a\n```\n# b", "````\n<b>", "~~~\n```yaml\nx", "plain", "a\x00b\n\u2028c"])
def test_no_line_ends_a_block_before_its_end(text: str) -> None:
    (block,) = MarkdownIt("commonmark").parse(fence(text, "yaml"))
    assert (block.type, block.info) == ("fence", "yaml")
    assert block.content.splitlines() == text.replace("\x00", " ").replace("\u2028", " ").splitlines()
