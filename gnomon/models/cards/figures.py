"""The figures of a model card, which become known after the model was saved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard as HubCard

from gnomon.core.redaction import redact
from gnomon.core.storage.sealed_files import is_sealed, without_seal, write_sealed
from gnomon.models.cards.base import CARD
from gnomon.models.cards.facts import Figure
from gnomon.models.cards.markdown import code, table

SECTION_START, SECTION_END = "<!-- figures -->", "<!-- end of figures -->"
NO_FIGURES = "None has been measured yet."
# The first such lines: what stands above them has no line that a user wrote.
_SECTION = re.compile(rf"^{SECTION_START}\n.*?^{SECTION_END}$", re.DOTALL | re.MULTILINE)


def set_figures(folder: Path, name: str, figures: Sequence[Figure], task: str) -> None:
    """Put figures into the card in a model's folder, in the place of those that are there.

    A card that is missing, or that somebody else wrote or changed, is left as it is.

    Args:
        folder: of the model.
        name: of the model.
        figures: all that are known.
        task: of the hub, such as `text-generation`.
    """
    path = folder / CARD
    if path.is_symlink() or not path.is_file() or not is_sealed(path):
        return
    before = path.read_text(encoding="utf-8")
    after = with_figures(without_seal(before), name, figures, task)
    if after != without_seal(before):
        write_sealed(path, after)


def with_figures(text: str, name: str, figures: Sequence[Figure], task: str) -> str:
    """The text of a card with these figures in its section, and the model's own ones in its metadata.

    Args:
        text: of the card.
        name: of the model.
        figures: to show.
        task: of the hub, such as `text-generation`.
    """
    card = HubCard(text)
    results = [_eval_result(figure, task) for figure in figures if figure.own]
    card.data["eval_results"] = results or None
    card.data["model_name"] = name if results else None
    section = f"{SECTION_START}\n{_rows(figures)}\n{SECTION_END}"
    card.text = _SECTION.sub(lambda _: section, card.text, count=1)
    return str(card)


def _rows(figures: Sequence[Figure]) -> str:
    if not figures:
        return NO_FIGURES
    rows = [
        (
            " ".join([one.name, *(f"{word} {code(name)}" for word, name in one.about)]),
            _number(one.value),
            "" if one.low is None or one.high is None else f"{_number(one.low)} to {_number(one.high)}",
            code(one.measured),
            one.note,
        )
        for one in figures
    ]
    return table(("figure", "value", "95% interval", "measured in", ""), rows)


def _eval_result(figure: Figure, task: str) -> EvalResult:
    """Convert a figure for the hub; its name includes the judge and the interval, which have no field there."""
    words = [figure.name, *(f"{word} {name}" for word, name in figure.about)]
    if figure.low is not None and figure.high is not None:
        words.append(f"(95% interval {_number(figure.low)} to {_number(figure.high)})")
    return EvalResult(
        task_type=task,
        dataset_type=re.sub(r"[^\w.-]+", "-", figure.measured),
        dataset_name=redact(f"stage {figure.measured}"),
        metric_type=figure.name.replace(" ", "_"),
        metric_name=redact(" ".join(" ".join(words).split())),
        metric_value=round(figure.value, 4),
    )


def _number(value: float) -> str:
    return f"{value:.3f}"
