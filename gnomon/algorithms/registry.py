"""Algorithms by name: those of this folder, of installed packages, and of files that a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any

from gnomon.algorithms.contract import algorithms, is_online
from gnomon.core.errors import ConfigError
from gnomon.core.experience import Experience
from gnomon.core.extensions import Registry, describe_error, exits_as_errors
from gnomon.core.types import Demonstration, Label, Preference, Ranking

CONSUMED: tuple[type, ...] = (Demonstration, Preference, Label, Ranking, Experience)
NEEDS = {"reference", "critic", "token_reward", "mismatched"}
REQUIRED = ("consumes", "trains", "loop_defaults", "min_group_size", "needs", "loss")
REQUIRED_ONLINE = ("compute_advantages", "supports_kl_loss", "single_update")


def consumed_kinds(algorithm: Any) -> tuple[type, ...]:
    """Return the kinds of records that an algorithm learns from; one alone, unless it has `also_consumes`."""
    return (algorithm.consumes, *getattr(algorithm, "also_consumes", ()))


def check_algorithm(candidate: Any, label: str) -> type:
    """The class itself if it keeps the contract of `gnomon.algorithms.contract.Algorithm`.

    Raises:
        ConfigError: the first piece that is missing or wrong.
    """
    if not isinstance(candidate, type):
        raise ConfigError(f"{label} is no class; name a frozen dataclass with a loss.")
    prefix = f"{label}: the class {candidate.__name__}"
    if not is_dataclass(candidate) or not candidate.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ConfigError(
            f"{prefix} is no frozen dataclass; decorate it with @dataclass(frozen=True, kw_only=True)."
        )
    kind: Any = candidate
    online = getattr(kind, "consumes", None) is Experience
    for name in (*REQUIRED, *(REQUIRED_ONLINE if online else ())):
        if not hasattr(kind, name):
            raise ConfigError(f"{prefix} lacks '{name}'; define it as in gnomon/algorithms/contract.py.")
    faults = {
        "consumes": (kind.consumes in CONSUMED, f"one of {', '.join(one.__name__ for one in CONSUMED)}"),
        "trains": (kind.trains in ("policy", "reward"), "'policy' or 'reward'"),
        "loop_defaults": (isinstance(kind.loop_defaults, Mapping), "a mapping of loop settings"),
        "min_group_size": (
            isinstance(kind.min_group_size, int) and kind.min_group_size >= 1,
            "a number from 1 on",
        ),
        "loss": (callable(kind.loss), "a method"),
        "compute_advantages": (
            is_online(kind) == online,
            "a method of algorithms that consume Experience, and of no others",
        ),
    }
    for name, (valid, wanted) in faults.items():
        if not valid:
            raise ConfigError(f"{prefix}: '{name}' is {getattr(kind, name, None)!r:.60}, not {wanted}; fix it.")
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{prefix}: its setting '{field.name}' has no default; give it one.")
    try:
        needs = exits_as_errors(lambda: kind().needs)()
    except Exception as error:
        raise ConfigError(
            f"{prefix} cannot be created with its defaults ({describe_error(error)}); fix it."
        ) from error
    if not isinstance(needs, frozenset) or needs - NEEDS:
        known = ", ".join(sorted(NEEDS))
        raise ConfigError(f"{prefix}: 'needs' is {needs!r:.60}, not a frozenset of some of {known}; fix it.")
    return candidate


@cache
def _own() -> dict[str, type]:
    return algorithms()


ALGORITHMS: Registry[type] = Registry(
    noun="algorithm",
    group="gnomon.algorithms",
    own_names=_own,
    load_own=lambda name: _own()[name],
    check=check_algorithm,
)


def find_algorithm(name: str) -> Any:
    """The class of an algorithm, by its name or as `path/to/file.py:Class`.

    Raises:
        ConfigError: there is none, or it does not keep the contract.
    """
    return ALGORITHMS.find(name)
