"""One stage without a recipe's file, as typed calls: train, evaluate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gnomon.api.inference import load_policy, load_reward_model
from gnomon.api.recipes import Name
from gnomon.core.storage.environment import jsonl
from gnomon.core.storage.files import read_json
from gnomon.models.roles import Policy, RewardModel
from gnomon.pipeline.run import run_recipe
from gnomon.pipeline.single_stage import Setting, evaluation_recipe, training_recipe
from gnomon.rewards.python_reward import RewardFunction, spec_of

Rows = Name | Sequence[Any]  # a file, or what would be in it


@dataclass(frozen=True)
class Trained:
    """What a training left behind.

    Attributes:
        folder: the trained model, a plain `save_pretrained` folder.
        result: what the stage reports of itself: steps, seconds, final metrics.
        report: the run's report.
    """

    folder: Path
    result: Mapping[str, Any]
    report: Path

    @cached_property
    def policy(self) -> Policy:
        """The trained language model, loaded when it is first asked for."""
        return load_policy(self.folder)

    @cached_property
    def reward_model(self) -> RewardModel:
        """The trained reward model, loaded when it is first asked for."""
        return load_reward_model(self.folder)


def train(
    algorithm: str,
    *,
    model: Name,
    data: Rows | None = None,
    prompts: Rows | None = None,
    reward: Name | RewardFunction | None = None,
    out: Name | None = None,
    **settings: Any,
) -> Trained:
    """Train a model with one algorithm, or go on with a training that was stopped.

    Args:
        algorithm: `sft`, `reward_model`, `ppo` or another file of `gnomon/algorithms/`.
        model: what training starts from.
        data: what an offline algorithm learns from: a file, or rows as they would stand in one.
        prompts: what an online algorithm samples for: a file, texts or rows.
        reward: what an online algorithm maximises: a reward model's name, `vader`, `file.py:function`, or a
            function of two texts, prompt and completion.
        out: the run folder; `runs/<algorithm>` where nothing is said.
        settings: any setting of the loop, the algorithm, the sampling or the adapter, by its name.

    Raises:
        GnomonError: something the user can mend.
    """
    folder = Path(out if out is not None else f"runs/{algorithm}")
    scored = spec_of(reward) if callable(reward) else None if reward is None else os.fspath(reward)
    stage = {
        "data": _file(data, folder / "data.jsonl"),
        "prompts": _file(prompts, folder / "prompts.jsonl"),
        "reward": scored,
    }
    paths: list[Setting] = [([key], value) for key, value in settings.items()]
    recipe = training_recipe(algorithm, model=os.fspath(model), run=str(folder), stage=stage, settings=paths)
    rows = _rows({"data.jsonl": data, "prompts.jsonl": prompts})
    functions = {str(scored): reward} if callable(reward) else {}
    report = run_recipe(recipe, functions, rows)
    done = folder / algorithm
    return Trained(done / "model", read_json(done / "result.json"), report)


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
    """Models side by side before judges; returns tables, win rates and samples, and writes a report.

    Args:
        models: in the order in which they are shown; the last is the candidate.
        prompts: held-out prompts.
        judges: reward models by name, `vader`, `file.py:function`.
        independent: those of them that took no part in the training.
        texts: texts by people, for perplexity.
        reference: what the candidate is compared with; the first where nothing is said.
        out: the run folder.
        settings: of the sampling (`completions`, `max_tokens`) or the recipe (`seed`, `device`), by their names.
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
    run_recipe(recipe, rows=_rows({"prompts.jsonl": prompts, "texts.jsonl": texts}))
    found: Mapping[str, Any] = read_json(folder / "evaluation" / "result.json")
    return found


def _file(rows: Rows | None, path: Path) -> str | None:
    """The file of rows: the one named, or the one that the run makes of them in its folder."""
    if rows is None or isinstance(rows, str | os.PathLike):
        return None if rows is None else os.fspath(rows)
    return str(path)


def _rows(files: Mapping[str, Rows | None]) -> dict[str, bytes]:
    """Rows of the calling program as the content of files by name; what is a file already is left out."""
    own = {name: rows for name, rows in files.items() if rows is not None}
    return {
        name: jsonl([{"prompt": row} if isinstance(row, str) else row for row in rows])
        for name, rows in own.items()
        if not isinstance(rows, str | os.PathLike)
    }
