"""The options of `gnomon feedback init`: the fields of `Setup`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gnomon.cli.number_options import number
from gnomon.cli.option_groups import Options

SETUP = "gnomon.feedback.task_types:Setup"
SETUP_OPTIONS: Options = {
    "criteria": (Annotated[str | None, typer.Option(help="Criteria to score, separated by commas.")], None),
    "ranking_size": (
        Annotated[int | None, number(SETUP + ".ranking_size", "Completions per ranking.", show_default="4")],
        None,
    ),
    "confidence": (
        Annotated[bool, typer.Option("--confidence", help="Ask annotators how confident they are.")],
        False,
    ),
    "rewrite": (
        Annotated[bool, typer.Option("--rewrite", help="Let annotators edit a completion into a demonstration.")],
        False,
    ),
    "approval": (
        Annotated[
            bool, typer.Option("--approval", help="Have each written answer reviewed by a second annotator.")
        ],
        False,
    ),
    "min_answer_chars": (
        Annotated[
            int | None,
            number(
                SETUP + ".min_answer_chars",
                "Minimum length of a written answer, in characters.",
                show_default="1",
            ),
        ],
        None,
    ),
    "max_answer_chars": (
        Annotated[
            int | None,
            number(
                SETUP + ".max_answer_chars",
                "Maximum length of a written answer, in characters.",
                show_default="20000",
            ),
        ],
        None,
    ),
    "check_language": (
        Annotated[
            bool,
            typer.Option("--check-language", help="Warn of a written answer in another script than its prompt."),
        ],
        False,
    ),
    "min_reason_chars": (
        Annotated[int, number(SETUP + ".min_reason_chars", "Minimum length of a reason, in characters.")],
        0,
    ),
    "gold_rate": (
        Annotated[
            float | None,
            number(SETUP + ".gold_rate", "Share of gold items among the items shown.", show_default="0.1"),
        ],
        None,
    ),
    "min_reliability": (
        Annotated[
            float | None, number(SETUP + ".min_reliability", "Pause annotators whose reliability is lower.")
        ],
        None,
    ),
    "min_votes_before_pause": (
        Annotated[
            int | None,
            number(SETUP + ".min_votes_before_pause", "Judgements required before a pause.", show_default="20"),
        ],
        None,
    ),
    "consensus_threshold": (
        Annotated[
            float | None,
            number(
                SETUP + ".consensus_threshold",
                "Share of votes that the majority must exceed.",
                show_default="0.5",
            ),
        ],
        None,
    ),
    "min_seconds": (
        Annotated[float | None, number(SETUP + ".min_seconds", "Shorter judgements count as too fast.")],
        None,
    ),
    "max_seconds": (
        Annotated[float | None, number(SETUP + ".max_seconds", "Longer judgements count as too slow.")],
        None,
    ),
    "contact": (Annotated[str | None, typer.Option(help="Whom paused annotators should contact.")], None),
    "qualification_pass": (
        Annotated[
            float | None,
            number(
                SETUP + ".qualification_pass",
                "Share of the qualification to answer correctly.",
                show_default="0.8",
            ),
        ],
        None,
    ),
    "qualification_attempts": (
        Annotated[
            int | None,
            number(
                SETUP + ".qualification_attempts", "Number of attempts at the qualification.", show_default="2"
            ),
        ],
        None,
    ),
}


def setup_settings(values: dict[str, Any]) -> dict[str, Any]:
    """The settings that differ from their defaults."""
    criteria = values["criteria"]
    names = [name.strip() for name in criteria.replace("，", ",").split(",")] if criteria else None
    settings = {**values, "criteria": names, "min_reason_chars": values["min_reason_chars"] or None}
    return {
        name: value
        for name, value in settings.items()
        if value is not None and value is not False and value != ""
    }
