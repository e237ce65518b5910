"""The report of a run: one self-contained page, made from the run folder alone.

`run_reader` reads the folder, `verdict` decides, `figures` and `plots` draw, `translations` has the texts, and
`templates/report.html.j2` is the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gnomon.core.errors import ConfigError
from gnomon.core.storage.sealed_files import adopt_run, write_sealed
from gnomon.core.translations import LANGUAGES
from gnomon.reporting import examination_figures, figures, formatting
from gnomon.reporting.run_reader import Language, Run, read_run
from gnomon.reporting.verdict import judge_run
from gnomon.stages.common.results import ComparisonResult

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(run_folder: Path, *, language: Language | None = None) -> Path:
    """Write `report.html` into a run folder, from the files that are in it.

    Args:
        run_folder: folder of a run, finished or not; missing parts are left out with a note.
        language: initial language of the page, by default the recipe's; the reader can switch.

    Raises:
        RunError: the existing `report.html` was not written by Gnomon, or was changed.
    """
    if language not in (None, *get_args(Language)):
        raise ConfigError(f"A report cannot be in {language!r}; choose one of {', '.join(get_args(Language))}.")
    path, run = run_folder / "report.html", read_run(run_folder)
    # A sample may contain half a surrogate pair, which UTF-8 cannot encode: it becomes a question mark.
    adopt_run(run_folder)
    write_sealed(path, render(run, language or run.language).encode("utf-8", "replace"))
    return path


def render(run: Run, language: Language = "en") -> str:
    """Render a run as a page. The same run gives the same bytes."""
    page = page_environment().get_template("report.html.j2")
    evaluations = [stage.result for stage in run.stages if isinstance(stage.result, ComparisonResult)]
    last = evaluations[-1] if evaluations else None
    reasons = [(stage.name, stage.result.nothing_learned) for stage in run.stages if stage.result]
    verdict = judge_run(last, [(name, reason) for name, reason in reasons if reason])
    return page.render(run=run, language=language, languages=LANGUAGES, evaluation=last, verdict=verdict)


def page_environment() -> Environment:
    """Create the Jinja environment of the report templates."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(t=formatting.text, text_or_name=formatting.text_or_name, pictures=figures)
    environment.globals.update(examined=examination_figures)
    environment.filters.update(
        count=formatting.count,
        duration=formatting.duration,
        fixed=formatting.fixed,
        interval=formatting.interval,
        large=formatting.large,
        number=formatting.number,
        percent=formatting.percent,
        picture=Markup,  # our own SVG, in which matplotlib has escaped the names
    )
    return environment
