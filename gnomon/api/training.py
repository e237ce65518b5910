"""Python calls that run a single stage without a recipe file: train, evaluate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnomon.api.inference import load_policy, load_reward_model
from gnomon.api.recipes import Name
from gnomon.core.extensions import short_name
from gnomon.core.storage.environment import jsonl
from gnomon.core.storage.files import read_json
from gnomon.models.reward_ensemble import RewardPanel
from gnomon.models.roles import Policy, RewardModel
from gnomon.pipeline.run import run_recipe
from gnomon.pipeline.single_stage import Setting, evaluation_recipe, layout_settings, training_recipe
from gnomon.rewards.python_reward import RewardFunction, spec_of

Rows = Name | Sequence[Any]  # a file, or its rows


@dataclass(frozen=True)
class TrainedModel:
    """A trained model, with its stage's result and the run's report.

    Attributes:
        folder: folder of the trained model, as written by `save_pretrained`.
        result: results of the stage: steps, seconds, final metrics.
        report: path of the run's report.
    """

    folder: Path
    result: Mapping[str, Any]
    report: Path

    @cached_property
    def policy(self) -> Policy:
        """The trained language model, loaded at first use."""
        return load_policy(self.folder)

    @cached_property
    def reward_model(self) -> RewardModel | RewardPanel:
        """The trained reward model, loaded at first use."""
        model = load_reward_model(self.folder)
        assert isinstance(model, RewardModel | RewardPanel), "no stage trains an encoder"
        return model


def train(
    algorithm: str,
    *,
    model: Name,
    data: Rows | None = None,
    prompts: Rows | None = None,
    reward: Name | RewardFunction | None = None,
    out: Name | None = None,
    format: str = "",
    columns: Mapping[str, Any] | None = None,
    **settings: Any,
) -> TrainedModel:
    """Train a model with one algorithm, or resume a stopped training.

    Args:
        algorithm: `sft`, `reward_model`, `ppo` or another file of `gnomon/algorithms/`, `path/to/file.py:Class`,
            or a name that an installed package provides.
        model: model that training starts from.
        data: for an offline algorithm: a file, or its rows.
        prompts: for an online algorithm: a file, texts or rows.
        reward: for an online algorithm: a reward model's name, `vader`, `file.py:function`, or a
            function of two texts, prompt and completion.
        out: the run folder; by default `runs/<algorithm>`.
        format: name of the format of `data` or `prompts`, where it is not recognized or ambiguous.
        columns: mapping of their columns, for another layout: `{"prompt": "question", …}`.
        settings: any setting of the loop, the algorithm, the sampling or the adapter, by name.

    Raises:
        GnomonError: a mistake of the user.
    """
    folder = Path(out if out is not None else f"runs/{short_name(algorithm)}")
    scored = spec_of(reward) if callable(reward) else None if reward is None else os.fspath(reward)
    stage = {
        "data": _file(data, folder / "data.jsonl"),
        "prompts": _file(prompts, folder / "prompts.jsonl"),
        "reward": scored,
    }
    paths: list[Setting] = [([key], value) for key, value in settings.items()]
    paths += layout_settings(stage["data"] or stage["prompts"], format, columns)
    recipe = training_recipe(algorithm, model=os.fspath(model), run=str(folder), stage=stage, settings=paths)
    rows = _rows({"data.jsonl": data, "prompts.jsonl": prompts})
    functions = {str(scored): reward} if callable(reward) else {}
    report = run_recipe(recipe, functions, rows)
    stage_folder = folder / short_name(algorithm)
    return TrainedModel(stage_folder / "model", read_json(stage_folder / "result.json"), report)


def evaluate(
    models: Sequence[Name],
    *,
    prompts: Rows,
    judges: Sequence[str] = ("vader",),
    independent: Sequence[str] = (),
    texts: Rows | None = None,
    reference: Name | None = None,
    out: Name = "runs/evaluation",
    **settings: Any,
) -> Mapping[str, Any]:
    """Compare models by judges; returns tables, win rates and samples, and writes a report.

    Args:
        models: models in display order; the last is the candidate.
        prompts: held-out prompts.
        judges: reward models by name, `vader`, `file.py:function`.
        independent: those of them that took no part in the training.
        texts: texts by people, for perplexity.
        reference: model that the candidate is compared with; by default the first.
        out: the run folder.
        settings: settings of the sampling (`completions`, `max_tokens`) or recipe (`seed`, `device`), by name.
    """
    folder = Path(out)
    stage = {
        "judges": list(judges),
        "independent": list(independent),
        "prompts": _file(prompts, folder / "prompts.jsonl"),
        "texts": _file(texts, folder / "texts.jsonl"),
        "reference": None if reference is None else os.fspath(reference),
    }
    paths: list[Setting] = [([key], value) for key, value in settings.items()]
    names = [os.fspath(name) for name in models]
    recipe = evaluation_recipe(names, run=str(folder), stage=stage, settings=paths)
    run_recipe(recipe, input_files=_rows({"prompts.jsonl": prompts, "texts.jsonl": texts}))
    result: Mapping[str, Any] = read_json(folder / "evaluation" / "result.json")
    return result


def _file(rows: Rows | None, path: Path) -> str | None:
    """The path of a file of rows: the given one, or the one that the run writes into its folder."""
    if rows is None or isinstance(rows, str | os.PathLike):
        return None if rows is None else os.fspath(rows)
    return str(path)


def _rows(files: Mapping[str, Rows | None]) -> dict[str, bytes]:
    """Rows of the calling program as file contents by name; existing files are left out."""
    own = {name: rows for name, rows in files.items() if rows is not None}
    return {
        name: jsonl([{"prompt": row} if isinstance(row, str) else row for row in rows])
        for name, rows in own.items()
        if not isinstance(rows, str | os.PathLike)
    }
