"""The report of a comparison: one self-contained page, made from `compare.json`."""

from __future__ import annotations

from pathlib import Path

from gnomon.core.storage.sealed_files import write_sealed
from gnomon.core.translations import LANGUAGES
from gnomon.reporting import comparison_figures
from gnomon.reporting.comparison_results import Comparison, read_comparison
from gnomon.reporting.run_reader import Language
from gnomon.reporting.run_report import page_environment


def write_comparison(folder: Path, *, language: Language = "en") -> Path:
    """Write `compare.html` beside `compare.json`; returns its path.

    Args:
        folder: folder of a comparison, finished or not.
        language: initial language of the page; the reader can switch to the other.
    """
    return write_page(folder, render(read_comparison(folder), language))


def render(comparison: Comparison, language: Language = "en") -> str:
    """Render a comparison as a page. The same comparison gives the same bytes."""
    values = {"comparison": comparison, "leader": comparison.leader, "figures": comparison_figures}
    return render_page("compare.html.j2", language, **values)


def render_page(template: str, language: Language, **values: object) -> str:
    """Render a template of `gnomon/reporting/templates/` with `values`."""
    return page_environment().get_template(template).render(language=language, languages=LANGUAGES, **values)


def write_page(folder: Path, page: str) -> Path:
    """Write `compare.html`; returns its path.

    Raises:
        RunError: the existing page was not written by Gnomon, or was changed.
    """
    path = folder / "compare.html"
    write_sealed(path, page.encode("utf-8", "replace"))
    return path
