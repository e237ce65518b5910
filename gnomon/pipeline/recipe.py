"""Recipes: load them from YAML, apply overrides, and validate them before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from gnomon.algorithms.contract import algorithms
from gnomon.core.config import Settings, did_you_mean, parse_override, read_yaml, set_path, validate
from gnomon.core.errors import ConfigError
from gnomon.core.ranges import Seed
from gnomon.core.renamed import KEYS
from gnomon.models.settings import Trainable
from gnomon.pipeline.independence_claims import check_claims
from gnomon.pipeline.shipped_recipes import find_recipe
from gnomon.rewards.composite import check_titles
from gnomon.stages.references import check_names, model_kind
from gnomon.stages.row_paths import resolve_paths
from gnomon.stages.settings import (
    BASE,
    TEXT_JUDGES,
    EvaluateStage,
    FeedbackStage,
    HybridStage,
    ModelSettings,
    Phase,
    Stage,
    TrainStage,
    loop_of,
)
from gnomon.training.checks import reuse_fault, sampling_fault
from gnomon.training.settings import OnlineSettings

CRITIC_KEYS = {"critic", "critic_trainable_layers", "head"}  # keys that only a stage with a critic may have
LEARNING_KEYS = CRITIC_KEYS | {"data", "prompts", "reward", "token_reward", "sampling", "stored", "num_layers"}
GROUP = 4  # default completions per prompt for algorithms that compare them


class Recipe(Settings):
    """A pipeline of named stages on one model.

    Attributes:
        run: the run folder; a relative one lies in the working directory.
        home: the folder in which relative paths of data, models, functions and templates are looked up first,
            before the working directory; by default the recipe's own folder.
        seed: of everything random.
        model: the model that stages start from.
        language: initial language of the report: `en` or `zh`.
        track: trackers to which metrics are sent: `tensorboard`, `wandb`, `mlflow`, `trackio`.
        training: default loop settings of every training stage.
        stages: in order.
    """

    run: str
    home: str | None = None
    seed: Seed = 0
    model: ModelSettings
    language: Literal["en", "zh"] = "en"
    track: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(default_factory=list)
    training: dict[str, Any] = Field(default_factory=dict)
    stages: list[Any]
    _written: dict[str, str] = PrivateAttr(default_factory=dict)
    _file: Path | None = PrivateAttr(default=None)

    def as_written(self, value: Any) -> Any:
        """A value with each path as written in the recipe, independent of the working directory."""
        if isinstance(value, str):
            return self._written.get(value, value)
        if isinstance(value, Mapping):
            return {self.as_written(key): self.as_written(item) for key, item in value.items()}
        return [self.as_written(item) for item in value] if isinstance(value, list | tuple) else value

    @property
    def file(self) -> Path | None:
        """The file that the recipe was read from."""
        return self._file

    @property
    def looks_at_home(self) -> bool:
        """Whether any relative path was resolved in the recipe's folder instead of the working directory."""
        return bool(self._written)


RESERVED = {BASE, *TEXT_JUDGES, *Recipe.model_fields}  # names that a stage may not have


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides, and validate it; `path` may be the name of a shipped recipe.

    An override that starts with a stage's name sets a key of that stage (`sft.training.epochs=2`); `training.…`
    sets it for every training stage whose loop has the key; anything else sets a top-level key.
    Relative paths are looked up in the recipe's folder first; those of overrides in the working directory.
    """
    path = find_recipe(path)
    content = read_yaml(path)
    written = at_home(content, path)
    recipe = build_recipe(content, str(path), overrides)
    recipe._written, recipe._file = written, path
    return recipe


def at_home(content: dict[str, Any], path: Path) -> dict[str, str]:
    """Resolve a recipe's relative paths in its home folder; returns each path as written, by its replacement."""
    home = content.get("home")
    folder = Path(home).expanduser() if isinstance(home, str) and home else path.parent
    written = resolve_paths(content, folder)
    if written:
        content["home"] = str(folder.absolute())
    return written


