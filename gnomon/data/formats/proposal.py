"""A proposed mapping of columns for a file of unknown layout, by the names and contents of its columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

ROWS = 50  # rows that are looked at
DEEPEST = 4
MORE = "[…]"  # ends the path of a list's first item that others follow
WORDS = {  # a column is for a key if its name has one of the words; the first word is the best
    "prompt": (
        "prompt", "question", "query", "instruction", "user", "human", "request", "problem", "context", "input",
        "title", "post", "q", "问题", "提问", "指令", "输入", "题目",
    ),
    "chosen": ("chosen", "better", "preferred", "accepted", "winner", "good", "positive", "best", "更好", "优"),
    "rejected": ("rejected", "worse", "dispreferred", "loser", "bad", "negative", "worst", "non", "更差", "差"),
    "completion": (
        "completion", "response", "answer", "output", "reply", "assistant", "target", "generation", "summary",
        "label_text", "a", "回答", "答案", "回复", "输出",
    ),
    "label": ("label", "thumb", "thumbs", "liked", "accepted", "correct", "good", "feedback", "标签"),
    "rating": ("rating", "score", "stars", "grade", "评分", "分数"),
}  # fmt: skip


SHORT = {"a", "good", "bad", "non", "best", "worst", "positive", "negative", "target"}  # also in other names
DESCRIBING = {
    "role", "id", "ids", "type", "model", "name", "source", "dataset", "language", "lang", "url", "date", "time",
    "hash", "category", "kind", "author", "tokens", "version",
}  # fmt: skip


def propose_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return a mapping that would read the rows as preferences, labels or demonstrations; `None` without one.

    Args:
        rows: the first rows of a file.
    """
    paths = _paths(rows[:ROWS])
    texts = [path for path, kinds in paths.items() if kinds in ({str}, {list}) and not _describes(path)]
    prompt = _best("prompt", texts)
    if prompt is None:
        return None
    others = [path for path in texts if path != prompt]
    chosen, rejected = _best("chosen", others), _best("rejected", others)
    if chosen and rejected and chosen != rejected:
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    completion = _best("completion", others)
    if completion is None or len(answer_columns(others)) > 1:  # one of several answers would be a guess
        return None
    truths = [path for path, kinds in paths.items() if kinds == {bool}]
    label = _best("label", truths)
    return {"prompt": prompt, "completion": completion, **({"label": label} if label else {})}


def answer_columns(names: Iterable[str]) -> list[str]:
    """Return the names of columns that look like answers to a prompt."""
    words = {*WORDS["completion"], *WORDS["chosen"], *WORDS["rejected"]} - SHORT
    return [name for name in names if words & set(_parts(name)) and not _describes(name)]


def as_options(mapping: Mapping[str, Any]) -> str:
    """Write a mapping of plain paths as options of the command line, ready to paste."""
    return " ".join(f"--columns {_quoted(f'{key}={path}')}" for key, path in mapping.items())


def _quoted(option: str) -> str:
    return option if re.fullmatch(r"[\w=.\-]+", option) else f"'{option}'"


def _paths(rows: Sequence[Mapping[str, Any]]) -> dict[str, set[type]]:
    """The paths that most rows fill, with the types of their values."""
    kinds: dict[str, set[type]] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        for path, value in _leaves(row):
            kinds.setdefault(path, set()).add(type(value))
            counts[path] += 1
    cut = tuple(path.removesuffix(MORE) for path in kinds if path.endswith(MORE))  # would lose what follows
    return {
        path: kinds[path]
        for path, count in counts.items()
        if 2 * count > len(rows) and not path.endswith(MORE) and not path.startswith(cut)
    }


def _leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and depth < DEEPEST:
        for key, inner in value.items():
            name = key if re.fullmatch(r'[^.\[\]"]+', str(key)) else f'"{key}"'
            if '"' not in str(key):
                yield from _leaves(inner, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) and "role" in one for one in value):
        yield path, value  # messages are read as a whole
    elif isinstance(value, list) and value and depth < DEEPEST:
        yield from _leaves(value[0], f"{path}[0]", depth + 1)
        if len(value) > 1:
            yield f"{path}[0]{MORE}", value
    elif path and value not in (None, "", [], {}):
        yield path, value


def _parts(path: str) -> list[str]:
    """The words of a path: digits end a word, as in answer1."""
    return re.findall(r"[a-z]+|[\u4e00-\u9fff]+", path.lower())


def _describes(path: str) -> bool:
    """Whether a path holds what describes a text rather than a text, such as its role or its id."""
    return _parts(path)[-1:] != [] and _parts(path)[-1] in DESCRIBING


def _best(key: str, paths: Sequence[str]) -> str | None:
    """The path whose name fits a key best: by the order of `WORDS`, then the shorter one."""
    words = WORDS[key]

    def rank(path: str) -> tuple[int, int]:
        parts = _parts(path)
        return min((n for n, word in enumerate(words) if word in parts), default=len(words)), len(path)

    ranked = sorted((rank(path), path) for path in paths)
    return ranked[0][1] if ranked and ranked[0][0][0] < len(words) else None
