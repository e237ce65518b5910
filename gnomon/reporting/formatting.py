"""Format numbers and texts of a report: numbers are the same in every language, texts are rendered in all."""

from __future__ import annotations

import sys
from typing import Any, cast

from markupsafe import Markup

from gnomon.core.storage.result_model import IntervalEstimate
from gnomon.core.translations import LANGUAGES, texts_in

DASH = "—"  # an unknown value is never shown as 0


def fixed(value: float | None, digits: int = 2) -> str:
    """Format a number with a fixed number of decimals, and a true minus sign."""
    return DASH if value is None else f"{value:,.{digits}f}".replace("-", "−")


def count(value: float | None) -> str:
    """Format a whole number, in groups of three digits."""
    return fixed(value, 0)


def percent(value: float | None, digits: int = 0) -> str:
    """Format a share as a percentage."""
    return DASH if value is None else f"{fixed(100 * value, digits)}%"


def number(value: float | None) -> str:
    """Format a number of any magnitude, with about three significant digits."""
    if value is None:
        return DASH
    return count(value) if abs(value) >= 1000 else f"{value:.3g}".replace("-", "−")


def large(value: float | None) -> str:
    """Format a number of parameters: 134.5M."""
    if value is None:
        return DASH
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{unit}"
    return count(value)


def interval(estimate: IntervalEstimate, digits: int = 2, *, share: bool = False) -> str:
    """Format the interval of an estimate in brackets; "" without one.

    Args:
        estimate: estimate with its interval.
        digits: decimals.
        share: whether to format the bounds as percentages.
    """
    if estimate.low is None or estimate.high is None:
        return ""
    form = percent if share else fixed
    return f"[{form(estimate.low, digits)}, {form(estimate.high, digits)}]"


def text(key: str, **values: object) -> Markup:
    """Return a text in every language, one `span` each; the page shows the selected one. Values are escaped."""
    spans = (
        Markup('<span class="{}" lang="{}">{}</span>').format(
            language, tag, Markup(texts_in(language)["reports"][key]).format(**values)
        )
        for language, tag in LANGUAGES.items()
    )
    return Markup("").join(spans)


def text_or_name(family: str, name: str) -> Markup:
    """Return the text of a known name, such as a metric; else the escaped name itself."""
    key = f"{family}.{name}"
    if key in texts_in("en")["reports"]:
        return text(key)
    known = algorithm(name) if family == "kind" else None
    return known or Markup("<code>{}</code>").format(name)


def algorithm(name: str) -> Markup | None:
    """Return an algorithm's display name: its record type, and the name in the first line of its file."""
    from gnomon.algorithms.contract import algorithms

    kind = algorithms().get(name)
    if kind is None:
        return None
    shown = (sys.modules[kind.__module__].__doc__ or name).partition(":")[0]
    match cast(Any, kind).consumes.__name__:
        case "Experience":
            return text("learned.samples", name=shown)
        case "Preference":
            return text("learned.preferences", name=shown)
        case "Label":
            return text("learned.labels", name=shown)
        case "Ranking":
            return text("learned.rankings", name=shown)
    return Markup("{}").format(shown)


def duration(seconds: float | None) -> Markup:
    """Format a duration in its two largest units."""
    if seconds is None:
        return Markup(DASH)
    whole = round(seconds)
    if whole < 60:
        return text("time.seconds", s=number(seconds) if seconds < 10 else whole)
    if whole < 3600:
        return text("time.minutes", m=whole // 60, s=whole % 60)
    return text("time.hours", h=whole // 3600, m=whole % 3600 // 60)
