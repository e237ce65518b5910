"""`gnomon feedback plan` on the terminal: a table, what simulated annotators found, and what to do."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from gnomon.feedback.planning.annotation_plan import Plan, Wish, make_plan, simulate


def show(wish: Wish, seed: int | None = None) -> Plan:
    """Print the plan of a wish, with a simulation where there is a seed.

    Raises:
        ConfigError: no number of judgements is enough.
    """
    plan, console = make_plan(wish), Console(highlight=False)
    console.print(_table(plan))
    if seed is not None:
        for row in plan.rows[: 2 if wish.votes > 1 else 1]:
            console.print(f"simulated, {row.items:,} items with {row.votes} vote{'s' * (row.votes > 1)} each:")
            for trial in simulate(wish, row.items, row.votes, seed=seed):
                found = f"{trial.found:.1%} ({trial.low:.1%} to {trial.high:.1%})"
                console.print(f"  {trial.what}: {found}; expected {trial.said:.1%}", soft_wrap=True)
    console.print(plan.advice, soft_wrap=True)
    return plan


def _table(plan: Plan) -> Table:
    wish = plan.wish
    caption = (
        f"power {wish.power:.0%}, level {1 - wish.alpha:.0%}; κ {wish.kappa:g}, so a vote is right in "
        f"{wish.noise.accuracy:.1%}; {wish.each:,} judgements each"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("win rate", no_wrap=True)
    for name in ("votes", "items", "judgements", "annotators", "labels right"):
        table.add_column(name, justify="right")
    for row in plan.rows:
        numbers = (row.votes, row.items, row.judgements, row.annotators)
        table.add_row(row.wish, *(f"{number:,}" for number in numbers), f"{row.right:.1%}")
    return table
