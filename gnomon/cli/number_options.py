"""Numeric command-line options, checked against the range of their setting when they are parsed."""

from __future__ import annotations

from importlib import import_module
from typing import Any, get_args, get_type_hints

import typer

from gnomon.core.errors import ConfigError
from gnomon.core.ranges import Range


def number(declared: Any, help: str, *flags: str, **more: Any) -> Any:
    """A numeric `typer.Option` that refuses values out of range.

    Args:
        declared: a `Range`, a type with one (`Seed`), or `module:Class.field`, a setting with one, whose module
            is imported when the option is parsed.
        help: help text of the option.
        flags: its names, if not the parameter's own.
        more: other arguments of `typer.Option`.

    Raises:
        ConfigError: when the option is parsed, with its name and the reason.
    """

    def check(param: typer.CallbackParam, value: Any) -> Any:
        allowed = range_of(declared)
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None and (fault := allowed.fault(one)):
                raise ConfigError(f"{max(param.opts, key=len)} {fault}.")
        return value

    check.declared = declared  # type: ignore[attr-defined]  # read by a test of all options
    return typer.Option(*flags, help=help, callback=check, **more)


def range_of(declared: Any) -> Range:
    """The range of a declaration for `number`."""
    if isinstance(declared, str):
        module, _, path = declared.partition(":")
        name, _, field = path.partition(".")
        declared = get_type_hints(getattr(import_module(module), name), include_extras=True)[field]
    if isinstance(declared, Range):
        return declared
    notes = [note for note in getattr(declared, "__metadata__", ()) if isinstance(note, Range)]
    inner = [part for part in get_args(declared) if hasattr(part, "__metadata__")]  # of `… | None`
    return notes[0] if notes else range_of(inner[0])
