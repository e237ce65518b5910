"""Paths in a recipe's rows: which keys name data and models, and where relative paths lead.

A relative path is looked up in the recipe's own folder first, then in the working directory; one typed on the
command line in the working directory only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from gnomon.data.reading.readers import is_data_file, locate
from gnomon.models.catalog import CATALOG
from gnomon.rewards.python_reward import is_function
from gnomon.stages.settings import BASE, TEXT_JUDGES

Change = Callable[[str], str]
DATA = ("data", "prompts", "texts", "judge_holdout", "feedback")
MODELS = (
    *("model", "critic", "token_reward", "reward"),
    *("evaluate", "judges", "independent", "reference", "candidate"),
)


def is_part(source: str, stages: Set[str]) -> bool:
    """Whether a source is `<stage>/<part>`, and neither an existing file nor named like a data file."""
    stage, _, part = source.partition("/")
    if not part or stage not in stages or is_data_file(part):
        return False
    try:
        return not locate(Path(source).expanduser())[0].exists()
    except OSError:  # not a valid file name
        return True


def with_paths(row: Mapping[str, Any], data: Change, model: Change) -> dict[str, Any]:
    """Map every data source, and every model, reward and judge, of a stage's row.

    Args:
        row: of any kind of stage, checked or not.
        data: maps a data source to its replacement.
        model: maps a model, function or stage name to its replacement.
    """

    def changed(value: Any, change: Change) -> Any:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, list):
            parts = (
                {**v, "of": changed(v["of"], change)} if isinstance(v, dict) and "of" in v else v for v in value
            )
            return [change(v) if isinstance(v, str) else v for v in parts]
        return value

    result = dict(row)
    for key in (key for key in DATA if key in result):
        pools = result[key]
        result[key] = (
            {changed(pool, data): weight for pool, weight in pools.items()}
            if isinstance(pools, dict)
            else changed(pools, data)
        )
    result |= {key: changed(result[key], model) for key in MODELS if key in result}
    for key, inside, change in (("best_of", "judge", model), ("sft_mix", "data", data), ("stored", "data", data)):
        if isinstance(result.get(key), dict) and inside in result[key]:
            result[key] = {**result[key], inside: changed(result[key][inside], change)}
    if isinstance(result.get("phases"), list):
        result["phases"] = [with_paths(p, data, model) if isinstance(p, dict) else p for p in result["phases"]]
    return result


def resolve_paths(content: dict[str, Any], home: Path) -> dict[str, str]:
    """Replace relative paths that exist in `home` by paths from the working directory.

    Args:
        content: of a recipe; changed in place.
        home: the recipe's folder.

    Returns:
        The path as written in the recipe, by its replacement.
    """
    written: dict[str, str] = {}
    rows = content.get("stages")
    if _is_working_directory(home) or not isinstance(rows, list):
        return written
    names = {str(row.get("name")) for row in rows if isinstance(row, dict)} | {BASE, *TEXT_JUDGES, *CATALOG}

    def moved(text: str, path: str) -> str:
        """The text prefixed with `home` if its path exists there."""
        try:
            inside = Path(path).expanduser()
            if not path or inside.is_absolute() or not (home / inside).exists():
                return text
        except (OSError, ValueError):  # not a valid file name
            return text
        replacement = str(home / text)
        written[replacement] = text
        return replacement

    def data(source: str) -> str:
        before, mark, _ = source.rpartition("#")
        replacement = moved(source, source)
        return moved(source, before) if mark and replacement == source else replacement

    def model(name: str) -> str:
        return name if name in names else moved(name, name.rpartition(":")[0] if is_function(name) else name)

    content["stages"] = [with_paths(row, data, model) if isinstance(row, dict) else row for row in rows]
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
