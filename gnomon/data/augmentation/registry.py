"""Augmentations by name, and their settings as a recipe or the command line gives them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import yaml

from gnomon.core.config import did_you_mean, validate
from gnomon.core.errors import ConfigError
from gnomon.core.yaml_text import YAML_VALUE_ERRORS, load_yaml
from gnomon.data.augmentation import kinds
from gnomon.data.augmentation.contract import Augmentation


@cache
def all_augmentations() -> dict[str, type[Augmentation]]:
    """Every augmentation by name."""
    known: dict[str, type[Augmentation]] = {}
    for info in pkgutil.iter_modules(kinds.__path__):
        module = importlib.import_module(f"{kinds.__name__}.{info.name}")
        own = [v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__]
        known |= {kind.name: kind for kind in own if issubclass(kind, Augmentation)}
    return known


def parse_kinds(options: Sequence[str]) -> dict[str, Any]:
    """Parse `--kind`: `NAME`, `NAME.SETTING=VALUE` or `NAME={…}`, several times.

    Raises:
        ConfigError: an option has none of these forms.
    """
    kinds_by_name: dict[str, Any] = {}
    for option in options:
        path, mark, text = option.partition("=")
        name, dot, key = path.strip().partition(".")
        if not name or (dot and not (key and mark)):
            raise ConfigError(f"--kind '{option}' is no NAME and no NAME.SETTING=VALUE, as in chains.factor=0.3.")
        try:
            value = load_yaml(text) if mark else None
        except (yaml.YAMLError, *YAML_VALUE_ERRORS):
            raise ConfigError(f"--kind '{option}': what follows the = is not YAML; fix it.") from None
        own = kinds_by_name.setdefault(name, {})
        if dot:
            own[key] = value
        elif isinstance(value, Mapping):
            own.update(value)
        elif mark:
            raise ConfigError(f"--kind '{option}' gives no settings; write {name}.SETTING=VALUE.")
    return kinds_by_name


def build_augmentations(settings: Mapping[str, Any], where: str) -> list[Augmentation]:
    """Build the augmentations that the settings name, in their order.

    Args:
        settings: name of an augmentation → a mapping of its settings, or `null` for the defaults.
        where: prefix of error messages.

    Raises:
        ConfigError: there is no such augmentation, or a setting is wrong or missing.
    """
    built = []
    for name, content in settings.items():
        if name not in all_augmentations():
            hint = did_you_mean(str(name), all_augmentations())
            raise ConfigError(f"{where}: '{name}' is no augmentation; {hint}")
        if content is not None and not isinstance(content, Mapping):
            raise ConfigError(f"{where}.{name} is no mapping; give settings, as in {name}: {{weight: 0.5}}.")
        built.append(validate(all_augmentations()[name], dict(content or {}), f"{where}.{name}"))
    return built
