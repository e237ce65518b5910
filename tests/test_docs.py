"""What the documents say is so: links, anchors, paths, recipes and commands; and twins in two languages agree."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from typer.main import get_command

from gnomon.algorithms.contract import algorithms
from gnomon.cli.main import app
from gnomon.core.experience import Experience
from gnomon.core.ranges import Range
from gnomon.pipeline.recipe import load_recipe

ROOT = Path(__file__).parents[1]
ABOUT = ROOT / "docs" / "algorithms"
PICTURES = ROOT / "docs" / "pictures"
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/**/*.md"), *ROOT.glob("deploy/*.md")]
)
TWINS = [
    ("README.md", "README.zh-CN.md"),
    ("docs/guide.md", "docs/guide.zh-CN.md"),
    ("docs/architecture.md", "docs/architecture.zh-CN.md"),
    ("docs/glossary.md", "docs/glossary.zh-CN.md"),
    ("docs/data.md", "docs/data.zh-CN.md"),
    ("docs/rewards.md", "docs/rewards.zh-CN.md"),
    ("deploy/README.md", "deploy/README.zh-CN.md"),
    ("docs/algorithms/README.md", "docs/algorithms/README.zh-CN.md"),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
PATH = re.compile(r"(?:gnomon|tests|docs|recipes|benchmarks|\.ci)/[\w./-]*")
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|Users|mnt)/")


def anchor(heading: str) -> str:
    """The name under which GitHub finds a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def prose(text: str) -> str:
    return FENCE.sub("", text)


def link_faults(page: Path) -> Iterator[str]:
    """Relative links to what is not there, and anchors that no heading has."""
    for target in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, wanted = target.partition("#")
        found = (page.parent / name) if name else page
        if not found.exists():
            yield f"{page.name}: {target} is not there"
        elif wanted and wanted not in map(anchor, HEADING.findall(prose(found.read_text(encoding="utf-8")))):
            yield f"{page.name}: no heading {target}"


def path_faults(page: Path) -> Iterator[str]:
    """Files and folders of the repository that a page names as code but that are not there."""
    for code in CODE.findall(prose(page.read_text(encoding="utf-8"))):
        if PATH.fullmatch(code) and not (ROOT / code).exists():
            yield f"{page.name}: {code} is not there"


def recipes_in(page: Path) -> list[str]:
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    return [content for language, content in blocks if language in ("yaml", "yml") and "stages:" in content]


def commands_in(page: Path) -> set[tuple[str, ...]]:
    """What follows `gnomon` in code, up to two words: a command, or a group and its command."""
    text = page.read_text(encoding="utf-8")
    spans = [
        *CODE.findall(prose(text)),
        *(line for _, content in FENCE.findall(text) for line in content.split("\n")),
    ]
    words = [re.search(r"(?:^|/|-m )gnomon ([a-z][\w-]*)(?: ([a-z][\w-]*)(?= |$))?", span) for span in spans]
    return {tuple(word for word in found.groups() if word) for found in words if found}


def is_command(words: tuple[str, ...]) -> bool:
    """Whether the command line knows the first word; of a group, also the second."""
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    found = group.commands.get(words[0])
    below = getattr(found, "commands", None)
    return found is not None and (
        below is None or hasattr(found, "default_command") or (len(words) > 1 and words[1] in below)
    )


