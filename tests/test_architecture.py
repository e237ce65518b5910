"""The page on architecture names every package and only files that exist; the glossaries have the same terms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = ("architecture.md", "architecture.zh-CN.md")
NAMED = re.compile(r"`(gnomon/[\w/.]*)`")
ROW = re.compile(r"^\| `(gnomon/[\w/]*)` \| (.+) \|$", re.MULTILINE)
TERM = re.compile(r"^\| \*\*(.+)\*\* \| (.+?) \| (.+) \|$", re.MULTILINE)


def packages(root: Path) -> set[str]:
    """The packages below a folder and the folders in them, not what lies deeper."""
    folders = [path.parent for path in root.rglob("__init__.py") if path.parent != root]
    names = {path.relative_to(root.parent).as_posix() for path in folders}
    return {name for name in names if name.count("/") <= 2}


def sections(text: str) -> list[str]:
    """The parts of a page, one a heading."""
    return re.split(r"^## ", text, flags=re.MULTILINE)


def route_files(route: str) -> set[str]:
    """The files that the page's section on a route names."""
    headings = {"vote": "A vote", "pair": "A pair", "round": "A round"}
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    (section,) = (part for part in sections(text) if part.startswith(headings[route]))
    return {name for name in NAMED.findall(section) if name.endswith(".py")}


@pytest.mark.parametrize("page", PAGES)
def test_every_package_has_one_sentence_and_every_file_exists(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    rows = ROW.findall(text)
    assert sorted(name for name, _ in rows) == sorted(packages(ROOT / "gnomon"))
    assert all(sentence.endswith((".", "。")) for _, sentence in rows)
    assert [name for name in NAMED.findall(text) if not (ROOT / name).exists()] == []
    picture = text.split("```")[1]
    for name, _ in rows:
        assert re.search(rf"\b{name.split('/')[1]}\b", picture), name


def test_both_languages_name_the_same_files() -> None:
    english, chinese = (NAMED.findall((DOCS / page).read_text(encoding="utf-8")) for page in PAGES)
    assert [sorted(set(english)), len(english)] == [sorted(set(chinese)), len(chinese)]


@pytest.mark.parametrize("route", ["vote", "pair", "round"])
def test_a_route_is_followed_through_files(route: str) -> None:
    """Whether they run on it is checked beside `benchmarks/routes.py`."""
    assert len(route_files(route)) >= 10


def test_both_glossaries_have_the_same_terms_once() -> None:
    english = TERM.findall((DOCS / "glossary.md").read_text(encoding="utf-8"))
    chinese = TERM.findall((DOCS / "glossary.zh-CN.md").read_text(encoding="utf-8"))
    assert [(one, other) for one, other, _ in english] == [(one, other) for other, one, _ in chinese]
    assert len(english) >= 40
    for position in (0, 1):
        words = [row[position] for row in english]
        assert len(set(words)) == len(words)
    assert [term for term, _, meaning in english if not meaning.endswith(".")] == []


def test_packages_that_no_page_names_are_seen(tmp_path: Path) -> None:
    for folder in ("a", "a/b", "a/b/c", "d/e"):
        (tmp_path / "little" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "little" / folder / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "little" / "__init__.py").write_text("", encoding="utf-8")
    assert packages(tmp_path / "little") == {"little/a", "little/a/b", "little/d/e"}
