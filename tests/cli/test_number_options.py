"""Every number on the command line has a range; a number out of range is one sentence with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import signature
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer
from project import Ran

from gnomon.cli.main import app
from gnomon.cli.number_options import range_of
from gnomon.cli.sampling_options import OTHERS, SETTINGS
from gnomon.core.ranges import Range
from gnomon.rollouts.sampling_params import Sampling


def commands_of(group: typer.Typer, before: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{before}{command.name or command.callback.__name__}", command.callback
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands_of(inner.typer_instance, f"{before}{inner.name} ")


def options() -> list[tuple[str, str, Any]]:
    """Each numeric parameter of each command, with its typer option."""
    result = []
    for name, command in commands_of(app):
        for parameter, hint in get_type_hints(command, include_extras=True).items():
            if get_origin(hint) is Annotated:
                kind, *notes = get_args(hint)
                if {int, float} & ({kind} | set(get_args(kind))):
                    result.append((name, parameter, notes[0]))
    return result


def test_every_number_on_the_command_line_has_a_range() -> None:
    declared = options()
    assert len(declared) > 40  # all commands are covered
    bare = [
        f"{name} --{parameter}" for name, parameter, note in declared if not hasattr(note.callback, "declared")
    ]
    assert bare == []
    assert all(isinstance(range_of(note.callback.declared), Range) for _, _, note in declared)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["sample", "m", "--temperature", "nan"], "--temperature must be finite and at least 0 and at most 1000"),
        (
            ["sample", "m", "-k", "0"],
            "--completions must be at least 1 and at most 1000000, not 0",
        ),
        (
            ["chat", "m", "--seed", str(2**63)],
            "--seed must be at least 0 and below 2^63, not 2^63",
        ),
        (["feedback", "power", "--kappa", "inf"], "--kappa must be finite and at least 0 and at most 1, not inf"),
        (["feedback", "serve", "--port", "65536"], "--port must be at least 0 and at most 65535, not 65536"),
        (
            ["feedback", "generate", "s.db", "--from", "m", "--temperature", "0.5", "--temperature", "-1"],
            "--temperature must be at least 0 and at most 1000, not -1",
        ),
    ],
)
def test_a_number_out_of_range_is_one_sentence(
    ask: Callable[..., Ran], arguments: list[str], sentence: str
) -> None:
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {sentence}")
    assert len(err.splitlines()) == 1


def test_commands_that_sample_have_the_same_options() -> None:
    """Declared once; only defaults differ between commands."""
    commands = dict(commands_of(app))
    shared = {*SETTINGS, *OTHERS}
    hints = [get_type_hints(commands[name], include_extras=True) for name in ("sample", "chat")]
    assert all(hints[0][name] is hints[1][name] for name in shared)
    assert {*SETTINGS} | {"completions"} <= set(Sampling.model_fields)
    defaults = [
        {name: one.default for name, one in signature(commands[command]).parameters.items() if name in shared}
        for command in ("sample", "chat")
    ]
    different = {name for name in shared if defaults[0][name] != defaults[1][name]}
    assert different == {"temperature", "max_tokens"}
