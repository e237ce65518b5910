"""Plots of a report: small SVGs that take their colors and fonts from the page.

A plot contains only numbers and names: its title and axes are explained in its caption, which is translated. The
same data gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

# Drawn in these colors, shown with the page's variables of the same names, which adapt to light and dark mode.
INK, SOFT, LINE, ACCENT, SECOND = "#1d2429", "#56616a", "#dcd9d1", "#1f5f8b", "#b4541a"
# For series; their markers differ too, for readers who do not see colors.
PALETTE = ("#1f5f8c", "#b4541b", "#1d6b46", "#8a3f8f", "#8a6d00", "#a32a2b", "#3c6e71", "#6b4f3a")
MARKERS = "osD^vPX*"
_VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", ACCENT: "--accent", SECOND: "--second"}
_VARIABLES |= {color: f"--series-{n}" for n, color in enumerate(PALETTE, start=1)}

_WIDTH, _HEIGHT = 360.0, 216.0  # of a picture, in points: the width of a phone
_LETTERS = 11.0
_ROW = 30.0  # height of a row of `intervals`
_LONGEST_NAME = 18  # in Latin letters
_MOST_POINTS = 800  # of a scatter


@dataclass(frozen=True)
class IntervalRow:
    """A row of `intervals`: a name, a value, its interval, and whether to highlight it."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    marked: bool = False


@dataclass(frozen=True)
class Series:
    """A named series of dots and of curves, which are lines through points in their order."""

    name: str
    dots: Sequence[tuple[float, float]] = ()
    courses: Sequence[Sequence[tuple[float, float]]] = ()


def curve(name: str, points: Sequence[tuple[float, float]]) -> str:
    """Plot a metric over the steps: faint as recorded, bold as a running mean if there are many points."""
    steps, values = np.asarray(points, dtype=float).T
    window = len(values) // 20
    figure, axes = _figure(name)
    smooth = window >= 2
    axes.plot(steps, values, color=ACCENT, linewidth=0.8 if smooth else 1.8, alpha=0.5 if smooth else 1)
    if smooth:
        axes.plot(steps, _running_mean(values, window), color=ACCENT, linewidth=2)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    return _svg(figure, name)


