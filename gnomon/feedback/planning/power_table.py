"""Terminal output of `gnomon feedback power`: a table, simulation results and advice."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from gnomon.feedback.planning.annotation_plan import AnnotationPlan, PowerSettings, plan_annotation, simulate


def show(settings: PowerSettings, seed: int | None = None) -> AnnotationPlan:
    """Print the plan, with a simulation if a seed is given.

    Raises:
        ConfigError: no number of judgements is enough.
    """
    plan, console = plan_annotation(settings), Console(highlight=False)
    console.print(_table(plan))
    if seed is not None:
        for row in plan.rows[: 2 if settings.votes > 1 else 1]:
            console.print(f"simulated, {row.items:,} items with {row.votes} vote{'s' * (row.votes > 1)} each:")
            for trial in simulate(settings, row.items, row.votes, seed=seed):
                observed = f"{trial.observed:.1%} ({trial.low:.1%} to {trial.high:.1%})"
                console.print(f"  {trial.name}: {observed}; expected {trial.expected:.1%}", soft_wrap=True)
    console.print(plan.advice, soft_wrap=True)
    return plan


def _table(plan: AnnotationPlan) -> Table:
    settings = plan.settings
    caption = (
        f"power {settings.power:.0%}, level {1 - settings.alpha:.0%}; κ {settings.kappa:g}, so a vote is right "
        f"in {settings.noise.accuracy:.1%}; {settings.per_annotator:,} judgements per annotator"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("win rate", no_wrap=True)
    for name in ("votes", "items", "judgements", "annotators", "labels right"):
        table.add_column(name, justify="right")
    for row in plan.rows:
        numbers = (row.votes, row.items, row.judgements, row.annotators)
        table.add_row(row.goal, *(f"{number:,}" for number in numbers), f"{row.majority_accuracy:.1%}")
    return table
