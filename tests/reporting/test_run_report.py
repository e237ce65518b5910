from __future__ import annotations

import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up_run import evaluation, feedback, make_run, offline_metrics, ppo_metrics, training, write_stage

import gnomon.reporting
from gnomon.algorithms.contract import algorithms
from gnomon.core.errors import ConfigError, RunError
from gnomon.core.translations import texts_in
from gnomon.evaluation.results import Check, WinRate
from gnomon.reporting.figures import CURVES
from gnomon.reporting.formatting import duration, number, percent, text_or_name
from gnomon.reporting.run_reader import Language, read_run
from gnomon.reporting.run_report import write_report
from gnomon.reporting.verdict import judge_run
from gnomon.stages.common.results import ComparisonResult, JudgeResult

SOURCES = Path(gnomon.reporting.__file__).parent


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path)


def page(run: Path, language: Language = "en") -> str:
    return write_report(run, language=language).read_text(encoding="utf-8")


# --- What reaches the page -----------------------------------------------------------------------------------


def test_the_report_shows_the_figures_of_every_stage(run: Path) -> None:
    content = page(run)
    for figure in (
        "198,313",
        "0.68",
        "[0.67, 0.69]",
        "80%",
        "[74%, 86%]",
        "0.031",
        "134.5M",
        "1 h 23 min",
        "a1" * 32,
    ):
        assert figure in content
    assert content.count("<figure>") == 2 + 2 + 9 + 3 + 2 + 3


