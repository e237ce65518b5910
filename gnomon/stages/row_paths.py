"""Where a recipe's rows name data and models, and what a relative path there means.

A relative path is looked for in the recipe's own folder first, then in the working directory; one that was
typed on the command line in the working directory alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from gnomon.data.reading.readers import is_data_file, locate
from gnomon.models.catalog import CATALOGUE
from gnomon.rewards.python_reward import is_function
from gnomon.stages.settings import BASE, TEXT_JUDGES

Change = Callable[[str], str]
DATA = ("data", "prompts", "texts", "judge_holdout", "feedback")
MODELS = (
    *("model", "critic", "token_reward", "reward"),
    *("evaluate", "judges", "independent", "reference", "candidate"),
)


def is_part(source: str, stages: Set[str]) -> bool:
    """Whether a source is `<stage>/<part>`: a file that exists, or is named as files of data are, is no part."""
    stage, _, part = source.partition("/")
    if not part or stage not in stages or is_data_file(part):
        return False
    try:
        return not locate(Path(source).expanduser())[0].exists()
    except OSError:  # no name that a file could have
        return True


def with_paths(row: Mapping[str, Any], data: Change, model: Change) -> dict[str, Any]:
    """A stage's row in which every source of data, and every model, reward and judge, is changed.

    Args:
        row: of any kind of stage, checked or not.
        data: from what names data to what is written instead.
        model: likewise for models, functions and names of stages.
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

    found = dict(row)
    for key in (key for key in DATA if key in found):
        pools = found[key]
        found[key] = (
            {changed(pool, data): weight for pool, weight in pools.items()}
            if isinstance(pools, dict)
            else changed(pools, data)
        )
    found |= {key: changed(found[key], model) for key in MODELS if key in found}
    for key, inside, change in (("best_of", "judge", model), ("sft_mix", "data", data), ("stored", "data", data)):
        if isinstance(found.get(key), dict) and inside in found[key]:
            found[key] = {**found[key], inside: changed(found[key][inside], change)}
    if isinstance(found.get("phases"), list):
        found["phases"] = [with_paths(p, data, model) if isinstance(p, dict) else p for p in found["phases"]]
    return found


def resolve_paths(content: dict[str, Any], home: Path) -> dict[str, str]:
    """Replace in a recipe's content what names something in `home` by its path.

    Args:
        content: of a recipe, which is changed.
        home: the recipe's folder.

    Returns:
        What was written, by what stands there now.
    """
    written: dict[str, str] = {}
    rows = content.get("stages")
    if _is_working_directory(home) or not isinstance(rows, list):
        return written
    names = {str(row.get("name")) for row in rows if isinstance(row, dict)} | {BASE, *TEXT_JUDGES, *CATALOGUE}

    def moved(text: str, path: str) -> str:
        """The text with `home` before it, if the path in it leads to something there."""
        try:
            inside = Path(path).expanduser()
            if not path or inside.is_absolute() or not (home / inside).exists():
                return text
        except (OSError, ValueError):  # no name that a file could have
            return text
        found = str(home / text)
        written[found] = text
        return found

    def data(source: str) -> str:
        before, mark, _ = source.rpartition("#")
        found = moved(source, source)
        return moved(source, before) if mark and found == source else found

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
