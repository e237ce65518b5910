"""The page of an examination of rewards: self-contained, in English and Chinese, without scripts."""

from __future__ import annotations

from pathlib import Path

from gnomon.core.storage.files import write_atomically
from gnomon.core.translations import LANGUAGES
from gnomon.evaluation.examination.results import RewardExamination
from gnomon.reporting.run_report import page_environment


def write_examination(result: RewardExamination, path: Path, language: str = "en") -> None:
    """Write the page of an examination.

    Args:
        result: the examination.
        path: of the page.
        language: initial language; the reader can switch.
    """
    # A name may contain half a surrogate pair, which UTF-8 cannot encode: it becomes a question mark.
    write_atomically(path, examination_page(result, language).encode("utf-8", "replace"))


def examination_page(result: RewardExamination, language: str = "en") -> str:
    """Return the page of an examination as HTML; the same examination gives the same bytes."""
    page = page_environment().get_template("examined.html.j2")
    return page.render(result=result, language=language, languages=LANGUAGES)