def build_recipe(content: dict[str, Any], where: str, overrides: Sequence[str] = ()) -> Recipe:
    """Validate a recipe from its content.

    Args:
        content: of the recipe; changed in place.
        where: prefix of error messages.
        overrides: as for `load_recipe`.

    Raises:
        ConfigError: the recipe or an override is wrong.
    """
    rows = content.get("stages")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{where}: 'stages' is missing or not a list of mappings; give at least one stage.")
    named = {str(row.get("name")): row for row in rows}
    for override in overrides:
        keys, value = parse_override(override)
        if keys in (["stages"], ["training"]) or (keys[0] in named and len(keys) == 1):
            whole = "all of training" if keys == ["training"] else "a whole stage"
            raise ConfigError(
                f"override '{override}' would replace {whole}; name a key of it, as in sft.model=base."
            )
        if keys[0] in named:
            set_path(named[keys[0]], keys[1:], value)
            continue
        known = [*Recipe.model_fields, *named]
        if keys[0] not in known:
            hint = did_you_mean(keys[0], known, KEYS)
            raise ConfigError(f"override '{override}': unknown key '{keys[0]}'; {hint}")
        set_path(content, keys, value)
        if keys[0] == "training":
            for row in rows:
                if keys[1] in _loop_keys(row):
                    set_path(row, keys, value)
    recipe = validate(Recipe, content, where)
    _check_training_keys(recipe, rows, where)
    stages = [_stage(row, recipe, f"{where}, stage {n}") for n, row in enumerate(rows, start=1)]
    check_names(stages, RESERVED, where)
    check_claims(stages, where)
    return recipe.model_copy(update={"stages": stages})


def _loop_keys(row: Mapping[str, Any]) -> set[str]:
    """The keys that a stage's `training` may have; none without a known algorithm."""
    algorithm = row.get("algorithm")
    known = isinstance(algorithm, str) and algorithm in algorithms()
    return set(loop_of(str(algorithm)).model_fields) if known else set()


def _check_training_keys(recipe: Recipe, rows: Sequence[Mapping[str, Any]], where: str) -> None:
    """Check that each key of the recipe's `training` is valid in at least one stage."""
    known = {key for row in rows for key in _loop_keys(row)}
    for key in recipe.training:
        if known and key not in known:
            hint = did_you_mean(key, known, KEYS)
            raise ConfigError(f"{where}, training: unknown key '{key}' in every training stage; {hint}")


def _stage(row: Mapping[str, Any], recipe: Recipe, where: str) -> Stage:
    kinds: dict[str, type[Stage]] = {
        "feedback": FeedbackStage,
        "algorithm": TrainStage,
        "phases": HybridStage,
        "evaluate": EvaluateStage,
    }
    present = [key for key in kinds if key in row]
    if len(present) != 1:
        raise ConfigError(f"{where}: a stage has exactly one of the keys {', '.join(kinds)}.")
    if present[0] == "phases":
        return _hybrid(row, recipe, where)
    if present[0] == "algorithm":
        row = _train_row(row, recipe, where)
    stage = validate(kinds[present[0]], row, where)
    if isinstance(stage, TrainStage):
        _check_train_stage(stage, where)
        _check_something_learns(stage.trainable or recipe.model, stage, where)
    if isinstance(stage, EvaluateStage):
        _check_evaluate_stage(stage, where)
    return stage


def _train_row(row: Mapping[str, Any], recipe: Recipe, where: str) -> dict[str, Any]:
    """A training stage's or phase's row, completed with defaults of the recipe and the algorithm."""
    known = algorithms()
    if not isinstance(row.get("algorithm"), str) or row["algorithm"] not in known:
        hint = did_you_mean(str(row.get("algorithm")), known)
        raise ConfigError(f"{where}: unknown algorithm '{row.get('algorithm')}'; {hint}")
    own = row.get("training") or {}
    if not isinstance(own, dict):
        raise ConfigError(f"{where}: training is not a mapping; give keys below it, such as epochs: 1.")
    shared = {key: value for key, value in recipe.training.items() if key in _loop_keys(row)}
    completed = {**row, "training": {**shared, **own}}
    group: int = known[row["algorithm"]].min_group_size  # type: ignore[attr-defined]
    sampling = row.get("sampling") or {}
    if group > 1 and isinstance(sampling, dict) and "completions" not in sampling:
        completed["sampling"] = {"completions": GROUP, **sampling}
    return completed


def _hybrid(row: Mapping[str, Any], recipe: Recipe, where: str) -> HybridStage:
    """A hybrid stage with its phases, each validated as a training stage."""
    stage = validate(HybridStage, row, where)
    phases = []
    for number, content in enumerate(stage.phases, start=1):
        phase_where = f"{where}, phase {number}"
        if not isinstance(content, dict):
            raise ConfigError(f"{phase_where}: a phase is a mapping with the key algorithm.")
        if "model" in content or "trainable" in content:
            raise ConfigError(
                f"{phase_where}: model and trainable belong to the stage, not to a phase; move them."
            )
        named = {"name": f"phase-{number}", **content, "model": stage.model}
        phase = validate(Phase, _train_row(named, recipe, phase_where), phase_where)
        _check_train_stage(phase, phase_where)
        _check_something_learns(stage.trainable or recipe.model, phase, phase_where)
        if model_kind(phase) != "policy":
            raise ConfigError(f"{phase_where}: {phase.algorithm} trains no policy; give it a stage of its own.")
        phases.append(phase)
    if len({phase.name for phase in phases}) < len(phases):
        raise ConfigError(f"{where}: two phases have one name; rename one of them.")
    return stage.model_copy(update={"phases": phases})


