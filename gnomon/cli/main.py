"""The command line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from typer.core import TyperGroup

from gnomon.cli import compare, data, inference, serving, train
from gnomon.cli.feedback import commands as feedback
from gnomon.core.boundary import CRASH_CODE, input_errors, printable, shown, write_crash
from gnomon.core.errors import (
    ConfigError,
    GnomonError,
    Interrupted,
    RunError,
    translate_disk_full,
    translate_interrupt,
)
from gnomon.core.ranges import Range
from gnomon.core.redaction import redact
from gnomon.core.renamed import renamed_command, renamed_flag
from gnomon.core.stopping import STOPPED, was_stopped
from gnomon.core.version import VERSION

ROWS = Range("it counts records", ge=0, le=10**9)


class Commands(TyperGroup):
    """The group of commands; each handles an interrupt."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Parse the arguments before the command's name."""
        with _clear_usage():
            return super().make_context(*arguments, **more)

    def invoke(self, context: Any) -> Any:
        """Run the given command."""
        with translate_interrupt("stopped; run the same command again."), _clear_usage():
            return super().invoke(context)


@contextmanager
def _clear_usage() -> Iterator[None]:
    """Redact passwords in the parser's errors, which quote arguments, and add hints for unknown words."""
    try:
        yield
    except Exception as error:  # typer's exceptions of the parser have no public base class
        if isinstance(message := getattr(error, "message", None), str):
            error.message = redact(message)  # type: ignore[attr-defined]
            _add_hint(error)
        raise


def _add_hint(error: Any) -> None:
    """Add the new name of a renamed flag or command to the parser's error."""
    command, context = "", getattr(error, "ctx", None)
    while context and context.parent:  # without the program's name, the outermost context's
        command, context = f"{context.info_name} {command}".strip(), context.parent
    flag = getattr(error, "option_name", None)
    unknown = re.match(r"No such command '(.+)'", error.message)
    if isinstance(flag, str) and error.message.startswith("No such option") and renamed_flag(command, flag):
        error.message = f"No such option: {flag}; it is called {renamed_flag(command, flag)}."
        error.possibilities = None
    elif unknown and (name := renamed_command(f"{command} {unknown[1]}".strip())):
        error.message = f"No such command '{unknown[1]}'; it is called '{name}'."


RECIPE = "A recipe in YAML, or the name of a shipped one, such as smoke."
app = typer.Typer(
    cls=Commands,
    name="gnomon",
    help="Turn human judgement into an aligned language model.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
err = Console(stderr=True, highlight=False)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"gnomon {VERSION}")
        raise typer.Exit


