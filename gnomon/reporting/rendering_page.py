"""The page of rendered records: what a chat template does to each turn, in English and Chinese."""

from __future__ import annotations

from pathlib import Path

from gnomon.core.storage.files import write_atomically
from gnomon.core.translations import LANGUAGES
from gnomon.data.records import NAMES
from gnomon.data.rendering.pieces import RenderedFile
from gnomon.data.rendering.view import visible
from gnomon.reporting.run_report import page_environment


def write_page(rendered: RenderedFile, path: Path, model: str, language: str = "en") -> None:
    """Write the page of rendered records, self-contained and without scripts.

    Args:
        rendered: records of a file.
        path: of the page.
        model: name of the model whose chat template is used.
        language: initial language of the page; the reader can switch.
    """
    # A text may contain half a surrogate pair, which UTF-8 cannot encode: it becomes a question mark.
    write_atomically(path, page_of(rendered, model, language).encode("utf-8", "replace"))


def page_of(rendered: RenderedFile, model: str, language: str = "en") -> str:
    """Return the page of rendered records as HTML.

    Args:
        rendered: records of a file.
        model: name of the model whose chat template is used.
        language: initial language of the page.
    """
    environment = page_environment()
    environment.filters["visible"] = visible
    page = environment.get_template("rendering.html.j2")
    return page.render(
        rendered=rendered, kind=NAMES[rendered.kind], model=model, language=language, languages=LANGUAGES
    )
