"""The design of a comparison: the recipes of its runs, made from one recipe and a list of algorithms.

The varied stage is the candidate of the recipe's last evaluation. The stages before it are shared: they run once
for each seed, and the varied runs name their models and data by path.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon.algorithms.registry import ALGORITHMS, find_algorithm
from gnomon.comparison.variants import (
    TOKEN_REWARD,
    AlgorithmBudget,
    data_for,
    moved,
    overridden,
    rewards,
    variant_row,
)
from gnomon.core.config import did_you_mean, parse_override, read_yaml
from gnomon.core.errors import ConfigError
from gnomon.core.extensions import is_file_spec, short_name
from gnomon.pipeline.recipe import Recipe, build_recipe, resolve_in_recipe_folder
from gnomon.pipeline.shipped_recipes import find_recipe
from gnomon.stages.contract import Stage
from gnomon.stages.references import TEXT_JUDGES, ModelComparison, maker
from gnomon.stages.train_settings import TrainSettings, loop_of


@dataclass(frozen=True)
class ComparisonPlan:
    """The plan of a comparison.

    Attributes:
        where: path of the recipe, as given by the user.
        recipe: the validated recipe.
        top: the recipe's keys other than `stages`, `run` and `seed`.
        shared: rows of the stages that run once per seed.
        stage: name of the varied stage.
        rows: the varied stage's row for each algorithm.
        evaluation: the evaluation's row, with the reference and the varied stage only.
        budget: budget of each algorithm's training.
    """

    where: str
    recipe: Recipe
    top: dict[str, Any]
    shared: list[dict[str, Any]]
    stage: str
    rows: dict[str, dict[str, Any]]
    evaluation: dict[str, Any]
    budget: AlgorithmBudget = field(default_factory=AlgorithmBudget)

    def shared_content(self, folder: Path, seed: int) -> dict[str, Any]:
        """Content of the shared stages' recipe, to run in `folder`."""
        return self._content(folder, seed, self.shared)

    def variant_content(self, algorithm: str, folder: Path, shared: Path, seed: int) -> dict[str, Any]:
        """Content of one algorithm's recipe.

        Args:
            algorithm: algorithm of the varied stage.
            folder: folder of the run.
            shared: run folder of the shared stages.
            seed: seed of the run.
        """
        names = {str(row["name"]) for row in self.shared}
        rows = [moved(self.rows[algorithm], names, shared), moved(self.evaluation, names, shared)]
        return self._content(folder, seed, rows)

    def _content(self, folder: Path, seed: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        known = {k for row in rows if "algorithm" in row for k in loop_of(str(row["algorithm"])).model_fields}
        top = copy.deepcopy(self.top)
        training = {k: v for k, v in (top.pop("training", None) or {}).items() if k in known}
        head = {"run": folder.as_posix(), "seed": seed, **top}
        return head | ({"training": training} if training else {}) | {"stages": copy.deepcopy(list(rows))}

    def independent(self, judge: str) -> bool:
        """Return whether a judge is independent before any run has ended: it rewards none of the algorithms.

        Results of the runs override this.
        """
        claimed = judge in TEXT_JUDGES or judge in self.evaluation["independent"]
        return claimed and all(judge not in rewards(row) for row in self.rows.values())


def plan_comparison(
    path: Path, names: Sequence[str], budget: AlgorithmBudget, overrides: Sequence[str] = ()
) -> ComparisonPlan:
    """Read a recipe and plan its comparison; all input is validated here.

    Args:
        path: path of the recipe, or the name of a shipped one.
        names: the algorithms, each by its name or its `path/to/file.py:Class`.
        budget: budget of each algorithm's training.
        overrides: as for `gnomon run`; one that starts with an algorithm's name is for that algorithm's stage.

    Raises:
        ConfigError: the recipe has no stage to vary, or an algorithm lacks a required key.
    """
    algorithms = compared_algorithms(names)
    first = {text: parse_override(text)[0][0] for text in overrides}
    path = find_recipe(path)
    content = read_yaml(path)
    resolve_in_recipe_folder(content, path)
    content["home"] = "."  # generated recipes name everything from the working directory
    recipe = build_recipe(
        content, str(path), [t for t in overrides if first[t] not in (*algorithms, TOKEN_REWARD)]
    )
    evaluation, stage = varied_stage(recipe, str(path))
    before = shared_stages(recipe, stage, str(path))
    rows = {str(row["name"]): row for row in content["stages"]}
    top = {key: value for key, value in content.items() if key not in ("run", "seed", "stages")}
    shared = [rows[s.name] for s in before]
    evaluation_keys = {
        "evaluate": [evaluation.reference, stage.name],
        "reference": evaluation.reference,
        "judges": list(evaluation.judges),
        "independent": list(evaluation.independent),
    }
    own = {n: [parse_override(t) for t in overrides if first[t] == n] for n in (*algorithms, TOKEN_REWARD)}
    variants = {
        name: variant_row(algorithm, rows[stage.name], before, own[name], budget)
        for name, algorithm in algorithms.items()
    }
    if any(row.get("token_reward") == TOKEN_REWARD for row in variants.values()) and TOKEN_REWARD not in rows:
        extra = {"name": TOKEN_REWARD, "algorithm": "dpo", "model": stage.model}
        shared.append(overridden(extra, own[TOKEN_REWARD]) | {"data": data_for("dpo", before)})
    last = {**rows[evaluation.stage], **evaluation_keys, "candidate": stage.name}
    plan = ComparisonPlan(str(path), recipe, top, shared, stage.name, variants, last, budget)
    folder = Path(recipe.run) / "compare"
    build_recipe(plan.shared_content(folder, 0), str(path)) if shared else None
    for name in algorithms:
        build_recipe(plan.variant_content(name, folder / name, folder / "shared", 0), f"{path} with {name}")
    return plan


def compared_algorithms(names: Sequence[str]) -> dict[str, str]:
    """Return each algorithm, or its `path/to/file.py:Class`, by its short name in runs, overrides and the report.

    Raises:
        ConfigError: one does not exist, trains no policy, or has the short name of another; or there is none.
    """
    looked_at = [name for name in ALGORITHMS.names() if name in names or not ALGORITHMS.is_outside(name)]
    known = {name for name in looked_at if find_algorithm(name).trains == "policy"}
    algorithms: dict[str, str] = {}
    for name in names:
        in_file = is_file_spec(name)
        if not (find_algorithm(name).trains == "policy" if in_file else name in known):
            hint = "give another." if in_file else did_you_mean(name, known)
            raise ConfigError(f"--algorithms: '{name}' is no algorithm for policies; {hint}")
        short = short_name(name)
        if short in algorithms:
            both = f"'{short}' twice" if algorithms[short] == name else f"two classes '{short}'"
            raise ConfigError(f"--algorithms names {both}; remove one of them.")
        algorithms[short] = name
    if not names:
        raise ConfigError("--algorithms is empty; name some, as in --algorithms dpo,ppo.")
    return algorithms


def varied_stage(recipe: Recipe, where: str) -> tuple[ModelComparison, TrainSettings]:
    """The last evaluation, and its candidate, the varied stage."""
    evaluations = [compared for stage in recipe.stages if (compared := stage.comparison())]
    if not evaluations:
        raise ConfigError(f"{where}: a comparison needs an evaluate stage; add one.")
    evaluation = evaluations[-1]
    name = evaluation.candidate
    varied = next((stage.as_training() for stage in recipe.stages if stage.name == name), None)
    if varied is None:
        raise ConfigError(
            f"{where}, stage '{evaluation.stage}': the candidate '{name}' is not a stage with one algorithm "
            "that could be varied; set candidate to such a stage."
        )
    if name == evaluation.reference:
        raise ConfigError(
            f"{where}, stage '{evaluation.stage}': '{name}' is reference and candidate; set reference to another."
        )
    return evaluation, varied


def shared_stages(recipe: Recipe, varied: TrainSettings, where: str) -> list[Stage]:
    """All stages but the evaluations and the varied one, on which none of them may depend.

    Args:
        recipe: the validated recipe.
        varied: the varied stage.
        where: prefix of error messages.
    """
    shared = [stage for stage in recipe.stages if not stage.comparison() and stage.name != varied.name]
    for stage in shared:
        inputs = stage.inputs()
        named = {maker(name, {varied.name}) for name in inputs.model_names}
        named |= {source.partition("/")[0] for source in inputs.sources}
        if varied.name in named:
            raise ConfigError(
                f"{where}: stage '{stage.name}' depends on '{varied.name}', which varies; remove it here."
            )
    return shared
