"""The command group `gnomon feedback`, and the arguments that its commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Collect human judgements and export them as preferences.")
Url = Annotated[str, typer.Argument(help="A SQLite file, or postgresql://user@host/name.")]
NewProject = Annotated[str, typer.Option("--project", help="The project's id.")]
ProjectId = Annotated[
    str | None, typer.Option("--project", help="The project's id.", show_default="the only one")
]
Mix = Annotated[
    str | None,
    typer.Option(
        help="Shares that add up to 1.",
        show_default="high_value=0.4,under_covered=0.3,edge=0.2,random=0.1",
    ),
]


def shares_of(mix: str | None) -> dict[str, Any] | None:
    """The shares of `high_value=0.4,random=0.6`; `None` without any."""
    from gnomon.core.config import parse_override

    return {".".join(path): value for path, value in map(parse_override, mix.split(","))} if mix else None


def counted(n: int, things: str) -> str:
    """A count with its noun, singular for 1; the first word of `things` is the plural noun."""
    noun, blank, rest = things.partition(" ")
    return f"{n} {noun if n != 1 else noun.removesuffix('s')}{blank}{rest}"
