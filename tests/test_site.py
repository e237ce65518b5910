"""The documentation as a site: every page in both languages, sound links, and nothing from other servers."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONFIGS = {"en": "mkdocs.yml", "zh": "mkdocs.zh.yml"}
REFERENCE = re.compile(r"""<(?:a|img|script|link)\b[^>]*?\s(?:href|src)=["']?([^"'\s>]+)""")
LOADED = re.compile(r"""<(?:img|script|link|iframe)\b[^>]*?\s(?:href|src)=["']?(?:https?:)?//""")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site_pages: Any = load_script()


class Loader(yaml.SafeLoader):
    """Reads the settings of the site; a Python object in them is `None`."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def config(language: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load((ROOT / CONFIGS[language]).read_text(encoding="utf-8"), Loader)
    return content


def pages_in(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages_in(value)


def titles_in(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        for title, value in entry.items():
            yield title
            yield from titles_in(value) if isinstance(value, list) else ()


def test_both_sites_list_every_page_once(tmp_path: Path) -> None:
    site_pages.write_pages(tmp_path, chinese=False)
    written = {page.relative_to(tmp_path).as_posix() for page in tmp_path.rglob("*.md")}
    shown = sorted(name for name in written if not name.startswith("source/"))
    for language in CONFIGS:
        assert sorted(pages_in(config(language)["nav"])) == shown
    assert list(pages_in(config("en")["nav"])) == list(pages_in(config("zh")["nav"]))


def test_sections_of_the_chinese_site_have_chinese_titles() -> None:
    english, chinese = (list(titles_in(config(language)["nav"])) for language in ("en", "zh"))
    same = {one for one, other in zip(english, chinese, strict=True) if one == other}
    algorithms = {page.stem for page in (ROOT / "docs" / "algorithms").glob("*.md")}
    assert same <= algorithms | {"Gnomon", "TextEnv"}


def test_a_link_leads_to_the_page_of_its_file() -> None:
    def moved(link: str, path: str, uri: str, *, chinese: bool = False) -> str:
        text: str = site_pages.rewrite(f"see [it]({link}).", path, uri, chinese=chinese)
        return text.removeprefix("see [it](").removesuffix(").")

    assert moved("docs/guide.md#python", "README.md", "index.md") == "guide.md#python"
    assert moved("../README.md", "docs/guide.md", "guide.md") == "index.md"
    assert moved("../dpo.md", "docs/algorithms/x/y.md", "algorithms/x/y.md") == "../dpo.md"
    assert moved("../../recipes/smoke.yaml", "docs/algorithms/dpo.md", "algorithms/dpo.md") == (
        "../source/recipes/smoke.yaml.md"
    )
    assert moved("../gnomon/stages", "docs/recipes.md", "recipes.md") == "source/gnomon/stages.md"
    assert moved("pictures/prices.png", "docs/log.md", "log.md") == "pictures/prices.png"
    assert moved("../deploy/README.zh-CN.md", "docs/guide.zh-CN.md", "guide.md", chinese=True) == "deploy.md"
    assert moved("guide.zh-CN.md#数据", "docs/architecture.zh-CN.md", "architecture.md", chinese=True) == (
        "guide.md#数据"
    )
    assert moved("guide.md#data", "docs/recipes.md", "recipes.md", chinese=True) == "guide.md"
    for unchanged in ("https://example.com/a.md#b", "#data", "mailto:ann@example.com", "absent.md"):
        assert moved(unchanged, "docs/guide.md", "guide.md") == unchanged


def test_code_and_the_switch_of_languages_are_not_links_of_a_page() -> None:
    switch = "[中文](guide.zh-CN.md)"
    text = f"# A\n\n{switch} · more\n{switch}\n\n```\n[x](recipes.md)\n```\n[x](recipes.md)\n"
    written = site_pages.rewrite(text, "docs/guide.md", "a/guide.md", chinese=False)
    assert written == "# A\n\nmore\n\n```\n[x](recipes.md)\n```\n[x](../recipes.md)\n"


def test_items_inside_items_are_indented_as_the_site_needs_it() -> None:
    text = "1. a\n   - b\n2. c\n\n```\n  - d\n```\n"
    written = site_pages.rewrite(text, "docs/guide.md", "guide.md", chinese=False)
    assert written == "1. a\n    - b\n2. c\n\n```\n  - d\n```\n"


def test_a_page_is_chinese_where_there_is_a_translation(tmp_path: Path) -> None:
    site_pages.write_pages(tmp_path, chinese=True)
    assert "基础模型" in (tmp_path / "glossary.md").read_text(encoding="utf-8")
    assert (tmp_path / "log.md").read_text(encoding="utf-8").startswith("# ")
    assert not list(tmp_path.rglob("*.zh-CN.md"))
    assert (tmp_path / "pictures" / "prices.png").is_file()


def test_docstrings_of_the_reference_are_read_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    import griffe

    modules = [name for _, names in site_pages.API.values() for name in names]
    with caplog.at_level(logging.WARNING):
        for name in modules:
            path = ROOT / f"{name.replace('.', '/')}.py"
            parse_all(griffe.visit(name, filepath=path, code=path.read_text(encoding="utf-8")))
    assert [record.message for record in caplog.records] == []


def parse_all(one: Any) -> None:
    """Parse the docstrings of an object and of all in it."""
    if one.docstring is not None:
        one.docstring.parse("google")
    for member in one.members.values():
        if not member.is_alias:
            parse_all(member)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sites, built as `make docs` does; a warning fails the build."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("mkdocs.base.yml", *CONFIGS.values()):
        shutil.copy(ROOT / name, folder)
    zensical = Path(sys.executable).with_name("zensical")
    commands = [[sys.executable, str(ROOT / "docs" / "site_pages.py"), "build/pages"]]
    commands += [[str(zensical), "build", "--strict", "--config-file", name] for name in CONFIGS.values()]
    for command in commands:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=250
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.mark.long
def test_the_site_loads_nothing_from_other_servers_and_has_what_it_refers_to(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 100
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not LOADED.search(text), page
        for target in REFERENCE.findall(text):
            path = unquote(target.partition("#")[0].partition("?")[0])
            if path and "://" not in path and not path.startswith(("mailto:", "data:")):
                assert (page.parent / path).exists() or page.name == "404.html", (page, target)


@pytest.mark.long
@pytest.mark.parametrize(("part", "words"), [("", "Your model, your data"), ("zh", "你的模型，你的数据")])
def test_each_site_has_a_search_of_its_language_and_the_reference(site: Path, part: str, words: str) -> None:
    found = json.loads((site / part / "search.json").read_text(encoding="utf-8"))
    titles = {item["title"] for item in found["items"]}
    assert words in titles
    assert any(item["location"].startswith("api/training.html") for item in found["items"])
    assert not any(item["location"].startswith("source/") for item in found["items"])
    assert "load_recipe" in (site / part / "api" / "training.html").read_text(encoding="utf-8")
