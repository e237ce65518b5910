"""Recipes: YAML to checked settings, overrides by dotted path, errors that name the nearest known key."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gnomon.core.boundary import first_line, shown
from gnomon.core.errors import ConfigError
from gnomon.core.renamed import KEYS, renamed
from gnomon.core.yaml_text import DEEPEST, LONGEST, YAML_VALUE_ERRORS, load_yaml

T = TypeVar("T")


class Settings(BaseModel):
    """Base of all settings: immutable; unknown keys, and numbers that are not finite, are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read_yaml(
    path: Path, noun: str = "recipe", form: str = "a recipe is a mapping with keys such as run and stages"
) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: of the file.
        noun: name of what the file holds, for errors.
        form: a clause on the expected content, for the error about another one.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST + 1)  # a device or a wrong file may have no end
    except FileNotFoundError:
        raise ConfigError(f"no {noun} at {path}; give the path of a YAML file.") from None
    except (OSError, ValueError) as error:
        problem = f"{shown(path)} cannot be read ({first_line(error)})"
        raise ConfigError(f"{problem}; give the path of a YAML file in UTF-8.") from None
    try:
        content = load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise ConfigError(f"{path}{where}: not valid YAML ({problem}); fix that line.") from None
    except YAML_VALUE_ERRORS as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{path}: a value cannot be read as YAML ({problem}); fix or quote it.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: {form}; this is not one.")
    return content


def parse_override(text: str) -> tuple[list[str], Any]:
    """Parse `training.learning_rate=1e-6` into the path `["training", "learning_rate"]` and the value 1e-6."""
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise ConfigError(f"override '{text}' is not of the form key.subkey=value, as in training.steps=10.")
    try:
        parsed = load_yaml(value)
    except (yaml.YAMLError, *YAML_VALUE_ERRORS):
        raise ConfigError(f"override '{text}': the value is not valid YAML; quote it.") from None
    if isinstance(parsed, str):
        # YAML 1.1 reads 1e-6 as text unless it has a dot.
        with contextlib.suppress(ValueError):
            parsed = float(parsed)
    return path.split("."), parsed


def set_path(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value inside nested mappings; mappings that are missing or blank are created.

    Args:
        tree: the outermost mapping, changed in place.
        path: keys from the outside in.
        value: to set.
    """
    for depth, key in enumerate(path[:-1]):
        below = tree[key] = {} if tree.get(key) is None else tree[key]
        if not isinstance(below, dict):
            raise ConfigError(f"'{'.'.join(path[: depth + 1])}' is a value, so '{'.'.join(path)}' cannot be set.")
        tree = below
    tree[path[-1]] = value


def merge_deep(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `above` into a copy of `below`; mappings in both are merged, any other value is replaced."""
    merged = dict(below)
    for key, value in above.items():
        former = merged.get(key)
        both = isinstance(former, Mapping) and isinstance(value, Mapping)
        merged[key] = merge_deep(former, value) if both else value  # type: ignore[arg-type]
    return merged


def did_you_mean(word: str, known: Iterable[str], table: Mapping[str, str] | None = None) -> str:
    """Return a hint: the known word to use in place of `word`, or the list of all known words.

    Args:
        word: the unknown word.
        known: the words that are valid in its place.
        table: `renamed.KEYS` or `renamed.METRICS`, looked up before the closest spelling.
    """
    options = sorted(known)
    if not options:
        return "there are no keys here."
    if name := renamed(word, options, table or {}):
        return f"it is called '{name}'."
    match = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    return f"did you mean '{match[0]}'?" if match else f"known: {', '.join(options)}."


NO_MAPPING = ("model_type", "model_attributes_type", "dataclass_type", "dict_type")  # pydantic's types of errors


def validate(kind: type[T], content: Mapping[str, Any], where: str, *, any_text: bool = False) -> T:
    """Check `content` against a settings class or dataclass.

    Args:
        kind: the settings class or dataclass.
        content: keys and values as read.
        where: position for the error, such as a file and a stage.
        any_text: whether texts may hold NUL, which settings may not.

    Raises:
        ConfigError: the first fault, in one sentence.
    """
    if not any_text:
        check_texts(content, where)
    adapter = TypeAdapter(kind)
    known = _field_names(kind)
    for key in content:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'; {did_you_mean(str(key), known, KEYS)}")
    try:
        return adapter.validate_python(dict(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            hint = did_you_mean(str(first["loc"][-1]), _nested_names(kind, first["loc"][:-1]), KEYS)
            raise ConfigError(f"{where}: unknown key '{path}'; {hint}") from None
        if first["type"] in NO_MAPPING and (name := _example_key(_nested_kind(kind, first["loc"]))):
            raise ConfigError(
                f"{where}: {path} has settings of its own; write {first['loc'][-1]}: {{{name}: …}}."
            ) from None
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise ConfigError(f"{where}: {path or 'value'}: {message[:1].lower() + message[1:]}.") from None


def check_texts(content: Any, where: str, depth: int = 0) -> None:
    """Refuse settings whose texts no file name, store or page can hold, or that are nested too deeply.

    Args:
        content: the settings.
        where: position for the error.
        depth: levels above `content`.

    Raises:
        ConfigError: a text holds NUL or half of a surrogate pair, or values are nested too deeply.
    """
    if depth > DEEPEST:
        raise ConfigError(f"{where}: values are nested more than {DEEPEST} levels deep; write them flatter.")
    if isinstance(content, str):
        if "\0" in content or content.encode("utf-8", "replace").decode() != content:
            raise ConfigError(f"{where}: {shown(content)!a} holds a character that is no text; remove it.")
    elif isinstance(content, Mapping):
        for key, value in content.items():
            check_texts(key, where, depth + 1)
            check_texts(value, where, depth + 1)
    elif isinstance(content, list | tuple):
        for value in content:
            check_texts(value, where, depth + 1)


def _field_names(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _nested_names(kind: Any, path: Sequence[int | str]) -> list[str]:
    return _field_names(_nested_kind(kind, path))


def _example_key(kind: Any) -> str | None:
    """A key of a settings class, one without a default if there is any; `None` for other classes."""
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return None
    required = [name for name, field in kind.model_fields.items() if field.is_required()]
    return next(iter([*required, *kind.model_fields]), None)


def _nested_kind(kind: Any, path: Sequence[int | str]) -> Any:
    for part in path:
        if get_origin(kind) in (dict, Mapping):  # its keys are names
            kind = get_args(kind)[1]
            continue
        own: Mapping[str, Any] = {}
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            own = {name: field.annotation for name, field in kind.model_fields.items()}
        elif isinstance(kind, type) and dataclasses.is_dataclass(kind):
            own = get_type_hints(kind)
        if part in own:
            kind = own[str(part)]
            if get_origin(kind) in (dict, Mapping):
                continue
            choices = [
                a for a in getattr(kind, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)
            ]
            kind = choices[0] if choices else kind
    return kind
