"""Paths in a recipe's rows: which keys name data and models, and where relative paths lead.

A relative path is looked up in the recipe's own folder first, then in the working directory; one typed on the
command line in the working directory only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gnomon.core.errors import ConfigError
from gnomon.core.extensions import is_file_spec
from gnomon.data.reading.sources import files_of
from gnomon.models.catalog import CATALOG
from gnomon.rewards.python_reward import is_function
from gnomon.rewards.registry import REWARDS
from gnomon.stages.contract import Stage
from gnomon.stages.references import BASE, TEXT_JUDGES
from gnomon.stages.registry import STAGE_KINDS, stage_kinds

Change = Callable[[str], str]


def unchanged(name: str) -> str:
    """Return the name itself."""
    return name


def with_paths(row: Mapping[str, Any], data: Change, model: Change, code: Change = unchanged) -> dict[str, Any]:
    """Map every data source, and every model, reward and judge, of a stage's row.

    Args:
        row: of any kind of stage, checked or not.
        data: maps a data source to its replacement.
        model: maps a model, function or stage name to its replacement.
        code: maps the `path/to/file.py:Class` of a kind or an algorithm to its replacement.
    """
    result = dict(row)
    for key in ("kind", "algorithm"):
        if isinstance(result.get(key), str) and is_file_spec(result[key]):
            result[key] = code(result[key])
    kinds = [*stage_kinds().values(), *_outside_kind(result)]
    for key in {key for kind in kinds for key in kind.data_keys}:
        _change(result, key.split("."), data)
    for key in {key for kind in kinds for key in kind.model_keys}:
        _change(result, key.split("."), model)
    for key in {key for kind in kinds for key in kind.nested_keys}:
        if isinstance(result.get(key), list):
            result[key] = [
                with_paths(one, data, model, code) if isinstance(one, dict) else one for one in result[key]
            ]
    return result


def _outside_kind(row: Mapping[str, Any]) -> list[type[Stage]]:
    """Return the kind from outside that a row names, for its declared keys; a wrong one is refused later."""
    name = row.get("kind")
    if isinstance(name, str) and STAGE_KINDS.is_outside(name):
        with suppress(ConfigError):
            return [STAGE_KINDS.find(name)]
    return []


def _change(row: dict[str, Any], path: Sequence[str], change: Change) -> None:
    """Replace the value at a path of keys, in copies of the mappings on the way; nothing where there is none."""
    key, *below = path
    if key not in row:
        return
    if not below:
        row[key] = _changed(row[key], change)
    elif isinstance(row[key], dict):
        row[key] = dict(row[key])
        _change(row[key], below, change)


def _changed(value: Any, change: Change) -> Any:
    """Replace the names in a value: one name, a list, those of each reward, or the keys of a mapping."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict) and {"of", "ensemble", "rule"} & value.keys():
        return _changed([value], change)[0]  # the only part of a reward
    if isinstance(value, dict):
        return {change(name) if isinstance(name, str) else name: weight for name, weight in value.items()}
    if isinstance(value, list):
        parts = [
            {k: _changed(own, change) if k in ("of", "ensemble") else own for k, own in v.items()}
            if isinstance(v, dict)
            else v
            for v in value
        ]
        return [change(v) if isinstance(v, str) else v for v in parts]
    return value


def resolve_paths(content: dict[str, Any], recipe_folder: Path) -> dict[str, str]:
    """Replace relative paths that exist in `recipe_folder` by paths from the working directory.

    Args:
        content: of a recipe; changed in place.
        recipe_folder: the recipe's folder, or its `home`.

    Returns:
        The path as written in the recipe, by its replacement.
    """
    written: dict[str, str] = {}
    rows = content.get("stages")
    if _is_working_directory(recipe_folder) or not isinstance(rows, list):
        return written
    stages = {str(row.get("name")) for row in rows if isinstance(row, dict)}
    names = stages | {BASE, *TEXT_JUDGES, *CATALOG, *REWARDS.names()}

    def moved(text: str, path: str) -> str:
        """Return the text prefixed with `recipe_folder` if its path exists there."""
        try:
            inside = Path(path).expanduser()
            if not path or inside.is_absolute() or not files_of(recipe_folder / inside):
                return text
        except (OSError, ValueError):  # not a valid file name
            return text
        replacement = str(recipe_folder / text)
        written[replacement] = text
        return replacement

    def data(source: str) -> str:
        before, mark, _ = source.rpartition("#")
        replacement = moved(source, source)
        return moved(source, before) if mark and replacement == source else replacement

    def model(name: str) -> str:
        return name if name in names else moved(name, name.rpartition(":")[0] if is_function(name) else name)

    def code(spec: str) -> str:
        return moved(spec, spec.rpartition(":")[0])

    content["stages"] = [with_paths(row, data, model, code) if isinstance(row, dict) else row for row in rows]
    top = content.get("model")
    if isinstance(top, dict):
        for key in ("name", "chat_template"):
            if isinstance(top.get(key), str) and top[key] != "plain":
                top[key] = model(top[key])
    return written


def _is_working_directory(folder: Path) -> bool:
    try:
        return os.path.samefile(folder, ".")
    except OSError:
        return True
