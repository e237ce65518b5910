"""The kinds of stages, by the names of their files in this folder."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from gnomon.stages.contract import Stage

SHARED = {"contract", "references", "registry", "train_settings", "workspace"}  # files that define no kind


@cache
def stage_kinds() -> dict[str, type[Stage]]:
    """Every kind of stage by the name of its file, which holds one class derived from `Stage`."""
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
