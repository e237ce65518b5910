"""Kendall's τ-b of rankings and intraclass correlations of scores, as `gnomon feedback agreement` prints them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from annotating import project
from rich.console import Console

from gnomon.core.storage.files import to_json
from gnomon.feedback.quality.score_agreement import intraclass
from gnomon.feedback.quality.summary import QualityReport, quality_report
from gnomon.feedback.store.store import Store
from gnomon.feedback.tasks.queue import NewJudgement
from gnomon.stats.votes import Vote
from gnomon.web.agreement_tables import print_report


def ranked(store: Store) -> QualityReport:
    """Three rankings of four completions: ann in order, bob with two neighbors swapped, cyd in reverse."""
    queue = project(store, 1, task="ranking", sides="abcd", votes_per_item=3, max_votes=3, gold_rate=0)
    for who, order in (("ann", "abcd"), ("bob", "bacd"), ("cyd", "dcba")):
        task = queue.take(who)
        assert task is not None
        index = {completion.id[0]: n for n, completion in enumerate(task.completions)}
        queue.submit(NewJudgement(who, task.item, who, {"order": [index[side] for side in order]}))
    return quality_report(store, "films")


def printed(report: QualityReport) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, width=160, markup=False, highlight=False))
    return out.getvalue()


def test_rank_correlation_by_hand(tmp_path: Path) -> None:
    """Of six pairs ann and bob disagree on one: τ = 4/6; ann and cyd on all: −1; bob and cyd: −4/6."""
    store = Store(tmp_path / "f.db")
    report = ranked(store)
    assert report.order.value == pytest.approx((4 / 6 - 1 - 4 / 6) / 3)
    assert report.intraclass == {}
    assert "Kendall's τ-b of two orders of one item: -0.33" in printed(report)
    assert json.loads(json.dumps(to_json(report.to_json())))["order"]["value"] == pytest.approx(-1 / 3)
    store.close()


def scores(table: Mapping[str, str]) -> list[Vote]:
    """Votes from cells of a letter for the annotator and a score, by text."""
    return [Vote(cell[0], text, int(cell[1:])) for text, cells in table.items() for cell in cells.split()]


def test_intraclass_of_the_same_and_of_any_raters() -> None:
    """Ann and bob scored all four texts, cyd two: two raters on four texts are more scores than three on two.

    Ann 1 3 5 7, bob 2 4 6 8: means 1.5 3.5 5.5 7.5; between texts 2·20/3 = 40/3, within 1/2, bob above ann by 1
    everywhere, so the residual is 0: ICC(1,1) = (40/3 − 1/2)/(40/3 + 1/2), ICC(3,1) = 1.
    """
    found = intraclass(scores({"w": "a1 b2", "x": "a3 b4", "y": "a5 b6 c9", "z": "a7 b8 c1"}))
    assert found.same_raters is not None
    assert (found.same_raters.targets, found.same_raters.raters) == (4, 2)
    assert found.same_raters.consistency.value == pytest.approx(1.0)
    assert found.same_raters.one_way.value == pytest.approx((40 / 3 - 0.5) / (40 / 3 + 0.5))
    assert found.any_raters is not None  # two texts have two scores and two have three: the larger number wins
    assert (found.any_raters.targets, found.any_raters.raters) == (2, 3)


def test_raters_without_common_texts_have_the_one_way_form_alone() -> None:
    found = intraclass(scores({"w": "a1 b2", "x": "c3 d4", "y": "e5 f6"}))
    assert found.same_raters is None
    assert found.any_raters is not None
    # Texts 1.5 3.5 5.5: between 2·8/2 = 8, within 1/2.
    assert found.any_raters.one_way.value == pytest.approx((8 - 0.5) / (8 + 0.5))
    lonely = intraclass(scores({"w": "a1", "x": "b3"}))
    assert (lonely.any_raters, lonely.same_raters) == (None, None)


def test_intraclass_correlations_are_printed_by_criterion(tmp_path: Path) -> None:
    store = Store(tmp_path / "f.db")
    queue = project(
        store,
        4,
        task="likert",
        sides="a",
        votes_per_item=2,
        max_votes=2,
        gold_rate=0,
        criteria=["kind", "true"],
        names=("ann", "bob"),
    )
    for who, offset in (("ann", 0), ("bob", 1)):
        while (task := queue.take(who)) is not None:
            number = int(task.completions[0].id[1:])
            queue.submit(
                NewJudgement(
                    f"{who}{task.item}", task.item, who, {"scores": [{"kind": 1 + number, "true": 1 + offset}]}
                )
            )
    text = printed(quality_report(store, "films"))
    assert "intraclass correlations" in text
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if "raters" in line and "│" in line}
    assert "kind: any raters (1)" in lines
    assert "1.00" in lines["kind: same raters, agreement (2)"]
    assert "–" in lines["true: same raters, consistency (3)"], "nothing varies from text to text"
    store.close()
