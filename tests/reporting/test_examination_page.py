"""The page of an examination: both languages, escaped, self-contained, the same bytes again."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest
from examined_cases import PLAIN, cases_of, examined, number_in

from gnomon.core.translations import texts_in
from gnomon.evaluation.examination.measures.transformations import CHANGES
from gnomon.evaluation.examination.results import RewardExamination
from gnomon.reporting.examination_page import examination_page, write_examination
from gnomon.stats.one_person import LeftOut

PAIRS = [(f"{n}?", f"a:{n}", f"bb:{n % 3}") for n in range(12)]
SETTINGS = PLAIN.model_copy(update={"perturbed": 4})


@pytest.fixture(scope="module")
def result() -> RewardExamination:
    cases = cases_of(*PAIRS, categories=["<i>math</i>"] * 10 + ["code"] * 2)
    cases.pairs[:] = [
        type(pair)(pair.first, pair.second, 1, True, pair.clusters, pair.category, (LeftOut(1, 1),))
        for pair in cases.pairs
    ]

    def score(prompt: str, text: str) -> float:
        if text == "a:11":
            raise ValueError("<script>alert(1)</script>")
        return number_in(prompt, text.split()[0]) if text[:2] in ("a:", "bb") else 0.0

    done = examined(cases, score, lambda p, t: float(len(t)), settings=SETTINGS)
    models = [done.models[0].model_copy(update={"name": "<b>one</b>"}), done.models[1]]
    return done.model_copy(update={"models": models, "failed_conditions": ["x: accuracy is <0.7>"]})


def test_the_page_has_every_part_in_both_languages(result: RewardExamination) -> None:
    page = examination_page(result)
    for key in ("accuracy", "difference_title", "category_title", "figure_title", "robustness", "failures"):
        for language in ("en", "zh"):
            assert str(texts_in(language)["reports"][f"examined.{key}"]) in page
    assert page.count("<svg") >= 6
    assert "few</span>" in page
    assert "ValueError" in page
    assert 'id="language-zh" checked' in examination_page(result, "zh")


def test_names_are_escaped(result: RewardExamination) -> None:
    page = examination_page(result)
    for word in ("<script>alert", "<b>one</b>", "<i>math</i>", "<0.7>"):
        assert word not in page
    assert "&lt;i&gt;math&lt;/i&gt;" in page


def test_the_page_needs_nothing_else(result: RewardExamination, tmp_path: Path) -> None:
    write_examination(result, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page)
    assert "<script" not in page
    assert page == examination_page(result)


def test_ids_are_unique(result: RewardExamination) -> None:
    ids = re.findall(r'\bid="([^"]+)"', examination_page(result))
    assert len(ids) == len(set(ids))


def test_an_examination_as_json_gives_the_same_page(result: RewardExamination) -> None:
    again = RewardExamination.model_validate_json(result.model_dump_json())
    assert examination_page(again) == examination_page(result)


def test_an_empty_examination_is_a_page() -> None:
    assert "</html>" in examination_page(RewardExamination())


def test_texts_have_the_same_values_in_both_languages() -> None:
    english, chinese = (texts_in(language)["reports"] for language in ("en", "zh"))
    keys = [key for key in english if key.startswith("examined.")]
    assert len(keys) > 80

    def names(text: str) -> set[str | None]:
        return {field for _, field, _, _ in Formatter().parse(text) if field}

    assert [key for key in keys if names(english[key]) != names(chinese[key])] == []
    assert {f"examined.change_{name}" for name in CHANGES} <= set(keys)
