"""The page of rendered records: escaped, without scripts, in both languages; and the command that writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from project import Ran, write_rows
from tiny import byte_tokenizer

import gnomon
from gnomon.core.errors import ConfigError
from gnomon.core.translations import LANGUAGES
from gnomon.data.rendering.pieces import render_file
from gnomon.reporting.rendering_page import page_of

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&lt;"
ROWS: list[dict[str, Any]] = [
    {"prompt": HOSTILE, "chosen": f"a {HOSTILE}", "rejected": "b"},
    {"prompt": "Q", "chosen": "a", "rejected": "a"},
]


class Elements(HTMLParser):
    """Names of all elements, and the text of the elements of each class."""

    def __init__(self, page: str):
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "span":
            self.open.append(str(dict(attrs).get("class")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))


@pytest.fixture
def page(tmp_path: Path) -> str:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return page_of(render_file(tmp_path / "rows.jsonl", byte_tokenizer(chat=True), 5), "<model>", "zh")


def test_texts_are_escaped_and_nothing_is_loaded(page: str) -> None:
    elements = Elements(page)
    assert not elements.names & {"script", "img", "link", "iframe", "form", "object"}
    assert not [name for name in elements.attributes if name.startswith("on") or name in ("src", "href")]
    assert "default-src 'none'" in page
    assert ("trained", f"a {HOSTILE}") in elements.texts
    assert elements.texts.count(("stop", "<|im_end|>")) == 2
    assert "&lt;model&gt;" in page


def test_both_sides_the_reason_and_both_languages_are_there(page: str) -> None:
    elements = Elements(page)
    words = {text.strip() for _, text in elements.texts}
    assert {"Chosen", "选中", "Rejected", "落选", "stop", "结束"} <= words
    assert "two completions have the same tokens; remove the preference" in page
    assert re.search(r'id="language-zh" checked', page)
    for tag in LANGUAGES.values():
        assert f'lang="{tag}"' in page
    assert "prefers-color-scheme: dark" in page


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    byte_tokenizer(chat=True).save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    return folder


def test_the_command_prints_writes_a_page_and_keeps_an_existing_one(
    ask: Callable[..., Ran], tmp_path: Path, model: Path
) -> None:
    file, html = tmp_path / "rows.jsonl", tmp_path / "page.html"
    write_rows(file, ROWS)
    code, out, _ = ask("data", "render", file, "--model", model, "--rows", 1)
    assert (code, out.count("line 1, ")) == (0, 2)
    assert "⟦b⟧⟨<|im_end|>⟩" in out
    code, out, _ = ask("data", "render", file, "--model", model, "--json")
    assert (code, len(json.loads(out)["records"])) == (0, 2)
    code, out, _ = ask("data", "render", file, "--model", model, "--html", html)
    assert (code, out) == (0, f"2 rows in {html}\n")
    code, _, error = ask("data", "render", file, "--model", model, "--html", html)
    assert code == 2
    assert "page.html exists; give another --html, or --overwrite." in error
    assert ask("data", "render", file, "--model", model, "--html", html, "--overwrite")[0] == 0


def test_the_call_refuses_its_own_input_and_other_languages(tmp_path: Path, model: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_rows(file, ROWS)
    with pytest.raises(ConfigError, match="give another --html"):
        gnomon.data_render(file, model=str(model), html=file, overwrite=True)
    with pytest.raises(ConfigError, match="A page cannot be in 'fr'; choose one of en, zh"):
        gnomon.data_render(file, model=str(model), language="fr")
    rendered = gnomon.data_render(file, model=str(model), rows=1, chat_template="plain")
    (record,) = rendered.records
    assert record.sequences[1].pieces[0].text.endswith("\n\nAssistant:")
