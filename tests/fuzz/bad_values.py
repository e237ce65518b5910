"""Odd numbers, texts, JSON values and bytes, drawn by a seeded generator."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

NUMBERS = (
    *(
        "nan",
        "inf",
        "-inf",
        ".nan",
        ".inf",
        "-1",
        "0",
        "1e308",
        "-1e308",
        "5e-324",
        "1e-400",
        "1e-4",
        "0x10",
        "1_000",
    ),
    *(
        str(10**23),
        str(2**63),
        str(-(2**63) - 1),
        str(2**31),
        "9" * 5000,
        "true",
        "null",
        "''",
        "1:30",
        "2026-02-30",
    ),
    *(
        "1/0",
        "٣",
        "½",
        "[]",
        "{}",
        "[1, 2]",
        "{a: 1}",
        "!!bool x",
        "&a [*a]",
        "1.5",
        "-0.0",
        "2",
        "1e6",
        "100000000",
    ),
)
TEXTS = (
    *(
        "",
        " ",
        "a" * 300,
        "a" * 5000,
        "b/" * 3000,
        "..",
        "../..",
        "/",
        ".",
        "~",
        "~nobody/x",
        "-",
        "--",
        "#",
        "a#b",
        ":",
    ),
    *(
        "\udcff",
        "caf\udce9.jsonl",
        "a\nb",
        "\t",
        "名前",
        "🙂" * 80,
        "%s%n",
        "{0}",
        "{{7*7}}",
        "[bold]",
        "[/red]",
        "'",
        '"',
    ),
    *(
        "data.jsonl/x",
        "recipe.yaml/x/y",
        "model",
        "folder",
        "absent",
        "absent.jsonl",
        "data.jsonl",
        "recipe.yaml",
    ),
    *(
        "http://",
        "http://127.0.0.1:9/v1#m",
        "https://[::1",
        "sqlite://",
        "sqlite:///",
        "postgresql://x:y@127.0.0.1:9/z",
    ),
    *(
        "org/name--x..y",
        "a/b/c",
        "org/",
        "/name",
        "a" * 97 + "/b",
        "vader",
        "python:",
        "x.py:f",
        "rule:",
        "model:",
    ),
    *(
        "simulated:careful,ties=nan",
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/proc/self/mem",
        "x.gguf",
        "smollm2-135x",
    ),
)
JSON: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        1e308,
        10**23,
        -(2**63) - 1,
        float("nan"),
        float("inf"),
        "",
        " ",
        "x",
        "5",
        "a" * 5000,
    ),
    *(
        "\ud800",
        "\0",
        "<|im_end|>",
        "<|im_start|>",
        "名前",
        [],
        {},
        [[]],
        [None],
        [1, "a"],
        {"a": {}},
        {"": ""},
        {"\udfff": 1},
    ),
    *([{"role": "user"}], [{"role": 5, "content": 5}], [{"role": "user", "content": None}], [{"content": "x"}]),
    *(
        [{"role": "system", "content": "x"}],
        [{"role": "user", "content": "x"}] * 3,
        ["a", "b", "c"],
        "[" * 50,
        '{"a": 1}',
    ),
)


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


def mutated(chance: random.Random, tree: Any) -> Any:
    """A JSON value with one to three places replaced, removed, renamed, doubled or nested."""
    tree = copy.deepcopy(tree)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = [place for place in _places(tree) if place]
        if not places:
            return copy.deepcopy(chance.choice(JSON))
        *path, last = chance.choice(places)
        inner = tree
        for key in path:
            inner = inner[key]
        act = chance.random()
        if act < 0.6:
            inner[last] = copy.deepcopy(chance.choice(JSON))
        elif act < 0.75:
            del inner[last]
        elif act < 0.85 and isinstance(inner, dict):
            inner[chance.choice(("x", "", "naem", "a" * 300, "名"))] = inner.pop(last)
        elif act < 0.95:
            inner[last] = [copy.deepcopy(inner[last]) for _ in range(chance.choice((1, 2, 50)))]
        else:
            inner[last] = {"a": inner[last]}
    return tree


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _places(value, (*path, key))


def damaged(chance: random.Random, content: bytes) -> bytes:
    """Bytes that were cut, overwritten, doubled or put together wrongly."""
    at = chance.randrange(len(content) + 1)
    act = chance.randrange(7)
    if act == 0:
        return content[:at]
    if act == 1:
        return content[:at] + chance.randbytes(chance.choice((1, 4, 200))) + content[at + 1 :]
    if act == 2:
        return (
            content[:at]
            + chance.choice((b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\r", b'"', b"{", b"]"))
            + content[at:]
        )
    if act == 3:
        return content.decode("utf-8", "replace").encode("utf-16")
    if act == 4:
        return b"\xef\xbb\xbf" * 2 + content
    if act == 5:
        return chance.choice(
            (
                b"",
                b"\n\n",
                b"null",
                b"[]",
                b"{}",
                b"5",
                b'"x"',
                deep(200_000).encode(),
                b"a: " + deep(3000).encode(),
            )
        )
    return chance.randbytes(2000)


def as_json(value: Any) -> bytes:
    """JSON with what JSON forbids (NaN) and what text forbids (half of a pair), as programs write it."""
    return json.dumps(value).encode()
