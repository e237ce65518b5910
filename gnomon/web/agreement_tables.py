"""Prints agreement and annotators as tables in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gnomon.web.formatting import interval, number, percent

if TYPE_CHECKING:
    from gnomon.feedback.quality.annotator_metrics import AnnotatorMetrics
    from gnomon.feedback.quality.score_agreement import Intraclass
    from gnomon.feedback.quality.summary import AnnotatorQuality, QualityReport
    from gnomon.feedback.quality.written_quality import WrittenCounts
    from gnomon.stats.confidence import ConfidenceCalibration
    from gnomon.stats.intervals import Estimate, Share
    from gnomon.stats.panel_agreement import PanelAgreement

PAIRS_SHOWN = 20
FORMS = {  # of Shrout and Fleiss
    "1": "any raters (1)",
    "2": "same raters, agreement (2)",
    "3": "same raters, consistency (3)",
}


def print_report(report: QualityReport, console: Console | None = None) -> None:
    """Print a quality report."""
    out = console or Console(markup=False, highlight=False)
    if report.written is not None:
        _print_written(report.written, report.people, out)
        return
    names = report.names()
    panels: Mapping[str, PanelAgreement] = {
        "all": report.overall,
        **{f"{report.task}: {name}": panel for name, panel in report.aspects.items()},
        **{f"category {name}": panel for name, panel in report.categories.items()},
    }
    out.print(f"{report.votes} judgements, {report.gold} of gold items; 95% intervals")
    out.print(_panels(panels))
    if report.order.value is not None:
        out.print(
            f"Kendall's τ-b of two orders of one item: {number(report.order.value)} {interval(report.order)}"
        )
    if any(one.any_raters or one.same_raters for one in report.intraclass.values()):
        out.print(_intraclass(report.intraclass))
    if report.pairs:
        table = _table(f"each two annotators (first {PAIRS_SHOWN})", "two", "items", "same answer", "Cohen κ")
        for one, other, pair in report.pairs[:PAIRS_SHOWN]:
            kappa = pair.kappa
            kappa_text = f"{number(kappa.estimate.value)} {interval(kappa.estimate)}"
            table.add_row(
                f"{names.get(one, one)}, {names.get(other, other)}",
                str(kappa.items),
                f"{percent(pair.percent.value)} {interval(pair.percent, shares=True)}",
                kappa_text,
            )
        out.print(table)
    out.print(_people(report.people))
    if (calibration := report.confidence) is not None:
        use = "weights votes" if calibration.is_calibrated else "weights no votes"
        slope = f"{number(calibration.slope.value)} {interval(calibration.slope)}".rstrip()
        out.print(f"more right from confidence 0 to 1: {slope}; confidence {use}")
        out.print(_confidence(calibration))
    for view in report.minority:
        who = ", ".join(names.get(name, name) for name in view.annotators)
        out.print(f"item {view.item}: majority {view.majority}, {percent(view.share)} chose {view.label} ({who})")


def _panels(panels: Mapping[str, PanelAgreement]) -> Table:
    table = _table("agreement", "", "items", "same answer", "Krippendorff α", "Fleiss κ", "Gwet AC1")
    for name, panel in panels.items():
        chance = [f"{number(e.value)} {interval(e)}" for e in (panel.alpha, panel.fleiss, panel.ac1)]
        same = f"{percent(panel.percent.value)} {interval(panel.percent, shares=True)}"
        table.add_row(name, str(panel.items), same, *chance)
    return table


def intraclass_rows(
    by_criterion: Mapping[str, Intraclass],
) -> list[tuple[str, str, int, int, Estimate, Estimate]]:
    """A row per criterion and form of ICC: criterion, form, texts, raters, ICC of one score and of the mean."""
    rows = []
    for name, one in by_criterion.items():
        if (any_raters := one.any_raters) is not None:
            rows.append((name, "1", any_raters, any_raters.one_way, any_raters.one_way_mean))
        if (same := one.same_raters) is not None:
            rows.append((name, "2", same, same.agreement, same.agreement_mean))
            rows.append((name, "3", same, same.consistency, same.consistency_mean))
    return [(name, form, of.targets, of.raters, single, mean) for name, form, of, single, mean in rows]


def _intraclass(by_criterion: Mapping[str, Intraclass]) -> Table:
    table = _table("intraclass correlations", "", "texts", "raters", "ICC of one", "of their mean")
    for name, form, texts, raters, *both in intraclass_rows(by_criterion):
        cells = [f"{number(one.value)} {interval(one)}" for one in both]
        table.add_row(f"{name}: {FORMS[form]}", str(texts), str(raters), *cells)
    return table


def _confidence(calibration: ConfidenceCalibration) -> Table:
    """Right votes by stated confidence."""
    table = _table("confidence", "stated", "votes", "right")
    for level in calibration.levels:
        share = f"{percent(level.accuracy)} {interval(level, shares=True)}"
        table.add_row(percent(level.confidence), str(level.votes), share)
    return table


def _people(people: Sequence[AnnotatorQuality]) -> Table:
    """Fits a terminal of 80 columns: intervals stand below their shares, and only names are folded."""
    return _people_table(
        people,
        ("gold", "κ", "first"),
        lambda metrics: (_share(metrics.gold), number(metrics.agreement.kappa), _share(metrics.first)),
    )


def _people_table(
    people: Sequence[AnnotatorQuality],
    columns: Sequence[str],
    cells: Callable[[AnnotatorMetrics], Sequence[str]],
) -> Table:
    """A row for each annotator: judgements, `columns` with the cells of the metrics, seconds and reliability."""
    table = _table("annotators", "name", "judged", *columns, "seconds", "reliability")
    table.box, table.columns[0].overflow = SIMPLE_HEAD, "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
    for person in people:
        about, record = person.about, person.record
        name = about["name"] + (f" ({about['state']})" if about["state"] != "active" else "")
        if record is None:
            table.add_row(name, "0", *["–"] * (len(columns) + 2))
            continue
        seconds = number(record.metrics.seconds, 0)
        table.add_row(name, str(about["judgements"]), *cells(record.metrics), seconds, number(record.score))
    return table


def _print_written(counts: WrittenCounts, people: Sequence[AnnotatorQuality], out: Console) -> None:
    """Print the numbers of written answers, and each annotator's; they have no agreement."""
    out.print(
        f"{counts.written} written answers: {counts.accepted} accepted, {counts.unreviewed} waiting for a "
        f"review, {counts.rejected} rejected, {counts.flagged} flagged"
    )
    out.print("written answers have no agreement")
    if counts.flags:
        out.print("flags: " + ", ".join(f"{n} {flag}" for flag, n in counts.flags.items()))
    out.print(
        _people_table(
            people,
            ("flagged", "accepted"),
            lambda metrics: (_share(metrics.flagged), _share(metrics.accepted)),
        )
    )


def _share(share: Share) -> str:
    return f"{percent(share.value)}\n{interval(share, shares=True)}".rstrip()


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right")
    return table
