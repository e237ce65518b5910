"""The report of a comparison: one page that holds everything and needs nothing, made from `compare.json`."""

from __future__ import annotations

from pathlib import Path

from gnomon.core.storage.sealed_files import write_sealed
from gnomon.reporting import comparison_figures
from gnomon.reporting.comparison_results import Comparison, read_comparison
from gnomon.reporting.run_reader import Language
from gnomon.reporting.run_report import page_environment
from gnomon.reporting.translations import LANGUAGES


def write_comparison(folder: Path, *, language: Language = "en") -> Path:
    """Write `compare.html` beside `compare.json`; returns its path.

    Args:
        folder: of a comparison, finished or not.
        language: the one the page opens in; the reader can switch to the other.
    """
    return write_page(folder, render(read_comparison(folder), language))


def render(found: Comparison, language: Language = "en") -> str:
    """The page of a comparison that has been read. The same comparison gives the same bytes."""
    values = {"found": found, "leader": found.leader, "drawn": comparison_figures}
    return render_page("compare.html.j2", language, **values)


def render_page(template: str, language: Language, **values: object) -> str:
    """A page from a file in `gnomon/reporting/templates/`, which shows `values`."""
    return page_environment().get_template(template).render(language=language, languages=LANGUAGES, **values)


def write_page(folder: Path, page: str) -> Path:
    """Write `compare.html`; returns its path.

    Raises:
        RunError: the page that is there was written or changed by somebody else.
    """
    path = folder / "compare.html"
    write_sealed(path, page.encode("utf-8", "replace"))
    return path
