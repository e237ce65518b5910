"""YAML, overrides and checked settings: a fault is one sentence that names the nearest known key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gnomon.core.config import Settings, did_you_mean, parse_override, read_yaml, set_path, validate
from gnomon.core.errors import ConfigError
from gnomon.core.renamed import KEYS


class Inner(Settings):
    target: float | None = 1.0


class Outer(Settings):
    steps: int
    rate: float = 0.1
    inner: Inner = Inner()
    perhaps: Inner | None = None


@dataclass(frozen=True, kw_only=True)
class Plain:
    consumes: ClassVar[type] = int
    clip_low: float = 0.2


@dataclass(frozen=True)
class Bare:
    consumes: ClassVar[type] = int


def refused(kind: type, content: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as excinfo:
        validate(kind, content, "here")
    return str(excinfo.value)


def test_defaults_and_nested_values() -> None:
    assert validate(Outer, {"steps": 3, "inner": {"target": None}}, "here") == Outer(
        steps=3, inner=Inner(target=None)
    )
    assert validate(Plain, {"clip_low": 0.3}, "here") == Plain(clip_low=0.3)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"stepps": 1}, "here: unknown key 'stepps'; did you mean 'steps'?"),
        ({"steps": 1, "qqqqq": 1}, "here: unknown key 'qqqqq'; known: inner, perhaps, rate, steps."),
        ({"steps": 1, "inner": {"targt": 1}}, "here: unknown key 'inner.targt'; did you mean 'target'?"),
        ({"steps": 1, "perhaps": {"targt": 1}}, "here: unknown key 'perhaps.targt'; did you mean 'target'?"),
        ({}, "here: steps: field required."),
        (
            {"steps": "many"},
            "here: steps: input should be a valid integer, unable to parse string as an integer.",
        ),
        ({"steps": 1.5}, "here: steps: input should be a valid integer, got a number with a fractional part."),
        ({"steps": 1, "rate": float("nan")}, "here: rate: input should be a finite number."),
        ({"steps": 1, "rate": float("inf")}, "here: rate: input should be a finite number."),
        (
            {"steps": 1, "inner": 3},
            "here: inner has settings of its own; write inner: {target: …}.",
        ),
        ({1: 2}, "here: unknown key '1'; known: inner, perhaps, rate, steps."),
    ],
)
def test_a_fault_is_one_sentence(content: dict[str, Any], sentence: str) -> None:
    assert refused(Outer, content) == sentence


def test_class_variables_of_a_dataclass_are_no_settings() -> None:
    assert refused(Plain, {"consumes": 1}) == "here: unknown key 'consumes'; known: clip_low."
    assert refused(Plain, {"clip_lo": 1}) == "here: unknown key 'clip_lo'; did you mean 'clip_low'?"
    assert refused(Bare, {"clip_low": 1}) == "here: unknown key 'clip_low'; there are no keys here."


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Inner().target = 2.0  # type: ignore[misc]


def test_did_you_mean() -> None:
    assert did_you_mean("learning_rat", ["learning_rate", "epochs"]) == "did you mean 'learning_rate'?"
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b."


def test_the_hint_for_a_word_with_another_name_comes_before_the_closest_spelling() -> None:
    table = {"kl.where": "kl.placement", "data.where": "data.filter", "moments": "optimizer: adamw_8bit"}
    assert did_you_mean("where", ["here", "placement"], table) == "it is called 'placement'."
    assert did_you_mean("where", ["here", "filter"], table) == "it is called 'filter'."
    assert did_you_mean("where", ["here"], table) == "did you mean 'here'?"
    assert did_you_mean("moments", ["moment", "optimizer"], table) == "it is called 'optimizer: adamw_8bit'."


def test_an_unknown_key_with_another_name_is_refused_with_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYS, "inner.goal", "inner.target")
    assert refused(Outer, {"steps": 1, "inner": {"goal": 1}}) == (
        "here: unknown key 'inner.goal'; it is called 'target'."
    )
    assert refused(Outer, {"goal": 1}) == "here: unknown key 'goal'; known: inner, perhaps, rate, steps."
    monkeypatch.setitem(KEYS, "count", "steps")
    assert refused(Outer, {"count": 1}) == "here: unknown key 'count'; it is called 'steps'."


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("training.learning_rate=1e-6", ["training", "learning_rate"], 1e-6),
        ("training.learning_rate=0.5", ["training", "learning_rate"], 0.5),
        ("seed=3", ["seed"], 3),
        ("kl.target=null", ["kl", "target"], None),
        ("run=runs/第二", ["run"], "runs/第二"),
        ("a=b=c", ["a"], "b=c"),
        ("on=true", ["on"], True),
        ("evaluate=[base, sft]", ["evaluate"], ["base", "sft"]),
        ("empty=", ["empty"], None),
    ],
)
def test_parse_override(text: str, path: list[str], value: object) -> None:
    result = parse_override(text)
    assert result == (path, value)
    assert type(result[1]) is type(value)


@pytest.mark.parametrize("text", ["seed", "", "=3", "a..b=3", ".a=3", "a.=3"])
def test_a_malformed_override_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not of the form key\.subkey=value"):
        parse_override(text)


def test_an_override_with_a_broken_value_is_refused() -> None:
    for value in ("2026-02-30", "0x_", "!!bool x", "!!timestamp x", "[" * 3000):
        with pytest.raises(ConfigError, match="not valid YAML; quote it"):
            parse_override(f"run={value}")
    with pytest.raises(ConfigError, match="not valid YAML; quote it"):
        parse_override("a={")


def test_set_path_creates_missing_or_blank_mappings() -> None:
    tree: dict[str, Any] = {"training": None, "kl": {"target": 1}}
    set_path(tree, ["training", "epochs"], 2)
    set_path(tree, ["kl", "target"], None)
    set_path(tree, ["a", "b", "c"], 3)
    assert tree == {"training": {"epochs": 2}, "kl": {"target": None}, "a": {"b": {"c": 3}}}


def test_set_path_does_not_go_below_a_value() -> None:
    with pytest.raises(ConfigError, match=r"'a\.b' is a value, so 'a\.b\.c' cannot be set\."):
        set_path({"a": {"b": 0}}, ["a", "b", "c"], 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "a recipe is a mapping"),
        (b"- a\n- b\n", "a recipe is a mapping"),
        (b"run: r\nseed: 0\nmodel: [\n", r"line 4: not valid YAML"),
        (b"run: r\na: b: c\n", r"line 2: not valid YAML \(mapping values are not allowed here\); fix that line"),
        (b"run: \xff\n", "give the path of a YAML file in UTF-8"),
        (b"run: !!python/object/apply:os.getcwd []\n", "line 1: not valid YAML"),
        (b"run: \x00\n", "not valid YAML"),
        (b"run: 2026-02-30\n", r"cannot be read as YAML \(day is out of range for month\); fix or quote it"),
        (b"run: r\nseed: 0x_\n", r"a value cannot be read as YAML \(invalid literal for int"),
        (b"run: " + b"[" * 3000, r"cannot be read as YAML \(maximum recursion depth exceeded"),
        (b"run: r\nseed: 0\nrun: s\n", r"line 3: not valid YAML \(the key 'run' occurs twice in one mapping\)"),
        (b"run: r\nstages:\n- {name: a, data: x, name: b}\n", r"line 3: .*the key 'name' occurs twice"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as excinfo:
        read_yaml(path)
    assert str(path) in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no recipe at .*absent\.yaml; give the path of a YAML file\."):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path)


def test_texts_of_any_language(tmp_path: Path) -> None:
    path = tmp_path / "配方.yaml"
    path.write_text("run: 运行\n", encoding="utf-8")
    assert read_yaml(path) == {"run": "运行"}


def test_a_yaml_merge_key_can_be_overridden(tmp_path: Path) -> None:
    """`<<` brings keys that are not written twice; the same key at two levels is two keys."""
    path = tmp_path / "recipe.yaml"
    path.write_text("base: &b {x: 1, y: {x: 2}}\n<<: *b\nmore: {<<: *b, x: 3}\n", encoding="utf-8")
    result = read_yaml(path)
    assert (result["x"], result["more"]) == (1, {"x": 3, "y": {"x": 2}})


def test_an_override_names_each_key_once() -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        parse_override("training={epochs: 1, epochs: 2}")
