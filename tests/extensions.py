"""The example of docs/extending.md, as files and as an installed package."""

from __future__ import annotations

import json
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMES = {"shorten.py:Shorten": "shorten", "focal.py:Focal": "focal", "rewards.py:Brevity": "brevity"}


def blocks(page: str = "extending.md") -> dict[str, str]:
    """The files that a page shows, by name."""
    return dict(BLOCK.findall((DOCS / page).read_text(encoding="utf-8")))


def write_example(folder: Path) -> Path:
    """Write the page's files and some data into a folder; returns the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in blocks().items():
        (folder / name).write_text(content, encoding="utf-8")
    rows = [{"prompt": f"q{n}", "completion": "a long answer, " * n + "the end"} for n in range(6)]
    (folder / "demonstrations.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    prompts = "".join(json.dumps({"prompt": f"q{n}"}) + "\n" for n in range(2))
    (folder / "prompts.jsonl").write_text(prompts, encoding="utf-8")
    return folder / "recipe.yaml"


def install(site: Path, package: str, groups: dict[str, dict[str, str]], files: dict[str, str]) -> None:
    """Install a package into a folder of `sys.path`: its modules, and its metadata with entry points.

    Args:
        site: the folder.
        package: the package's import name.
        groups: entry points by group and name.
        files: the package's modules by file name.
    """
    (site / package).mkdir(parents=True)
    for name, content in {"__init__.py": "", **files}.items():
        (site / package / name).write_text(content, encoding="utf-8")
    info = site / f"{package}-0.1.0.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 0.1.0\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def install_example(site: Path) -> None:
    """Install the page's classes under the entry points of its `pyproject.toml`."""
    toml = blocks()["pyproject.toml"]
    groups = {
        group: dict(re.findall(r'^(\w+) = "(.+)"$', body, re.MULTILINE))
        for group, body in re.findall(r'^\[project\.entry-points\."(.+)"\]\n((?:\w.*\n)+)', toml, re.MULTILINE)
    }
    files = {name: content for name, content in blocks().items() if name.endswith(".py")}
    install(site, "gnomon_shorten", groups, files)


def by_names(recipe: Path) -> None:
    """Rewrite the example's recipe to use the names of the package instead of files."""
    text = recipe.read_text(encoding="utf-8")
    for spec, name in NAMES.items():
        text = text.replace(spec, name)
    recipe.write_text(text, encoding="utf-8")
