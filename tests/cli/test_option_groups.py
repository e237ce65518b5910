"""Groups of options: a command gets their values as one parameter."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from gnomon.cli.option_groups import Options, option_group

OPTIONS: Options = {
    "size": (Annotated[int, typer.Option(help="Number of pieces.")], 3),
    "color": (Annotated[str | None, typer.Option(help="Color of all pieces.")], None),
}


def app_of(calls: list[Any], **more: Any) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @option_group("pieces", OPTIONS, **more)
    def cut(name: str, pieces: dict[str, Any], fast: bool = False) -> None:
        """Cut something."""
        calls.append((name, pieces, fast))

    return app


@pytest.mark.parametrize(
    ("line", "pieces"),
    [([], {"size": 3, "color": None}), (["--size", "5", "--color", "red"], {"size": 5, "color": "red"})],
)
def test_a_command_gets_the_values_by_name(line: list[str], pieces: dict[str, Any]) -> None:
    calls: list[Any] = []
    result = CliRunner().invoke(app_of(calls), ["cake", "--fast", *line])
    assert (result.exit_code, calls) == (0, [("cake", pieces, True)])


def test_the_values_are_converted() -> None:
    calls: list[Any] = []
    app = app_of(calls, build=lambda values: values["size"] * [values["color"]])
    assert CliRunner().invoke(app, ["cake", "--size", "2", "--color", "red"]).exit_code == 0
    assert calls == [("cake", ["red", "red"], False)]


def test_help_lists_the_options_of_the_group() -> None:
    text = CliRunner().invoke(app_of([]), ["--help"]).output
    assert "Number of pieces." in text
    assert "--color" in text
    assert "--pieces" not in text