def test_a_hybrids_curves_are_those_of_its_phases(run: Path) -> None:
    before = page(run).count("<figure>")
    result = training("dpo → ppo", 900, 60) | {"phases": {"warm-up": {}, "main": {}, "../sft": {}}}
    write_stage(run, "aligned", result)
    (run / "aligned" / "metrics.jsonl").unlink()
    write_stage(run / "aligned", "warm-up", {}, offline_metrics(20))
    write_stage(run / "aligned", "main", {}, ppo_metrics(40))
    content = page(run)
    shown = content[content.index("aligned/warm-up") :]
    assert content.count("<figure>") == before + 2  # loss and accuracy of the first phase
    assert shown.index("Accuracy on pairs") < shown.index("aligned/main") < shown.index("Entropy")
    assert "../sft" not in content
    ids = [attributes["id"] for _, attributes in Tags(content).tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_the_report_opens_in_the_recipes_language_by_default(run: Path) -> None:
    """By default the recipe's: first without a language, then Chinese."""
    pages = [write_report(run).read_text(encoding="utf-8")]
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(f"language: zh\n{config}", encoding="utf-8")
    pages += [write_report(run).read_text(encoding="utf-8"), page(run, "en")]
    assert ['<html lang="zh' in content for content in pages] == [False, True, False]


def test_a_line_of_metrics_ends_at_its_newline_only(run: Path) -> None:
    """JSON may contain U+2028 and U+0085 unescaped."""
    rows = [{"step": n, "note": "a\u2028b\u0085c", "loss": 1.0 / n} for n in (1, 2)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (run / "sft" / "metrics.jsonl").write_text(text, encoding="utf-8")
    (stage,) = [stage for stage in read_run(run).stages if stage.name == "sft"]
    assert stage.metrics["loss"] == [(1, 1.0), (2, 0.5)]


def test_unknown_values_are_dashes(run: Path) -> None:
    result = feedback() | {"items": math.nan, "ratings": None, "preferences": math.inf, "rejected": "none"}
    write_stage(run, "people", result)
    values = re.findall(r"<dd>(.*?)</dd>", page(run).split("How the texts were divided")[0])
    assert values[:2] == ["—", "—"]
    assert values[7] == values[9] == "—"
    assert number(None) == percent(None) == str(duration(None)) == "—"


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    files = {path.name for path in run.iterdir() if path.is_file()}
    assert files == {"config.yaml", "environment.json", "report.html"}


def test_the_default_language_needs_no_script(run: Path) -> None:
    languages: tuple[Language, ...] = ("en", "zh")
    for language in languages:
        content = page(run, language)
        assert re.findall(r'id="language-(\w+)" checked', content) == [language]
        assert "<script" not in content
    with pytest.raises(ConfigError, match="'fr'"):
        write_report(run, language="fr")  # type: ignore[arg-type]


class Tags(HTMLParser):
    """Every tag with its attributes, and the ids."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_report_is_self_contained(run: Path) -> None:
    content = page(run)
    assert "@import" not in content
    assert not re.findall(r"url\((?!#)", content)
    for tag, attributes in Tags(content).tags:
        assert tag not in {"script", "link", "iframe", "object", "base"}
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert "default-src 'none'" in content


def test_figures_have_accessible_names(run: Path) -> None:
    tags = Tags(page(run)).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in tags if tag == "th")
    named = [
        attributes.get("aria-labelledby") for _, attributes in tags if attributes.get("role") in {"img", "region"}
    ]
    assert named
    assert set(named) <= set(ids)
    assert all(attributes.get("aria-hidden") for tag, attributes in tags if tag == "svg")


HOSTILE = [
    "<script>alert(1)</script>",
    "</style><b>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }} $x$ \x00 \ud800",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_escaped(run: Path, hostile: str) -> None:
    words = (
        json.dumps(evaluation()).replace('"aligned"', json.dumps(hostile)).replace('"vader"', json.dumps(hostile))
    )
    result = json.loads(words)
    result["samples"][0]["prompt"] = result["worst"][0]["text"] = hostile
    write_stage(run, "proof", result)
    write_stage(run, "people", feedback() | {"split": {hostile: 1}})
    (run / "environment.json").write_text(json.dumps({"command": hostile, "data": {hostile: hostile}}))
    clean = page(make_run(run.parent / "clean"))
    content = page(run)
    assert hostile not in content or "<" not in hostile
    assert {tag for tag, _ in Tags(content).tags} <= {tag for tag, _ in Tags(clean).tags}
    assert "onerror" not in {name for _, attributes in Tags(content).tags for name in attributes}


# --- Runs that are not whole ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["people", "sft", "judge", "aligned", "proof"])
def test_a_missing_stage_is_left_out_with_a_note(run: Path, stage: str) -> None:
    (run / stage / "result.json").unlink()
    content = page(run)
    assert f"<bdi>{stage}</bdi> is not finished" in content
    assert ("No verdict yet." in content) == (stage == "proof")


@pytest.mark.parametrize(
    "damage", ['{"kind": "train", "ste', "[]", '{"kind": "dance"}', '{"kind": "train", "parameters": 3}']
)
def test_a_damaged_stage_is_left_out_with_a_note(run: Path, damage: str) -> None:
    (run / "sft" / "result.json").write_text(damage)
    assert "The result of <bdi>sft</bdi> cannot be read" in page(run)


@pytest.mark.parametrize("kind", ["feedback", "train", "evaluate"])
def test_an_empty_result_is_shown(run: Path, kind: str) -> None:
    for stage in ("people", "sft", "judge", "aligned", "proof"):
        write_stage(run, stage, {"kind": kind, "from_the_future": {"x": [1]}})
    assert "not finished" not in page(run)


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    assert "No verdict yet." in page(tmp_path)
    with pytest.raises(RunError, match="is not a folder"):
        write_report(tmp_path / "nowhere")


def test_without_a_recipe_the_folders_are_the_stages(run: Path) -> None:
    (run / "config.yaml").write_text("stages: [: broken")
    assert "198,313" in page(run)


def test_a_stage_name_cannot_leave_the_run_folder(run: Path) -> None:
    write_stage(run.parent, "elsewhere", feedback() | {"items": 424242})
    (run / "config.yaml").write_text("stages: [{name: ../elsewhere}, {name: ..}]")
    assert "424,242" not in page(run)


# --- The verdict ---------------------------------------------------------------------------------------------

UP, DOWN, OPEN = (0.6, 0.7), (0.2, 0.4), (0.45, 0.6)


@pytest.mark.parametrize(
    ("own", "others", "passed", "outcome"),
    [
        (UP, [UP, UP], True, "better"),
        (OPEN, [UP], None, "better"),
        (UP, [UP, UP], False, "failed_check"),
        (UP, [UP, OPEN], True, "not_unanimous"),
        (UP, [UP, DOWN], True, "not_unanimous"),
        (UP, [OPEN], True, "unclear"),
        (UP, [(0.5, 0.9)], True, "unclear"),  # the whole interval must lie above one half
        (UP, [OPEN, DOWN], True, "worse"),
        (UP, [], True, "own_judge"),
        (DOWN, [], True, "worse"),
        (None, [], True, "none"),
    ],
)
def test_the_verdict(
    own: tuple[float, float] | None, others: list[tuple[float, float]], passed: bool | None, outcome: str
) -> None:
    bounds = {f"judge {i}": x for i, x in enumerate(others)} | ({"own": own} if own else {})
    rows = [
        WinRate(model="new", against="old", judge=judge, rate=sum(x) / 2, low=x[0], high=x[1])
        for judge, x in bounds.items()
    ]
    result = ComparisonResult(
        candidate="new",
        reference="old",
        judges=[JudgeResult(name=name, independent=name != "own") for name in bounds],
        win_rates=[*rows, WinRate(model="base", against="old", judge="judge 0", rate=0.1, low=0.0, high=0.2)],
        checks=[Check(name="perplexity", passed=passed)],
    )
    assert judge_run(result).outcome == outcome
    with_reason = judge_run(result, [("aligned", "groups_alike")])
    assert with_reason.outcome == ("nothing_learned" if outcome == "better" else outcome)


def test_a_stage_that_learned_nothing_is_shown_with_the_verdict(run: Path) -> None:
    path = run / "aligned" / "result.json"
    learning = {"steps": 6, "with_gradient": 0, "cut_off": 2, "without_variance": 6, "nothing": "groups_alike"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"learning": learning}))
    content = page(run)
    verdict = content.split('id="verdict"')[1].split("</section>")[0]
    assert "but a training stage learned nothing" in verdict
    assert "但有训练阶段什么也没有学到" in verdict
    assert "fails a check" not in verdict
    assert "The training stage <bdi>aligned</bdi> learned nothing: " in content
    assert "Nothing was learned here: " in content
    assert content.count("the scores of no group ever differed") >= 2
    assert "In 2 of 6 rounds every answer was cut off" in content
    assert "没有任何一组的得分有差别" in content


def test_a_failed_check_is_shown_with_the_verdict(run: Path) -> None:
    result = evaluation()
    result["checks"][1] |= {"value": 1.42, "passed": False}
    write_stage(run, "proof", result)
    verdict = page(run).split('id="verdict"')[1].split("</section>")[0]
    assert "fails a check" in verdict
    assert "relative perplexity is at most 1.15" in verdict
    assert "1.42" in verdict


# --- Two languages -------------------------------------------------------------------------------------------


def test_every_algorithm_has_its_display_name() -> None:
    """The name in its module's docstring, in both languages; a stage of an unknown kind keeps its own name."""
    assert "Reinforcement learning (Dr. GRPO)" in text_or_name("kind", "dr_grpo")
    assert "强化学习（Dr. GRPO）" in text_or_name("kind", "dr_grpo")
    assert "Preference optimization (DPO)" in text_or_name("kind", "dpo")
    assert "Good and bad answers (KTO)" in text_or_name("kind", "kto")
    assert "Rankings (Plackett–Luce DPO)" in text_or_name("kind", "plackett_luce")
    assert "Supervised fine-tuning" in text_or_name("kind", "sft")
    assert not [name for name in algorithms() if "<code>" in text_or_name("kind", name)]
    assert text_or_name("kind", "<b>") == "<code>&lt;b&gt;</code>"


def test_every_text_is_used_and_every_used_text_exists() -> None:
    """A key is used literally or by its family, as in `"metric." ~ name`."""
    templates = "".join(path.read_text(encoding="utf-8") for path in (SOURCES / "templates").rglob("*.j2"))
    code = (SOURCES / "formatting.py").read_text(encoding="utf-8")
    texts = texts_in("en")["reports"]
    written = set(re.findall(r'\b(?:t|text)\("([a-z_]+\.[a-z_0-9]+)"[,)]', templates + code))
    written |= set(re.findall(r't\("([a-z_.]+)"\) if .*? else', templates))
    families = set(re.findall(r't\("([a-z_]+\.[a-z_]*)" ~', templates))
    families |= {f"{name}." for name in re.findall(r'text_or_name\("([a-z_.]+)"', templates)}
    assert written <= texts.keys()
    assert {key for key in texts if key not in written and not key.startswith(tuple(families))} == set()
    assert {f"{family}.{metric}" for family in ("metric", "note") for metric in CURVES} <= texts.keys()


# --- In a browser --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_in_a_browser(run: Path, width: int, language: Language) -> None:
    from playwright.sync_api import sync_playwright

    result = evaluation()
    result["samples"][0]["completions"][0]["text"] = "w" * 500
    write_stage(run, "proof", result)
    other = "zh" if language == "en" else "en"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        view = browser.new_page(viewport={"width": width, "height": 900})
        complaints: list[str] = []
        view.on("console", lambda message: complaints.append(message.text))
        view.goto(write_report(run, language=language).as_uri())
        for shown, hidden in ((language, other), (other, language)):
            view.click(f"label[for=language-{shown}]")
            assert view.locator(f".headline .{shown}").is_visible()
            assert not view.locator(f".headline .{hidden}").is_visible()
            assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert complaints == []
        browser.close()
