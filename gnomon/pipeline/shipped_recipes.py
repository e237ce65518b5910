"""Recipes that come with Gnomon, found by name: `smoke`, `film-reviews`, `algorithms/dpo`."""

from __future__ import annotations

from pathlib import Path

from gnomon.core.config import did_you_mean
from gnomon.core.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[1] / "recipes"


def shipped_recipes(folder: Path = FOLDER) -> dict[str, Path]:
    """Return every shipped recipe by its name: the path below the folder, without suffix."""
    root = folder.resolve()
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.glob("**/*.yaml"))}


def find_recipe(path: Path) -> Path:
    """Return the file of a recipe: the given one, or the shipped recipe of that name where no such file exists.

    Raises:
        ConfigError: the path has no suffix, nothing is there, and no shipped recipe has that name.
    """
    if path.suffix or path.is_file():
        return path
    recipes = shipped_recipes()
    name = path.as_posix()
    if name not in recipes and not path.exists():
        hint = did_you_mean(name, recipes)
        raise ConfigError(f"no recipe at {path}, and none is shipped under that name; {hint}")
    return recipes.get(name, path)