@app.callback()
def gnomon(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Turn human judgement into an aligned language model."""


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help=RECIPE)],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.subkey=value; may be repeated.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the memory and time each stage will take; train nothing.")
    ] = False,
) -> None:
    """Run a recipe: every unfinished stage, then the report.

    [bold]Examples[/bold]

      gnomon run recipes/film-reviews.yaml

      gnomon run recipes/film-reviews.yaml run=runs/second seed=1

      gnomon run recipes/film-reviews.yaml aligned.training.steps=40 training.micro_batch_tokens=1024

      gnomon run recipes/film-reviews.yaml --dry-run

    A finished stage is not run again; a stopped one resumes. A stage whose settings changed is run again, and its
    previous folder is renamed with a number.
    """
    with translate_interrupt():
        if dry_run:
            _print_plan(recipe, overrides or [])
            return
        from gnomon.api.recipes import run as run_recipe

        run_recipe(recipe, *(overrides or []))


def _print_plan(recipe: Path, overrides: list[str]) -> None:
    from gnomon.api.recipes import plan as plan_recipe
    from gnomon.core.progress import console, format_duration
    from gnomon.pipeline.resource_plan import format_plan

    console.print("trying each stage on a few tokens; nothing is trained")
    plan = plan_recipe(recipe, *overrides)
    console.print(format_plan(plan), markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"memory in GB of 10^9 bytes, on {plan.device}; activations and sampling take turns\n"
        f"[bold]peak {plan.peak_gb:.1f} GB, {format_duration(plan.seconds)}[/bold] if completions are as long "
        "as they may be"
    )


@app.command()
def check(
    recipe: Annotated[Path, typer.Argument(help=RECIPE)],
    overrides: Annotated[list[str] | None, typer.Argument(help="key.subkey=value; may be repeated.")] = None,
) -> None:
    """Check a recipe and its input files without running it, and list its stages.

    [bold]Example[/bold]

      gnomon check recipes/film-reviews.yaml aligned.training.steps=40
    """
    from gnomon.api.recipes import check as check_recipe

    for stage in check_recipe(recipe, *(overrides or [])).stages:
        typer.echo(f"{stage.name}: {stage.describe()}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    language: Annotated[
        str | None,
        typer.Option(help="Initial language, en or zh.", show_default="that of the run's recipe"),
    ] = None,
) -> None:
    """Write a run's report again.

    [bold]Example[/bold]

      gnomon report runs/film-reviews --language zh
    """
    from gnomon.api.recipes import report as write
    from gnomon.reporting.run_reader import Language

    if language not in (None, "en", "zh"):
        raise ConfigError(f"--language is '{language}'; give en or zh.")
    typer.echo(write(folder, language=cast("Language | None", language)))


app.command()(train.train)
app.command()(compare.compare)
app.command()(inference.score)
app.command()(inference.sample)
app.command()(inference.chat)
app.add_typer(train.evaluations, name="evaluate")
app.command()(serving.serve)
app.command()(serving.export_decision)
app.add_typer(feedback.app, name="feedback")


@app.command()
def algorithms() -> None:
    """List the algorithms, the records each is trained on, and its settings.

    [bold]Example[/bold]

      gnomon algorithms
    """
    from dataclasses import fields

    from gnomon.algorithms.registry import ALGORITHMS, find_algorithm

    for name in ALGORITHMS.names():
        try:
            kind = find_algorithm(name)
        except ConfigError as error:
            typer.echo(f"{name}: {error}")
            continue
        settings = ", ".join(f"{f.name}={_default_of(f)}" for f in fields(kind)) or "no settings"
        typer.echo(f"{name}: trained on {kind.consumes.__name__}; {settings}")


def _default_of(field: Field[Any]) -> str:
    """Return the default of a setting as text on one line."""
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    return str(value) if str(value).isprintable() else repr(value)


app.add_typer(data.app, name="data")


def main() -> None:
    """Run the command line.

    Exit codes: 0 is success, 1 a target that was not reached, 2 a mistake of the user, 3 a full disk, 70 a bug in
    Gnomon, 130 an interrupt.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Spin time of OpenMP threads. The default of a millisecond made a step ten times slower whenever another
    # program used a core; without spinning, sampling with its thousands of small steps takes half as long again.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    try:
        with translate_disk_full(_working_folder()), input_errors():
            _check_arguments(sys.argv[1:])
            app()
    except Interrupted as stopped:
        err.print(str(stopped), style="yellow", markup=False, soft_wrap=True)
        sys.exit(stopped.exit_code)
    except GnomonError as error:
        err.print("[red]error:[/red]", end=" ")
        err.print(printable(str(error)), markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - last resort: users get a message, not a traceback
        if was_stopped():
            err.print("stopped; run the same command again.", style="yellow")
            sys.exit(STOPPED)
        file = write_crash(error)
        where = f"its traceback is in {file}; please report it" if file else "its traceback could not be written"
        err.print("[red]error:[/red]", end=" ")
        problem = f"a bug in Gnomon ({type(error).__name__}) stopped this command; {where}."
        err.print(problem, markup=False, soft_wrap=True)
        sys.exit(CRASH_CODE)


def _working_folder() -> str:
    """The current working folder, which may have been removed."""
    try:
        return os.getcwd()
    except OSError:
        raise RunError("the working folder is gone; change to one that exists.") from None


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuse arguments that are not UTF-8."""
    for position, text in enumerate(arguments, start=1):
        if text.encode("utf-8", "replace").decode() != text:
            raise ConfigError(f"argument {position} ({shown(text)}) is not text in UTF-8; write it in UTF-8.")
