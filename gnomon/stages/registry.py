"""Kinds of stages by name: those of this folder, of installed packages, and of files that a recipe names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

from gnomon.core.errors import ConfigError, GnomonError
from gnomon.core.extensions import Registry, describe_error, exits_as_errors
from gnomon.stages.contract import Result, Stage
from gnomon.stages.references import Inputs, ModelComparison

SHARED = {"contract", "references", "registry", "train_settings", "workspace"}  # files that define no kind


@cache
def stage_kinds() -> dict[str, type[Stage]]:
    """Gnomon's own kinds of stages by the names of their files, each with one class derived from `Stage`."""
    package = importlib.import_module("gnomon.stages")
    kinds: dict[str, type[Stage]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        if info.name in SHARED or info.ispkg:
            continue
        module = importlib.import_module(f"gnomon.stages.{info.name}")
        own = [value for value in vars(module).values() if inspect.isclass(value)]
        classes = [kind for kind in own if issubclass(kind, Stage) and kind.__module__ == module.__name__]
        assert len(classes) == 1, f"{module.__name__} must hold one kind of stage"
        kinds[info.name] = classes[0]
    return kinds


def result_types() -> dict[str, type[Result]]:
    """The classes of results of Gnomon's own kinds, by the `kind` in their files."""
    types = [kind.result_type for kind in stage_kinds().values()]
    return {str(one.model_fields["kind"].default): one for one in types}


def check_stage_kind(candidate: Any, label: str) -> type[Stage]:
    """The class itself if it keeps the contract of `gnomon.stages.contract.Stage`.

    Raises:
        ConfigError: the first piece that is missing or wrong.
    """
    if not isinstance(candidate, type):
        raise ConfigError(f"{label} is no class; name a class derived from gnomon.stages.contract.Stage.")
    prefix = f"{label}: the class {candidate.__name__}"
    if not issubclass(candidate, Stage):
        raise ConfigError(f"{prefix} is not derived from gnomon.stages.contract.Stage; derive it from that.")
    if abstract := sorted(candidate.__abstractmethods__):
        raise ConfigError(
            f"{prefix} lacks the method '{abstract[0]}'; define it as in gnomon/stages/contract.py."
        )
    result = candidate.result_type
    if not (isinstance(result, type) and issubclass(result, Result)):
        raise ConfigError(f"{prefix}: 'result_type' is {result!r:.60}, no class derived from Result; fix it.")
    kind = str(result.model_fields["kind"].default)
    if kind in result_types() and not issubclass(result, result_types()[kind]):
        raise ConfigError(f"{prefix}: 'kind' of its results is '{kind}', which is Gnomon's own; rename it.")
    for name in ("data_keys", "model_keys", "nested_keys"):
        keys = getattr(candidate, name)
        if not isinstance(keys, tuple) or not all(isinstance(key, str) for key in keys):
            raise ConfigError(f"{prefix}: '{name}' is {keys!r:.60}, not a tuple of names of settings; fix it.")
    return candidate


def check_methods(stage: Stage, where: str) -> None:
    """Check what the methods of a kind from outside return that the pipeline reads before anything runs.

    Raises:
        ConfigError: a method raises an exception, or returns a value of another type.
    """
    types: dict[str, type | tuple[type, ...]] = {
        "inputs": Inputs,
        "parts": frozenset,
        "model_kind": str,
        "saved_critic": (str, type(None)),
        "trainings": (tuple, list),
        "comparison": (ModelComparison, type(None)),
        "describe": str,
        "row": dict,
        "semantic_settings": dict,
    }
    for name, wanted in types.items():
        called(stage, name, wanted, where)


def called(owner: Any, method: str, wanted: type | tuple[type, ...], where: str, *arguments: Any) -> Any:
    """Call a method of a kind from outside and check the type of its value.

    Args:
        owner: the class or the stage.
        method: its name.
        wanted: type of the value, or several.
        where: prefix of error messages.
        arguments: of the method.

    Raises:
        ConfigError: the method raises an exception, or returns a value of another type.
    """
    kind = owner if isinstance(owner, type) else type(owner)
    label = f"{where}: {kind.__name__}.{method}"
    try:
        value = exits_as_errors(getattr(owner, method))(*arguments)
    except GnomonError:
        raise
    except Exception as error:  # code from outside may raise anything
        raise ConfigError(f"{label} raised {describe_error(error)}; fix it.") from error
    if not isinstance(value, wanted):
        types = wanted if isinstance(wanted, tuple) else (wanted,)
        names = " or ".join("None" if one is type(None) else one.__name__ for one in types)
        raise ConfigError(f"{label} returned {type(value).__name__}, not {names}; fix it.")
    return value


STAGE_KINDS: Registry[type[Stage]] = Registry(
    noun="kind of stage",
    group="gnomon.stages",
    own_names=stage_kinds,
    load_own=lambda name: stage_kinds()[name],
    check=check_stage_kind,
)
