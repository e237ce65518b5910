"""Texts of the pages: the project's own scale, names of annotators' kinds, translated refusals."""

from __future__ import annotations

import inspect
import re

import pytest
from sqlalchemy import CheckConstraint

from gnomon.core.translations import texts_in
from gnomon.feedback import task_types as answers, written_answers
from gnomon.feedback.export import writers
from gnomon.feedback.quality import annotator_metrics
from gnomon.feedback.store import access, store
from gnomon.feedback.store.schema import Table
from gnomon.feedback.tasks import adjudication, qualification, queue, text_reviews
from gnomon.web import admin, context, server
from gnomon.web.context import HERE
from gnomon.web.formatting import answer_in_words, on_scale


@pytest.mark.parametrize(("low", "high", "digits"), [(1, 10, "1 … 9"), (1, 5, "1 … 5"), (-4, 4, "0 … 4")])
def test_texts_name_the_projects_scale(low: int, high: int, digits: str) -> None:
    """Number keys give digits: no minus, no ten."""
    scale = {"low": low, "high": high}
    assert on_scale("from {low} to {high}", scale) == f"from {low} to {high}"
    assert on_scale("{digits}", scale) == digits


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_kind_of_annotator_has_a_name(language: str) -> None:
    """The kinds that the store allows: a page fails at a kind without a name."""
    texts = texts_in(language)["annotation_pages"]
    (allowed,) = (
        c
        for c in Table.metadata.tables["annotators"].constraints
        if isinstance(c, CheckConstraint) and "person" in str(c.sqltext)
    )
    assert set(re.findall(r"'(\w+)'", str(allowed.sqltext))) == set(texts["kinds"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_name_no_fixed_scale(language: str) -> None:
    texts = texts_in(language)["annotation_pages"]
    for task in ("rating", "likert"):
        for text in (texts["no_guidelines"][task], texts["adm"]["tasks"][task]):
            assert "{low}" in text
            assert "{high}" in text
            assert not any(digit in text for digit in "15")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_translated_refusals_match_error_sentences(language: str) -> None:
    """A page recognizes a refusal by a part of its sentence; unrecognized refusals appear in English."""
    texts = texts_in(language)["annotation_pages"]
    judging, more = (
        (queue, answers, written_answers, text_reviews, qualification, server),
        (store, access, annotator_metrics, adjudication, writers, context, admin),
    )
    for words, modules in ((texts["page"], judging), (texts["adm"]["page"], judging + more)):
        source = "".join(inspect.getsource(module) for module in modules)
        assert [part for part in words["refusals"] if part not in source] == []


def test_chinese_has_its_own_punctuation() -> None:
    texts = texts_in("zh")["annotation_pages"]
    assert (
        answer_in_words({"scores": [{"真实": 3, "有用": 4}, {"真实": 1}]}, texts)
        == "A：真实 3、有用 4；B：真实 1"
    )
    for page in (HERE / "templates").iterdir():
        assert not re.search(r"}}[:,;] |{{ \"[:,;]", page.read_text("utf-8")), page.name