def scatter(name: str, points: Sequence[tuple[float, float]]) -> str:
    """Plot one dot for each pair of numbers."""
    every = -(-len(points) // _MOST_POINTS)
    x, y = np.asarray(points[::every], dtype=float).T
    figure, axes = _figure(name)
    axes.plot(x, y, "o", markersize=3.2, color=ACCENT, alpha=0.45, markeredgewidth=0)
    return _svg(figure, name)


def frontier(name: str, series: Sequence[Series], mark: tuple[float, float] | None = None) -> str:
    """Plot dots and curves of several series in distinct colors and markers, with a legend below.

    Args:
        name: name of the plot; unique within the page.
        series: each has its color and marker by its index, so that plots of the same series agree.
        mark: a point of reference, drawn as a cross and named in the caption.
    """
    shown = [(index, _shorten(s.name)) for index, s in enumerate(series) if s.dots or s.courses]
    columns = 3 if max(_columns(label) for _, label in shown) <= 9 else 2
    below = 18.0 * -(-len(shown) // columns) + 8
    figure, axes = _figure(name, height=_HEIGHT + 40 + below, below=below)
    for index, one in enumerate(series):
        color, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
        for course in one.courses:
            x, y = np.asarray(course, dtype=float).T
            axes.plot(x, y, color=color, linewidth=1.1, alpha=0.55)
            axes.plot(x[-1:], y[-1:], marker, color=color, markersize=5.5, markeredgewidth=0)
        dots = np.asarray(one.dots, dtype=float).reshape(-1, 2)
        axes.plot(dots[:, 0], dots[:, 1], marker, color=color, markersize=7, markeredgewidth=0, alpha=0.9)
    if mark is not None:
        axes.plot([mark[0]], [mark[1]], "+", color=INK, markersize=11, markeredgewidth=1.6)
    handles = [
        Line2D(
            [], [], linestyle="", marker=MARKERS[n % len(MARKERS)], color=PALETTE[n % len(PALETTE)], markersize=7
        )
        for n, _ in shown
    ]
    legend = figure.legend(
        handles, [label for _, label in shown], ncols=columns, loc="lower left", frameon=False,
        labelcolor=INK, fontsize=_LETTERS, handletextpad=0.2, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip
    for words in legend.get_texts():
        words.set_parse_math(False)
    axes.margins(0.08)
    return _svg(figure, name)


def calibration(name: str, bins: Sequence[tuple[float, float, float]]) -> str:
    """Plot predicted against observed shares, with dot areas by count; the diagonal is perfect calibration."""
    predicted, observed, counts = np.asarray(bins, dtype=float).T
    figure, axes = _figure(name)
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, dashes=(4, 3))
    axes.plot(predicted, observed, color=ACCENT, linewidth=1.2, alpha=0.6)
    sizes = 12 + 90 * counts / max(counts.max(), 1)
    axes.scatter(predicted, observed, s=sizes, color=ACCENT, linewidths=0, zorder=3)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    return _svg(figure, name)


def histograms(name: str, edges: Sequence[float], filled: Sequence[float], outlined: Sequence[float]) -> str:
    """Plot two histograms with the same bins over each other: one filled, one as a line, in shares.

    Args:
        name: name of the plot; unique within the page.
        edges: of the bins, one more than bins.
        filled: counts of the filled one.
        outlined: counts of the line.
    """
    figure, axes = _figure(name)
    shares = [np.asarray(counts, dtype=float) / max(1.0, float(sum(counts))) for counts in (filled, outlined)]
    axes.stairs(shares[0], edges, fill=True, color=ACCENT, alpha=0.45)
    axes.stairs(shares[1], edges, color=SECOND, linewidth=1.8)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    return _svg(figure, name)


def intervals(
    name: str,
    rows: Sequence[IntervalRow],
    *,
    line: float | None = None,
    shares: tuple[float, float] | None = None,
) -> str:
    """Plot values with their intervals, one row each; highlighted rows are diamonds in another color.

    Args:
        name: name of the plot; unique within the page.
        rows: rows from top to bottom.
        line: a value to compare with, such as one half.
        shares: axis limits if the values are shares, which are labeled as percentages.
    """
    names = [_shorten(row.name) for row in rows]
    left = 14 + 6.8 * max(map(_columns, names))
    figure, axes = _figure(name, height=38 + _ROW * len(rows), left=left, right=52)
    if line is not None:
        axes.axvline(line, color=SOFT, linewidth=1, dashes=(4, 3), zorder=1)
    for index, row in enumerate(rows):
        color = SECOND if row.marked else ACCENT
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [index, index], color=color, linewidth=2.2, zorder=2)
        axes.plot([row.value], [index], "D" if row.marked else "o", color=color, markersize=6.5, zorder=3)
        written = f"{100 * row.value:.0f}%" if shares else f"{row.value:.2f}".replace("-", "−")
        axes.text(
            1.03, index, written, transform=axes.get_yaxis_transform(), va="center", color=INK, size=_LETTERS
        )
    axes.set_yticks(range(len(rows)), names, color=INK, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    if shares:
        axes.set_xlim(shares)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    return _svg(figure, name)


def _figure(
    name: str, *, height: float = _HEIGHT, left: float = 50, right: float = 12, below: float = 0
) -> tuple[Figure, Axes]:
    """Create a figure with a single pair of axes; margins are in points, independent of matplotlib's layout."""
    top, bottom = 12.0, 26.0 + below
    figure = Figure(figsize=(_WIDTH / 72, height / 72), facecolor="none")
    FigureCanvasSVG(figure)
    box = (left / _WIDTH, bottom / height, (_WIDTH - left - right) / _WIDTH, (height - top - bottom) / height)
    axes = figure.add_axes(box, facecolor="none", label=name)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.grid(color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=_LETTERS, labelcolor=SOFT, pad=5)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.get_offset_text().set_color(SOFT)
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG element for a page, with unique ids."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        # A name may be in any script: the browser has the glyphs even if matplotlib does not.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    # A style element would apply to the whole page, and fonts are the page's own.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|font-family: [^;]*; ", "", svg, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None
    svg = re.sub(r"<svg[^>]*>", f'<svg aria-hidden="true" {view[0]}>', svg, count=1)
    prefix = f"p{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"  # a name may be in any script
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(f": {color}", f": var({variable})")
    return svg


def _running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the mean over up to `window` points to either side; fewer at the ends."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    positions = np.arange(len(values))
    first, last = np.maximum(positions - window, 0), np.minimum(positions + window + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def _shorten(name: str) -> str:
    printable = "".join(letter for letter in name if letter.isprintable())
    if _columns(printable) <= _LONGEST_NAME:
        return printable
    while _columns(printable) >= _LONGEST_NAME:
        printable = printable[:-1]
    return printable + "…"


def _columns(name: str) -> int:
    """Return the width of a name in Latin letters; a Chinese character is as wide as two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)
