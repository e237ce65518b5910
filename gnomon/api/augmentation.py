"""Python call behind `gnomon data augment`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnomon.api.recipes import Name
from gnomon.core.storage.files import read_json
from gnomon.pipeline.run import run_recipe
from gnomon.pipeline.single_stage import Setting, augmentation_recipe, layout_settings


def data_augment(
    file: Name,
    out: Name,
    *,
    model: Name,
    kinds: Mapping[str, Mapping[str, Any] | None],
    format: str = "",
    columns: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Mapping[str, Any]:
    """Make preferences of judged ones; each kind is kept if a reward model gains by it on held-out prompts.

    Args:
        file: the judged preferences.
        out: the run folder; the preferences are in `augmented/preferences.jsonl`.
        model: the reward models start from it.
        kinds: augmentation → its settings; see docs/rewards.md.
        format: name of the file's format, where it is not recognized or ambiguous.
        columns: mapping of its columns, for another layout.
        settings: any setting of the stage, the loop or the algorithm, by name.

    Returns:
        The result: accuracy without and with each kind, its gain with an interval, and whether it is kept.

    Raises:
        GnomonError: a mistake of the user.
    """
    paths: list[Setting] = [([key], value) for key, value in settings.items()]
    paths += layout_settings(os.fspath(file), format, columns)
    stage = {"augment": os.fspath(file), "kinds": dict(kinds)}
    recipe = augmentation_recipe(model=os.fspath(model), run=os.fspath(out), stage=stage, settings=paths)
    run_recipe(recipe)
    result: Mapping[str, Any] = read_json(Path(out) / "augmented" / "result.json")
    return result
