"""Writes the pages of the documentation site, in English and in Chinese, from the repository's own pages.

    python docs/site_pages.py build/pages

In the Chinese site `page.zh-CN.md` takes the place of `page.md`; a page without a translation stays English.
README, contributing, changelog and deployment are pages too, and a link to a file or folder of the source leads
to a page that shows it. `mkdocs.yml` and `mkdocs.zh.yml` build the sites; `make docs` does it all.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs"
TWIN = ".zh-CN.md"
# Pages outside of docs/, by their path in the repository.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "deploy/README.md": "deploy.md",
}
# Pages of the reference: a title, and the modules whose docstrings they show.
API = {
    "training": ("Recipes and training", ("gnomon.api.recipes", "gnomon.api.training")),
    "inference": ("Models: sample, score, chat", ("gnomon.api.inference",)),
    "feedback": (
        "Feedback",
        ("gnomon.api.feedback.projects", "gnomon.api.feedback.automation", "gnomon.api.feedback.server"),
    ),
    "algorithms": ("Contract of an algorithm", ("gnomon.algorithms.contract",)),
    "stages": ("Contract of a kind of stage", ("gnomon.stages.contract",)),
    "errors": ("Errors", ("gnomon.core.errors",)),
}
SOURCES = "source"  # folder of pages that show files of the source
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml", "": "text"}
FENCE = re.compile(r"^(?P<marks>`{3,})[^\n]*\n.*?^(?P=marks)$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\])\((?P<target>[^)\s]+)\)")
SWITCH = re.compile(
    r"^\[(?:中文|English)\]\([^)\s]+\)(?:\n| · )", re.MULTILINE
)  # the site has a switch of its own
NESTED = re.compile(
    r"^ {2,3}(?=[-*] |\d+\. )", re.MULTILINE
)  # an item inside an item, which needs four blanks there


def write_pages(folder: Path, *, chinese: bool) -> None:
    """Write all pages and pictures of one site.

    Args:
        folder: to write into; what is in it is removed.
        chinese: whether to take translations where there are any.
    """
    if folder.exists():
        shutil.rmtree(folder)
    for path, uri in _pages().items():
        twin = path.removesuffix(".md") + TWIN
        own = twin if chinese and (ROOT / twin).is_file() else path
        _write(folder / uri, rewrite(_read(own), own, uri, chinese=chinese))
    for name, page in API.items():
        _write(folder / "api" / f"{name}.md", _reference(*page))
    for path in _linked_sources():
        _write(folder / SOURCES / f"{path}.md", _source(path))
    for picture in (ROOT / DOCS).rglob("*.png"):
        target = folder / picture.relative_to(ROOT / DOCS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)


def _pages() -> dict[str, str]:
    """The path in the site of each page but for translations, by its path in the repository."""
    own = [page.relative_to(ROOT).as_posix() for page in sorted((ROOT / DOCS).rglob("*.md"))]
    return PAGES | {path: path.removeprefix(f"{DOCS}/") for path in own if not path.endswith(TWIN)}


def rewrite(text: str, path: str, uri: str, *, chinese: bool) -> str:
    """The text of a page with its links as they are in the site.

    Args:
        text: of the page.
        path: of its file in the repository.
        uri: of the page in the site.
        chinese: whether the site is the Chinese one.
    """

    def moved(match: re.Match[str]) -> str:
        target, mark, fragment = match["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        page = _page_of(file)
        if page is None:
            return match[0]  # strict mode names it
        translated = (ROOT / (file.removesuffix(".md") + TWIN)).is_file()
        if chinese and translated and not path.endswith(TWIN):
            mark = fragment = ""  # headings of the Chinese page have other names
        return f"({posixpath.relpath(page, posixpath.dirname(uri) or '.')}{mark}{fragment})"

    def prose(part: str) -> str:
        return NESTED.sub("    ", LINK.sub(moved, part))

    parts, end = [], 0
    text = SWITCH.sub("", text)
    for fence in FENCE.finditer(text):
        parts += [prose(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, prose(text[end:])])


def _page_of(file: str) -> str | None:
    """The path in the site of a file of the repository, `None` where there is none."""
    original = file.removesuffix(TWIN) + ".md" if file.endswith(TWIN) else file
    if original in PAGES:
        return PAGES[original]
    if not (ROOT / file).exists():
        return None
    if original.startswith(f"{DOCS}/") and not original.endswith(".py"):
        return original.removeprefix(f"{DOCS}/")
    return f"{SOURCES}/{file}.md"


def _linked_sources() -> tuple[str, ...]:
    """The files of the source to which pages link."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")]
    linked = set()
    for page in pages:
        path = page.relative_to(ROOT).as_posix()
        for match in LINK.finditer(FENCE.sub("", _read(path))):
            target = match["target"].partition("#")[0]
            file = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if target and "://" not in target and (_page_of(file) or "").startswith(f"{SOURCES}/"):
                linked.add(file)
    return tuple(sorted(linked))


def _source(path: str) -> str:
    """A page that shows a file of the source or lists a folder, and that the search leaves out."""
    if (ROOT / path).is_dir():
        names = sorted(entry.name for entry in (ROOT / path).iterdir() if entry.name != "__pycache__")
        text = "\n".join(names)
    else:
        text = _read(path)
    marks = "`" * max(3, max((len(run) + 1 for run in re.findall("`+", text)), default=3))
    language = LANGUAGES.get(Path(path).suffix, "text")
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n"
    return text if path.endswith(".md") else f"{head}{marks}{language}\n{text}\n{marks}\n"


def _reference(title: str, modules: tuple[str, ...]) -> str:
    return f"# {title}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for language in ("en", "zh"):
        write_pages(Path(sys.argv[1]) / language, chinese=language == "zh")
