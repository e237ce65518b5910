"""Filters by name, and their settings as a recipe or the command line gives them."""

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
from gnomon.data.quality import file_filters, record_filters
from gnomon.data.quality.contract import FileFilter, Filter, RecordFilter, Tools
from gnomon.data.records import NAMES


@cache
def all_filters() -> dict[str, type[Filter]]:
    """Every filter by name: those that check records alone, then those that compare records, in their order."""
    known: list[type[Filter]] = []
    for package in (record_filters, file_filters):
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{info.name}")
            own = [v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__]
            known += [kind for kind in own if issubclass(kind, Filter)]
    known.sort(key=lambda kind: (getattr(kind, "turn", -1), kind.name))
    return {kind.name: kind for kind in known}


def build_filters(settings: Mapping[str, Any], where: str = "filters") -> list[Filter]:
    """Build every filter, with the user's settings.

    Args:
        settings: name of a filter → an action, or a mapping of its settings. A filter that is not named has its
            default action.
        where: prefix of error messages.

    Raises:
        ConfigError: there is no such filter, or a setting is wrong.
    """
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{where} is no mapping; name filters with their settings, as in length: drop.")
    for name in settings:
        if name not in all_filters():
            raise ConfigError(f"{where}: '{name}' is no filter; {did_you_mean(str(name), all_filters())}")
    return [_build(kind, settings.get(name), f"{where}.{name}") for name, kind in all_filters().items()]


def _build(kind: type[Filter], value: Any, where: str) -> Filter:
    if isinstance(value, Mapping):
        content = {"action": kind.when_named, **value}
    else:
        content = {"action": kind.default if value is None else value}
    return validate(kind, content, where)


def active_filters(kind: type, settings: Mapping[str, Any], tools: Tools) -> list[Filter]:
    """Build the filters that apply to a kind of records, and check what they need.

    Args:
        kind: of the records.
        settings: of filters by name.
        tools: models that filters use.

    Raises:
        ConfigError: a setting is wrong, a named filter is for other records, or a model is missing.
        DataError: a file that a setting names cannot be read.
    """
    every = build_filters(settings)
    for one in every:
        if one.name in settings and one.action != "off" and one.kinds and kind not in one.kinds:
            names = " or ".join(NAMES[each] for each in one.kinds)
            raise ConfigError(f"filters.{one.name} is for {names}, and the file holds {NAMES[kind]}; remove it.")
        if one.name in settings and one.action != "off" and one.idle:
            known = ", ".join(key for key in type(one).model_fields if key != "action")
            raise ConfigError(f"filters.{one.name} lacks what to look for; give it one of its settings: {known}.")
    active = [one for one in every if one.applies_to(kind)]
    check_tools(active, tools)
    for one in active:
        one.prepare()
    return active


def check_tools(active: Sequence[Filter], tools: Tools) -> None:
    """Check that there is each model that the filters need.

    Raises:
        ConfigError: one is missing.
    """
    for one in active:
        for name in one.needs():
            if getattr(tools, name) is None:
                raise ConfigError(f"filters.{one.name} needs a model for its settings; {_ADVICE[name]}.")


_ADVICE = {
    "tokenizer": "give --model, whose tokenizer counts tokens",
    "score": "give the filter a judge",
    "embed": "give the filter a model",
}


def split_filters(active: Sequence[Filter]) -> tuple[list[RecordFilter], list[FileFilter]]:
    """Separate the filters of single records from those that compare records."""
    singles = [one for one in active if isinstance(one, RecordFilter)]
    return singles, [one for one in active if isinstance(one, FileFilter)]


def parse_filters(options: Sequence[str]) -> dict[str, Any]:
    """Parse `--filter`: `NAME=ACTION`, `NAME.SETTING=VALUE` or `NAME={…}`, several times.

    Raises:
        ConfigError: an option has none of these forms, or two options contradict each other.
    """
    settings: dict[str, Any] = {}
    for option in options:
        path, mark, text = option.partition("=")
        name, dot, key = path.strip().partition(".")
        if not mark or not name or (dot and not key):
            raise ConfigError(
                f"--filter '{option}' is no NAME=ACTION, as in duplicates=report, and no NAME.SETTING=VALUE."
            )
        try:
            value = load_yaml(text)
        except (yaml.YAMLError, *YAML_VALUE_ERRORS):
            raise ConfigError(f"--filter '{option}': what follows the = is not YAML; fix it.") from None
        given = {key: value} if dot else value if isinstance(value, dict) else {"action": value}
        own = settings.setdefault(name, {})
        if repeated := own.keys() & given.keys():
            raise ConfigError(f"--filter {name}: {min(repeated)} is given twice; give it once.")
        own.update(given)
    return settings


def describe_filters() -> str:
    """Describe each filter in two lines: its default action and settings, and what it does."""
    lines = []
    for kind in all_filters().values():
        fields = [item for item in kind.model_fields.items() if item[0] != "action"]
        values = [(key, field.get_default(call_default_factory=True)) for key, field in fields]
        settings = ", ".join(f"{key}={_shown(value)}" for key, value in values)
        lines.append(f"{kind.name} [{kind.default}]" + (f" {settings}" if settings else ""))
        lines.append(f"    {(kind.__doc__ or '').splitlines()[0]}")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    return "none" if value is None or value == "" or value == [] else str(value)
