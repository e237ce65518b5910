"""Every number of every setting has a declared range, and a value out of it is refused in one sentence."""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin, get_type_hints

import pytest

import gnomon
from gnomon.algorithms.contract import algorithms
from gnomon.core.config import Settings, validate
from gnomon.core.errors import ConfigError
from gnomon.core.ranges import Finite, Range, Seed

OPTIONAL = {"gnomon.rollouts.text_env"}  # needs an extra that may not be installed


def every_settings_class() -> list[type]:
    """Settings classes of the whole package, and the dataclasses of all algorithms."""
    for module in pkgutil.walk_packages(gnomon.__path__, "gnomon."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    result: list[type] = []
    waiting = [Settings]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith("gnomon."):
            result.append(kind)
    return [*result, *algorithms().values()]


def numbers_without_a_range(hint: Any, covered: bool = False) -> Iterator[str]:
    """The `int` and `float` in a type that no `Range` stands around."""
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        yield from numbers_without_a_range(kind, covered or any(isinstance(note, Range) for note in notes))
    elif hint in (int, float):
        if not covered:
            yield hint.__name__
    elif get_origin(hint) in (tuple, list, dict, Union, types.UnionType):
        for part in get_args(hint):
            yield from numbers_without_a_range(part)


def settings_of(kind: type) -> dict[str, Any]:
    """A settings class's or dataclass's fields, with their types as they are declared."""
    hints = get_type_hints(kind, include_extras=True)
    names = [f.name for f in fields(kind)] if is_dataclass(kind) else list(kind.model_fields)  # type: ignore[attr-defined]
    return {name: hints[name] for name in names if get_origin(hints[name]) is not ClassVar}


def test_every_number_of_every_setting_has_a_range() -> None:
    kinds = every_settings_class()
    bare = [
        f"{kind.__module__}.{kind.__name__}.{name}: {number}"
        for kind in kinds
        for name, hint in settings_of(kind).items()
        for number in numbers_without_a_range(hint)
    ]
    assert bare == []
    assert len(kinds) > 50  # the walk sees them


def test_the_walk_sees_numbers_inside_other_types() -> None:
    kinds = [int, float | None, tuple[float, ...], dict[str, int], Annotated[int, "a note"]]
    assert all(list(numbers_without_a_range(kind)) for kind in kinds)
    assert not list(numbers_without_a_range(tuple[Finite | None, ...] | bool | str))


class Small(Settings):
    share: Annotated[float, Range("it is a share", gt=0, le=1)] = 0.5
    count: Annotated[int, Range("it counts", ge=1)] = 1
    pair: tuple[Finite, Finite] | None = None
    seed: Seed = 0


def refusal(content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as excinfo:
        validate(Small, content, "here")
    return str(excinfo.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"share": 0}, "here: share: must be above 0 and at most 1, not 0, since it is a share."),
        ({"share": "1.5"}, "here: share: must be above 0 and at most 1, not 1.5, since it is a share."),
        (
            {"share": float("nan")},
            "here: share: must be finite and above 0 and at most 1, not nan, since it is a share.",
        ),
        (
            {"share": "-inf"},
            "here: share: must be finite and above 0 and at most 1, not -inf, since it is a share.",
        ),
        ({"share": True}, "here: share: must be a number, not true or false."),
        (
            {"share": 5e-324},
            "here: share: must be 0 or at least 1.2e-38 in size, not 5e-324, since float32 rounds it to 0.",
        ),
        ({"count": True}, "here: count: must be a number, not true or false."),
        ({"count": 0}, "here: count: must be at least 1, not 0, since it counts."),
        (
            {"count": 10**23},
            "here: count: must fit into 64 bits and float32, not a number of 24 digits, since no computation "
            "could hold it.",
        ),
        ({"count": 1.5}, "here: count: input should be a valid integer, got a number with a fractional part."),
        ({"count": []}, "here: count: input should be a valid integer."),
        (
            {"pair": [0, float("inf")]},
            "here: pair.1: must be finite and a number, not inf, since",
        ),
        ({"pair": [0, 1e300]}, "here: pair.1: must fit into 64 bits and float32, not 1e+300"),
        ({"seed": 2**63}, "here: seed: must be at least 0 and below 2^63, not 2^63, since generators"),
        ({"seed": -1}, "here: seed: must be at least 0 and below 2^63, not -1"),
    ],
)
def test_values_out_of_range_are_refused_with_the_reason(content: dict[str, Any], sentence: str) -> None:
    assert refusal(content).startswith(sentence)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ({"share": "1e-4"}, 1e-4),  # YAML 1.1 leaves it as text
        ({"share": 1}, 1.0),
        ({"count": "1e3"}, 1000),
        ({"count": "7"}, 7),
        ({"count": 8.0}, 8),
        ({"count": str(2**63 - 1)}, 2**63 - 1),  # not rounded on the way
        ({"seed": 2**63 - 1}, 2**63 - 1),
    ],
)
def test_numbers_in_any_spelling_are_read(content: dict[str, Any], value: float) -> None:
    (name,) = content
    assert getattr(validate(Small, content, "here"), name) == value


@pytest.mark.parametrize("algorithm", algorithms())
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1, True, 1e308, 10**23, 5e-324])
def test_no_algorithm_takes_an_odd_number(algorithm: str, value: float) -> None:
    kind = algorithms()[algorithm]
    for name, hint in settings_of(kind).items():
        if hint not in (bool, str) and "Literal" not in str(hint):
            several = "tuple" in str(hint) or "Mapping" in str(hint)  # of numbers or settings, not one number
            said = "input should be a valid" if several else "must "
            with pytest.raises(ConfigError, match=f"here: {name}: {said}"):
                validate(kind, {name: value}, "here")
