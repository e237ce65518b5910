"""Agreement and annotators in the terminal, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gnomon.web.formatting import interval, number, percent

if TYPE_CHECKING:
    from gnomon.feedback.quality.score_agreement import Intraclass
    from gnomon.feedback.quality.summary import AnnotatorQuality, QualityReport
    from gnomon.stats.intervals import Estimate, Share
    from gnomon.stats.panel_agreement import PanelAgreement

PAIRS_SHOWN = 20
FORMS = {  # of Shrout and Fleiss
    "1": "any raters (1)",
    "2": "same raters, agreement (2)",
    "3": "same raters, consistency (3)",
}


def print_report(found: QualityReport, console: Console | None = None) -> None:
    """Print what `figures` says."""
    out = console or Console(markup=False, highlight=False)
    names = found.names()
    panels: Mapping[str, PanelAgreement] = {
        "all": found.overall,
        **{f"{found.task}: {name}": panel for name, panel in found.aspects.items()},
        **{f"category {name}": panel for name, panel in found.categories.items()},
    }
    out.print(f"{found.votes} judgements, {found.gold} of gold items; 95% intervals")
    out.print(_panels(panels))
    if found.order.value is not None:
        out.print(f"Kendall's τ-b of two orders of one item: {number(found.order.value)} {interval(found.order)}")
    if any(one.any_raters or one.same_raters for one in found.intraclass.values()):
        out.print(_intraclass(found.intraclass))
    if found.pairs:
        table = _table(f"each two annotators (first {PAIRS_SHOWN})", "two", "items", "same answer", "Cohen κ")
        for one, other, pair in found.pairs[:PAIRS_SHOWN]:
            kappa = pair.kappa
            said = f"{number(kappa.estimate.value)} {interval(kappa.estimate)}"
            table.add_row(
                f"{names.get(one, one)}, {names.get(other, other)}",
                str(kappa.items),
                f"{percent(pair.percent.value)} {interval(pair.percent, shares=True)}",
                said,
            )
        out.print(table)
    out.print(_people(found.people))
    for view in found.minority:
        who = ", ".join(names.get(name, name) for name in view.annotators)
        out.print(f"item {view.item}: most say {view.majority}, {percent(view.share)} say {view.label} ({who})")


def _panels(panels: Mapping[str, PanelAgreement]) -> Table:
    table = _table("agreement", "", "items", "same answer", "Krippendorff α", "Fleiss κ", "Gwet AC1")
    for name, panel in panels.items():
        chance = [f"{number(e.value)} {interval(e)}" for e in (panel.alpha, panel.fleiss, panel.ac1)]
        same = f"{percent(panel.percent.value)} {interval(panel.percent, shares=True)}"
        table.add_row(name, str(panel.items), same, *chance)
    return table


def intraclass_rows(found: Mapping[str, Intraclass]) -> list[tuple[str, str, int, int, Estimate, Estimate]]:
    """For each criterion and form: its name, the form, texts, raters, and the correlation of one and of all."""
    rows = []
    for name, one in found.items():
        if (any_raters := one.any_raters) is not None:
            rows.append((name, "1", any_raters, any_raters.one_way, any_raters.one_way_mean))
        if (same := one.same_raters) is not None:
            rows.append((name, "2", same, same.agreement, same.agreement_mean))
            rows.append((name, "3", same, same.consistency, same.consistency_mean))
    return [(name, form, of.targets, of.raters, single, mean) for name, form, of, single, mean in rows]


def _intraclass(found: Mapping[str, Intraclass]) -> Table:
    table = _table("intraclass correlations", "", "texts", "raters", "ICC of one", "of their mean")
    for name, form, texts, raters, *both in intraclass_rows(found):
        cells = [f"{number(one.value)} {interval(one)}" for one in both]
        table.add_row(f"{name}: {FORMS[form]}", str(texts), str(raters), *cells)
    return table


def _people(people: Sequence[AnnotatorQuality]) -> Table:
    """As narrow as a terminal of 80 columns: intervals stand below their shares, and only names are folded."""
    table = _table("annotators", "name", "judged", "gold", "κ", "first", "seconds", "reliability")
    table.box, table.columns[0].overflow = SIMPLE_HEAD, "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
    for person in people:
        about, record = person.about, person.record
        name = about["name"] + (f" ({about['state']})" if about["state"] != "active" else "")
        if record is None:
            table.add_row(name, "0", *["–"] * 5)
            continue
        done = record.metrics
        table.add_row(
            name,
            str(about["judgements"]),
            _share(done.gold),
            number(done.agreement.kappa),
            _share(done.first),
            number(done.seconds, 0),
            number(record.score),
        )
    return table


def _share(found: Share) -> str:
    return f"{percent(found.value)}\n{interval(found, shares=True)}".rstrip()


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right")
    return table