SHOWN_FILE = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shape(page: Path) -> dict[str, int]:
    """Counts that a translation keeps."""
    text = page.read_text(encoding="utf-8")
    plain = prose(text)
    return {
        "headings": len(HEADING.findall(plain)),
        "table rows": len(re.findall(r"^\|", plain, re.MULTILINE)),
        "list items": len(re.findall(r"^(?:-|\d+\.) ", plain, re.MULTILINE)),
        "code blocks": len(FENCE.findall(text)),
        "links": len([t for t in LINK.findall(plain) if "guide" not in t and "README" not in t]),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_page_speaks_of_what_is_there(page: Path) -> None:
    assert [*link_faults(page), *path_faults(page)] == []
    assert {words for words in commands_in(page) if not is_command(words)} == set()
    assert not MACHINE.search(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "page", [p for p in PAGES if recipes_in(p)], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_a_recipe_in_a_page_is_right(page: Path, tmp_path: Path) -> None:
    for name, content in SHOWN_FILE.findall(page.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    for content in recipes_in(page):
        written = tmp_path / "recipe.yaml"
        written.write_text(content, encoding="utf-8")
        assert load_recipe(written).stages


def test_the_table_of_ranges_is_what_the_code_declares() -> None:
    ranges: Any = runpy.run_path(str(ROOT / "docs" / "ranges.py"))
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert ranges["with_table"](page) == page, "run python docs/ranges.py"
    assert "| `settings.gamma` (ppo, reinforce, reinforce_pp) | 0 … 1 |" in page
    assert "`training.steps` (online)" in page
    pairs = [
        (Range("", ge=0, lt=2**63), "0 … (2^63)"),
        (Range("", gt=0, le=0.5), "(0) … 0.5"),
        (Range(""), "any"),
    ]
    assert [ranges["bounds"](allowed) for allowed, _ in pairs] == [words for _, words in pairs]


@pytest.mark.parametrize(("english", "chinese"), TWINS)
def test_both_languages_have_the_same_parts(english: str, chinese: str) -> None:
    assert shape(ROOT / english) == shape(ROOT / chinese)
    both = [FENCE.findall((ROOT / name).read_text(encoding="utf-8")) for name in (english, chinese)]
    for (kind, first), (other, second) in zip(*both, strict=True):
        assert kind == other
        if kind in ("yaml", "python"):  # comments apart, code is code in any language
            assert [re.sub(r" *#.*", "", c) for c in first.split("\n")] == [
                re.sub(r" *#.*", "", c) for c in second.split("\n")
            ]


def in_code(*pages: Path) -> set[str]:
    """Every single word that pages set as code."""
    return {code for page in pages for code in CODE.findall(prose(page.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("name", algorithms())
def test_every_algorithm_has_a_page_and_a_line_in_the_index(name: str) -> None:
    """Its settings, and what it asks of the loop, are in the page or among those that algorithms share."""
    kind = cast(Any, algorithms()[name])
    page = ABOUT / f"{name}.md"
    assert page.read_text(encoding="utf-8").startswith(f"# {name}: ")
    for index in ("README.md", "README.zh-CN.md"):
        assert f"| [{name}]({name}.md) |" in (ABOUT / index).read_text(encoding="utf-8")
    said = in_code(page, ABOUT / "options.md")
    assert {field.name for field in fields(kind)} <= said
    text = page.read_text(encoding="utf-8")
    assert {key for key in kind.loop_defaults if key not in text} == set()


@pytest.mark.parametrize("name", algorithms())
def test_every_metric_of_a_loss_is_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "algorithms")
    cases = importlib.import_module("cases")
    algorithm = algorithms()[name]()
    models = cases.models_for(algorithm)
    _, metrics = algorithm.loss(models, cases.batch_for(algorithm, models))
    assert set(metrics) <= in_code(ABOUT / f"{name}.md", ABOUT / "metrics.md")


def test_every_metric_of_the_loops_is_explained(
    tmp_path: Path, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "training")
    loops = importlib.import_module("loops")
    loops.online(tmp_path / "online", words).run()
    loops.offline(tmp_path / "offline")
    found: set[str] = set()
    for folder in ("online", "offline"):
        rows = (tmp_path / folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        found |= {name for row in rows for name in json.loads(row)}
    assert {"kl", "skipped_updates", "tokens_per_second", "grad_norm"} <= found
    assert found - {"step", "time"} <= in_code(ABOUT / "metrics.md")


UNTRIED = "not been run on the real model"


@pytest.mark.parametrize("name", [*algorithms(), "hybrid"])
def test_every_page_shows_the_run_of_its_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its picture, and the figures that `docs/pictures/recipes.json` holds; or that there are none."""
    monkeypatch.setattr(sys, "path", [str(PICTURES), *sys.path])
    found = json.loads((PICTURES / "recipes.json").read_text(encoding="utf-8")).get(name)
    text = (ABOUT / f"{name}.md").read_text(encoding="utf-8")
    assert (UNTRIED in text) == (found is None)
    if found is None:
        return
    assert f"(../pictures/recipes/{name}.png)" in text
    assert importlib.import_module("recipes").line(found) in " ".join(text.split())


def test_the_proof_page_says_what_was_measured() -> None:
    """Its tables are those of `docs/pictures/measured.json`."""
    page = (ROOT / "docs" / "correctness.md").read_text(encoding="utf-8")
    measured = json.loads((PICTURES / "measured.json").read_text(encoding="utf-8"))
    online = {name for name, kind in algorithms().items() if cast(Any, kind).consumes is Experience}
    assert set(measured["distances"]) == online
    for name, curves in measured["distances"].items():
        ends = " | ".join(f"{curve[-1]:.4f}" for curve in curves)
        assert f"| `{name}` | {ends} |" in page
    for name, (cosine, length) in measured["directions"].items():
        assert f"| {cosine:.4f} | {length:.4f} |" in page, name
    for name, ends in measured["best completions"].items():
        assert f"| `{name}` | {' | '.join(f'{end:.4f}' for end in ends)} |" in page
    for name, (share, *moved) in measured["drift"].items():
        wrong, right = (f"{moved[i]:+.3f} ± {moved[i + 1]:.3f}".replace("-", "−") for i in (0, 2))
        assert f"| `{name}` | {share:.3f} | {wrong} | {right} |" in page
    page += "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("performance.md", "rewards.md")
    )
    for picture in PICTURES.glob("*.png"):
        assert f"(pictures/{picture.name})" in page


def test_what_seeds_reach_is_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of `docs/pictures/seeds.json` stands on the page as its script makes it."""
    monkeypatch.setattr(sys, "path", [str(PICTURES), *sys.path])
    script = importlib.import_module("seeds")
    assert script.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2.4841), abs=1e-4)  # t = 4.3027, s/√3 = 0.5774
    found = json.loads((PICTURES / "seeds.json").read_text(encoding="utf-8"))
    assert script.table(found) in (ROOT / "docs" / "correctness.md").read_text(encoding="utf-8")


def test_what_prices_buy_is_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of `prices.json`."""
    monkeypatch.setattr(sys, "path", [str(PICTURES), *sys.path])
    script = importlib.import_module("prices")
    assert {(name, price) for name, price, _, _ in script.planned()} == {
        *(("ppo", price) for price in script.PPO),
        *(("dpo", price) for price in script.DPO),
    }
    found = json.loads((PICTURES / "prices.json").read_text(encoding="utf-8"))
    assert script.table(found) in (ROOT / "docs" / "correctness.md").read_text(encoding="utf-8")


def test_speed_and_memory_are_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of `benchmarks/results.json`."""
    monkeypatch.setattr(sys, "path", [str(PICTURES), *sys.path])
    script = importlib.import_module("bench")
    found = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for mine in (found, found["float32"]):
        assert script.goals(mine) in page
        for data in script.DATA:
            assert script.table(mine, data) in page


@pytest.mark.long
@pytest.mark.slow
def test_the_expected_gradients_are_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(PICTURES), *sys.path])
    found = importlib.import_module("make").directions()
    measured = json.loads((PICTURES / "measured.json").read_text(encoding="utf-8"))["directions"]
    assert set(found) == set(measured)
    for name, pair in measured.items():
        assert found[name] == pytest.approx(pair, abs=2e-4), name


def test_the_pages_hold_what_is_checked() -> None:
    """The patterns find something, or the checks above would pass on anything."""
    names = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert {"README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/guide.md"} <= names
    guide = ROOT / "docs" / "guide.md"
    assert len(recipes_in(guide)) == 3
    assert {("run",), ("check",), ("report",), ("data", "inspect")} <= commands_in(guide)
    assert all(is_command(words) for words in [("run",), ("data", "inspect")])
    assert not any(is_command(words) for words in [("walk",), ("data",), ("data", "forget")])


def test_faults_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    lines = [
        "# A heading: one, two",
        "[gone](absent.md) [here](#a-heading-one-two) [no](#another) [far](https://example.org/x)",
        "`gnomon/absent.py` `gnomon/core` `gnomon walk far` and `gnomon run recipe.yaml`",
        "```sh",
        "gnomon data forget x",
        "```",
    ]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert list(link_faults(page)) == ["page.md: absent.md is not there", "page.md: no heading #another"]
    assert list(path_faults(page)) == ["page.md: gnomon/absent.py is not there"]
    assert commands_in(page) == {("walk", "far"), ("run",), ("data", "forget")}
    assert anchor("What is proved, and how") == "what-is-proved-and-how"
    assert anchor("两条命令") == "两条命令"
    assert MACHINE.search("in /home/ann/models")
    assert not MACHINE.search("see https://example.org/home/ann and runs/tmp/x")
