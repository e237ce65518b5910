"""YAML from a user: plain mappings, lists and scalars of a sane size, each key once."""

from __future__ import annotations

from typing import Any

import yaml

LONGEST = 1 << 20  # characters of a recipe
MOST_VALUES, DEEPEST = 100_000, 100  # values that a text may expand to through its aliases, and levels of them
# Errors of yaml's own constructors besides YAMLError, for 2026-02-30, 0x_, !!bool x, or deep nesting.
YAML_VALUE_ERRORS = (ValueError, LookupError, AttributeError, RecursionError, OverflowError)


class _Loader(yaml.SafeLoader):
    """Loader of plain YAML that refuses duplicate keys; YAML itself silently keeps the last one."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name = (key.tag, key.value)
                if name in seen:
                    problem = f"the key '{key.value}' occurs twice in one mapping"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(name)
        return node


def load_yaml(text: str) -> Any:
    """Parse a YAML text.

    Raises:
        YAMLError: it is no YAML, or its aliases expand to more or deeper values than a person writes.
        ValueError, LookupError, AttributeError, RecursionError, OverflowError: a value is not of its type.
    """
    if len(text) > LONGEST:
        raise yaml.YAMLError(f"it has {len(text)} characters")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, {}, 0)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _count_values(node: Any, known: dict[int, int], depth: int) -> int:
    """Count the values of a node with its aliases expanded; `known` holds counts by node, 0 while in progress."""
    if (count := known.get(id(node))) == 0:
        raise yaml.MarkedYAMLError(problem="an alias contains itself", problem_mark=node.start_mark)
    if count is None:
        if depth > DEEPEST:
            problem = f"it is nested more than {DEEPEST} levels deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        known[id(node)] = 0
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        inner = [part for pair in parts for part in pair] if isinstance(node, yaml.MappingNode) else parts
        count = known[id(node)] = 1 + sum(_count_values(part, known, depth + 1) for part in inner)
    if count > MOST_VALUES:
        problem = f"its aliases expand to more than {MOST_VALUES} values"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return count
