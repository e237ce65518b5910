"""Numbers on the command line: each option has the range of the setting that it gives, checked as it is read."""

from __future__ import annotations

from importlib import import_module
from typing import Any, get_args, get_type_hints

import typer

from gnomon.core.errors import ConfigError
from gnomon.core.ranges import Range


def number(declared: Any, help: str, *flags: str, **more: Any) -> Any:
    """An option that is a number, as `typer.Option` makes it; one that is out of range is refused.

    Args:
        declared: a `Range`, a type that has one (`Seed`), or `module:Class.field`, a setting that has one; its
            module is imported when the option is read.
        help: what the option is.
        flags: its names, where they are not the parameter's own.
        more: what else `typer.Option` takes.

    Raises:
        ConfigError: when the option is read, with its name and the reason.
    """

    def check(param: typer.CallbackParam, value: Any) -> Any:
        allowed = range_of(declared)
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None and (fault := allowed.fault(one)):
                raise ConfigError(f"{max(param.opts, key=len)} {fault}.")
        return value

    check.declared = declared  # type: ignore[attr-defined]  # for a test that looks at every option
    return typer.Option(*flags, help=help, callback=check, **more)


def range_of(declared: Any) -> Range:
    """The range in what `number` takes."""
    if isinstance(declared, str):
        module, _, path = declared.partition(":")
        name, _, field = path.partition(".")
        declared = get_type_hints(getattr(import_module(module), name), include_extras=True)[field]
    if isinstance(declared, Range):
        return declared
    notes = [note for note in getattr(declared, "__metadata__", ()) if isinstance(note, Range)]
    inner = [part for part in get_args(declared) if hasattr(part, "__metadata__")]  # of `… | None`
    return notes[0] if notes else range_of(inner[0])
