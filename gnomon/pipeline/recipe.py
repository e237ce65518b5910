"""Recipes: load them from YAML, apply overrides, and validate them before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from gnomon.core.config import Settings, did_you_mean, parse_override, read_yaml, set_path, validate
from gnomon.core.errors import ConfigError
from gnomon.core.extensions import forget_changed_files
from gnomon.core.ranges import Seed
from gnomon.core.renamed import KEYS
from gnomon.data.formats.registry import RowLayout
from gnomon.models.settings import ModelSettings
from gnomon.pipeline.independence_claims import check_claims
from gnomon.pipeline.references import check_names
from gnomon.pipeline.row_paths import resolve_paths
from gnomon.pipeline.shipped_recipes import find_recipe
from gnomon.rewards.registry import REWARDS
from gnomon.stages.contract import Stage
from gnomon.stages.references import BASE, TEXT_JUDGES
from gnomon.stages.registry import STAGE_KINDS, called, check_methods, stage_kinds
from gnomon.stages.train_settings import loop_keys


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
        formats: for a data file whose format is not recognized or is ambiguous: the format's name.
        columns: for a data file in another layout: the mapping of its columns.
        stages: in order.
    """

    run: str
    home: str | None = None
    seed: Seed = 0
    model: ModelSettings
    language: Literal["en", "zh"] = "en"
    track: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(default_factory=list)
    training: dict[str, Any] = Field(default_factory=dict)
    formats: dict[str, str] = Field(default_factory=dict)
    columns: dict[str, dict[str, Any]] = Field(default_factory=dict)
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

    def layout_of(self, source: str) -> RowLayout:
        """The layout that the recipe gives for a data file; none for all others.

        Raises:
            ConfigError: the format or the mapping of columns is wrong.
        """
        written = self._written.get(source, source)
        names = (source, written)
        form = next((self.formats[name] for name in names if name in self.formats), "")
        columns = next((self.columns[name] for name in names if name in self.columns), None)
        try:
            return RowLayout.of(form, columns)
        except ConfigError as error:
            raise ConfigError(f"{written}: {error}") from None

    @property
    def file(self) -> Path | None:
        """The file that the recipe was read from."""
        return self._file

    @property
    def has_paths_in_recipe_folder(self) -> bool:
        """Whether any relative path was resolved in the recipe's folder (`home`), not the working directory."""
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
    written = resolve_in_recipe_folder(content, path)
    recipe = build_recipe(content, str(path), overrides)
    recipe._written, recipe._file = written, path
    return recipe


def _stage_of_kind(row: Mapping[str, Any], recipe: Recipe, where: str) -> Stage:
    """A stage whose row has the key `kind`: a name, or `path/to/file.py:Class`."""
    name = row["kind"]
    if not isinstance(name, str):
        raise ConfigError(f"{where}: kind is not a name; give one, such as train or path/to/file.py:Class.")
    try:
        kind = STAGE_KINDS.find(name)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    content = {key: value for key, value in row.items() if key != "kind"}
    if not STAGE_KINDS.is_outside(name):
        stage = kind.from_row(content, recipe, where)
        stage.check(recipe, where)
    else:
        stage = called(kind, "from_row", Stage, where, content, recipe, where)
        stage._kind_digest = STAGE_KINDS.digest(name)
        called(stage, "check", type(None), where, recipe, where)
        check_methods(stage, where)
    stage._kind = name
    return stage


def resolve_in_recipe_folder(content: dict[str, Any], path: Path) -> dict[str, str]:
    """Replace a recipe's relative paths that exist in the folder `home`, by default the recipe's own.

    Returns:
        Replacement → path as written.
    """
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
    forget_changed_files()
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
                if keys[1] in loop_keys(row):
                    set_path(row, keys, value)
    recipe = validate(Recipe, content, where)
    _check_training_keys(recipe, rows, where)
    stages = [_stage(row, recipe, f"{where}, stage {n}") for n, row in enumerate(rows, start=1)]
    check_names(stages, RESERVED | set(REWARDS.names()), where)
    check_claims(stages, where)
    complete = recipe.model_copy(update={"stages": stages})
    _check_layouts(complete, where)
    return complete


def _check_layouts(recipe: Recipe, where: str) -> None:
    """Check that each file with a format or columns is read by a stage, and that its layout is valid."""
    read = {source for stage in recipe.stages for source in stage.inputs().sources}
    read |= {Path(source).name for source in read}  # paths are resolved in the recipe's folder by now
    for key, files in (("formats", recipe.formats), ("columns", recipe.columns)):
        for file in files:
            if file not in read and Path(file).name not in read:
                raise ConfigError(f"{where}, {key}: no stage reads '{file}'; {did_you_mean(file, sorted(read))}")
            recipe.layout_of(file)


def _check_training_keys(recipe: Recipe, rows: Sequence[Mapping[str, Any]], where: str) -> None:
    """Check that each key of the recipe's `training` is valid in at least one stage."""
    known = {key for row in rows for key in loop_keys(row)}
    for key in recipe.training:
        if known and key not in known:
            hint = did_you_mean(key, known, KEYS)
            raise ConfigError(f"{where}, training: unknown key '{key}' in every training stage; {hint}")


def _stage(row: Mapping[str, Any], recipe: Recipe, where: str) -> Stage:
    """A stage of the kind that the row names, or whose key it has, validated."""
    if "kind" in row:
        return _stage_of_kind(row, recipe, where)
    kinds = {kind.key: kind for kind in stage_kinds().values() if kind.key}
    present = [key for key in kinds if key in row]
    if len(present) != 1:
        raise ConfigError(f"{where}: a stage has exactly one of the keys {', '.join(sorted(kinds))}, or a kind.")
    stage = kinds[present[0]].from_row(row, recipe, where)
    stage.check(recipe, where)
    return stage
