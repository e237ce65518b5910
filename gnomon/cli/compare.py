"""`gnomon compare`: algorithms side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gnomon.cli.number_options import number
from gnomon.core import ranges
from gnomon.core.errors import translate_interrupt

SECONDS = ranges.Range("an optimizer step takes about as long", ge=1, le=1e9)


def compare(
    recipe: Annotated[
        Path, typer.Argument(help="A recipe; the candidate of its evaluation is the varied stage.")
    ],
    algorithms: Annotated[str, typer.Option(help="Algorithms, separated by commas: names or FILE.py:CLASS.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="As for run; ALGORITHM.training.… applies to that one only.")
    ] = None,
    seeds: Annotated[int, number(ranges.Count, "Number of seeds, from the recipe's seed on.")] = 3,
    seconds: Annotated[
        float | None,
        number(SECONDS, "Training time of each algorithm.", show_default="its own steps"),
    ] = None,
    tokens: Annotated[
        int | None,
        number(
            ranges.BudgetTokens,
            "Training tokens of each algorithm.",
            show_default="its own steps",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="A data set, NAME: key=value …; may be repeated. Compares on each, then over all."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The output folder.", show_default="the recipe's run folder-compare")
    ] = None,
) -> None:
    """Compare algorithms on the same data, with the same budget and several seeds, in one report.

    [bold]Examples[/bold]

      gnomon compare recipes/film-reviews.yaml --algorithms dpo,ipo,ppo,grpo --seeds 3 --seconds 300

      gnomon compare recipes/smoke.yaml --algorithms ppo,rloo --tokens 20000 --out runs/bench

      gnomon compare recipes/film-reviews.yaml --algorithms dpo,simpo dpo.settings.beta=0.05

      gnomon compare recipes/film-reviews.yaml --algorithms dpo,focal.py:Focal Focal.settings.gamma=2

      gnomon compare mine.yaml --algorithms dpo,ipo --data 'a: judge.data=a.jsonl' --data 'b: judge.data=b.jsonl'

    The stages before the varied one run once per seed. The report is OUT/compare.html, its figures are in
    OUT/compare.json. The same command resumes a stopped comparison.
    """
    with translate_interrupt():
        from gnomon.api.recipes import compare as run_comparison
        from gnomon.comparison.data_sets import read_sets

        names = [name.strip() for name in algorithms.split(",") if name.strip()]
        settings = overrides or []
        sets = read_sets(data or ())
        report = run_comparison(
            recipe, names, *settings, seeds=seeds, seconds=seconds, tokens=tokens, data=sets, out=out
        )
        typer.echo(report)