def _check_train_stage(stage: TrainStage, where: str) -> None:
    """Check that a stage has the keys that its algorithm needs, and valid settings of loop and algorithm."""
    algorithm = stage.make_algorithm()
    required = {"prompts", "reward"} if stage.online else {"data"}
    required |= {"token_reward"} & algorithm.needs
    for key in sorted(required):
        if getattr(stage, key) is None:
            raise ConfigError(f"{where}: {stage.algorithm} needs the key '{key}'.")
    for key in sorted(LEARNING_KEYS - required - _optional_keys(stage, algorithm)):
        if getattr(stage, key) != TrainStage.model_fields[key].get_default():
            raise ConfigError(f"{where}: {stage.algorithm} has no use for the key '{key}'; remove it.")
    if stage.sft_mix is not None and algorithm.trains != "policy":
        raise ConfigError(f"{where}: {stage.algorithm} trains no policy; remove 'sft_mix'.")
    if stage.online and (fault := sampling_fault(algorithm, stage.sampling)):
        raise ConfigError(f"{where}: {stage.algorithm}: {fault}")
    loop = stage.loop
    if isinstance(loop, OnlineSettings) and (fault := reuse_fault(algorithm, loop)):
        raise ConfigError(f"{where}: {fault}")
    if isinstance(loop, OnlineSettings) and _own_completions(stage, loop) < 1:
        raise ConfigError(
            f"{where}: of {stage.sampling.completions} completions, stored ones and the reference's leave none "
            "to the policy; lower their shares or raise sampling.completions."
        )
    if isinstance(stage.reward, list):
        try:
            check_titles(stage.reward)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    if isinstance(loop, OnlineSettings) and loop.kl.placement == "loss" and not algorithm.supports_kl_loss:
        raise ConfigError(
            f"{where}: training.kl.placement is loss, but the loss of {stage.algorithm} has no KL term; "
            "set it to reward."
        )


def _check_something_learns(trainable: Trainable, stage: TrainStage, where: str) -> None:
    """Check that a policy has trainable layers; a reward model and a critic have at least their heads."""
    if trainable.layers == 0 and model_kind(stage) == "policy":
        raise ConfigError(
            f"{where}: layers is 0, so nothing of the policy would be trained; set it to 1 or more."
        )


def _own_completions(stage: TrainStage, loop: OnlineSettings) -> int:
    """Number of completions of a group that the policy samples itself."""
    shares = (loop.exploration.reference_share, stage.stored.share if stage.stored else 0.0)
    return stage.sampling.completions - sum(round(share * stage.sampling.completions) for share in shares)


def _optional_keys(stage: TrainStage, algorithm: Any) -> set[str]:
    """The optional keys of a training stage."""
    if algorithm.trains == "reward":
        return {"num_layers", "head"}
    if not stage.online:
        return set()
    return {"sampling", "stored"} | (CRITIC_KEYS if "critic" in algorithm.needs else set())


def _check_evaluate_stage(stage: EvaluateStage, where: str) -> None:
    """Check that models and judges are unique, compared models are listed, and judges have their data."""
    for name in stage.evaluate:
        if stage.evaluate.count(name) > 1:
            raise ConfigError(f"{where}: evaluate names '{name}' twice; remove one of them.")
    for key in ("reference", "candidate"):
        name = getattr(stage, key)
        if name is not None and name not in stage.evaluate:
            raise ConfigError(f"{where}: {key} '{name}' is not among those in evaluate; add it there.")
    for name in stage.judges:
        if stage.judges.count(name) > 1:
            raise ConfigError(f"{where}: judges names '{name}' twice; remove one of them.")
    for name in stage.independent:
        if name not in stage.judges:
            raise ConfigError(
                f"{where}: independent names '{name}', which is not among the judges; add it there."
            )
    if stage.best_of is not None:
        if stage.best_of.judge not in stage.judges:
            raise ConfigError(
                f"{where}: best_of.judge '{stage.best_of.judge}' is not among the judges; add it there."
            )
        if stage.best_of.n > stage.sampling.completions:
            raise ConfigError(
                f"{where}: best_of.n is {stage.best_of.n}, more than sampling.completions of "
                f"{stage.sampling.completions}; raise the latter."
            )
    if "ridge" in stage.judges and stage.judge_holdout is None:
        raise ConfigError(f"{where}: the judge ridge needs the key 'judge_holdout', texts to learn from.")
