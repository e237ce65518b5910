"""Groups of options that commands share or pass on together, such as the fields of a settings class."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

Options = Mapping[str, tuple[Any, Any]]  # by name: the annotation of typer, and the default
Command = Callable[..., None]


def option_group(
    parameter: str, options: Options, build: Callable[[dict[str, Any]], Any] = dict
) -> Callable[[Command], Command]:
    """A decorator that adds options to a command, which gets all their values as one parameter.

    Args:
        parameter: name of the command's parameter.
        options: the options to add.
        build: converts the values by name into the parameter's value.
    """
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]

    def decorate(command: Command) -> Command:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != parameter]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            group = {name: values.pop(name) for name in options}
            command(**values, **{parameter: build(group)})

        # Typer reads these; without `__wrapped__` nothing inspects the inner function instead.
        del run.__dict__["__wrapped__"]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
        run.__dict__["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate
