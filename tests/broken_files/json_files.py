"""Broken files of JSON that do not hold one row a line."""

from __future__ import annotations

import json

from broken_files.case import GOOD, PAIR, Broken, row

JSON_FILES = (
    Broken(
        "the end of a list behind objects",
        "a.json",
        json.dumps(PAIR[0], indent=1).encode() + b"\n]\n" + json.dumps(PAIR[1]).encode(),
        GOOD,
        {"row 2": "not valid JSON"},
    ),
    Broken("an indented list", "a.json", json.dumps(PAIR, indent=4).encode(), GOOD),
    Broken("an indented list with the ending of lines", "a.jsonl", json.dumps(PAIR, indent=2).encode(), GOOD),
    Broken("a list on one line", "a.json", json.dumps(PAIR).encode(), GOOD),
    Broken(
        "a list that is cut after a row",
        "a.json",
        b"[" + row("a").encode() + b", " + row("b").encode(),
        GOOD,
        {"row 3": "the list has no end"},
    ),
    Broken(
        "a list that is cut in a row",
        "a.json",
        json.dumps(PAIR, indent=1).encode()[:-20],
        ("a",),
        {"row 2": "not valid JSON"},
    ),
    Broken("a comma after the last row", "a.json", f"[{row('a')}, {row('b')},]".encode(), GOOD),
    Broken("a missing comma", "a.json", f"[{row('a')} {row('b')}]".encode(), GOOD),
    Broken(
        "a broken row in an indented list",
        "a.json",
        json.dumps([PAIR[0], {"prompt": "x", "completion": "y"}, PAIR[1]], indent=2).replace('"y"', "y").encode(),
        GOOD,
        {"row 2": "not valid JSON .*line 8"},
    ),
    Broken(
        "a broken row in a list of lines",
        "a.json",
        f'[\n{row("a")},\n{{"prompt": "x", "comp\n,\n{row("b")}\n]'.encode(),
        GOOD,
        {"row 2": "not valid JSON"},
    ),
    Broken(
        "a broken row in a list on one line",
        "a.json",
        f'[{row("a")}, {{"prompt": x}}, {row("b")}]'.encode(),
        GOOD,
        {"row 2": "not valid JSON"},
    ),
    Broken(
        "a number for a row of a list",
        "a.json",
        f"[{row('a')}, 2, {row('b')}]".encode(),
        GOOD,
        {"row 2": "not a JSON object"},
    ),
    Broken(
        "a word for a row of a list",
        "a.json",
        f"[{row('a')}, two, {row('b')}]".encode(),
        GOOD,
        {"row 2": "not valid JSON"},
    ),
    Broken("a list of texts", "a.json", b'["a", "b"]', refused="not a JSON object"),
    Broken(
        "text after a list",
        "a.json",
        json.dumps(PAIR).encode() + b"[]",
        GOOD,
        {"row 3": "more text after the end of the list"},
    ),
    Broken("an empty list", "a.json", b"[]", refused="holds no rows"),
    Broken("an empty object", "a.json", b"{}", refused="no row is a record"),
    Broken("a list with a mark", "a.json", b"\xef\xbb\xbf" + json.dumps(PAIR).encode(), GOOD),
    Broken("a list in UTF-16", "a.json", json.dumps(PAIR, indent=1).encode("utf-16"), GOOD),
    Broken(
        "a row in GBK in a list",
        "a.json",
        f"[{row('a')},\n".encode() + row("我的电影是这样的").encode("gbk") + f",\n{row('b')}]".encode(),
        GOOD,
        {"row 2": "probably GB18030"},
    ),
    Broken(
        "half of a surrogate pair in a list",
        "a.json",
        json.dumps([PAIR[0], {"prompt": "\udc00", "completion": "y"}, PAIR[1]]).encode(),
        GOOD,
        {"row 2": "surrogate"},
    ),
    Broken(
        "a key that stands twice in a list",
        "a.json",
        f'[{row("a")}, {{"prompt": "x", "prompt": "y"}}, {row("b")}]'.encode(),
        GOOD,
        {"row 2": "'prompt' stands twice"},
    ),
    Broken(
        "a list nested too deeply",
        "a.json",
        f'[{row("a")}, {{"prompt": {"[" * 99_999}{"]" * 99_999}}}, {row("b")}]'.encode(),
        GOOD,
        {"row 2": "nested too deeply"},
    ),
    Broken(
        "indented objects one after another",
        "a.jsonl",
        "\n".join(json.dumps(one, indent=2) for one in PAIR).encode(),
        GOOD,
    ),
    Broken(
        "a broken one of them",
        "a.json",
        "\n".join(json.dumps(one, indent=2) for one in (PAIR[0], {"prompt": "x"}, PAIR[1]))
        .replace('"x"', '"x')
        .encode(),
        GOOD,
        {"row 2": "not valid JSON"},
    ),
    Broken(
        "the first of them broken",
        "a.json",
        "\n".join(json.dumps(one, indent=2) for one in ({"prompt": "x"}, *PAIR)).replace('"x"', '"x",').encode(),
        GOOD,
        {"row 1": "not valid JSON"},
    ),
    Broken("objects without line breaks", "a.json", (row("a") + row("b")).encode(), GOOD),
    Broken("objects with commas, without a list", "a.json", f"{row('a')},\n{row('b')}".encode(), GOOD, {}),
    Broken("an object with a list", "a.json", json.dumps({"version": 2, "data": PAIR}).encode(), GOOD),
    Broken(
        "an indented object with a list",
        "a.json",
        json.dumps({"train": PAIR, "licence": "none"}, indent=1).encode(),
        GOOD,
    ),
    Broken(
        "an object whose list is cut",
        "a.json",
        json.dumps({"data": PAIR}, indent=1).encode()[:-15],
        ("a",),
        {"row 2": "not valid JSON"},
    ),
    Broken(
        "an object with several lists",
        "a.json",
        json.dumps({"train": PAIR, "test": PAIR}).encode(),
        refused="it holds the lists train, test; name one, as in FILE#train",
    ),
    Broken(
        "an object of columns",
        "a.json",
        json.dumps({"prompt": ["a", "b"], "completion": ["x", "y"]}).encode(),
        refused="columns, not rows",
    ),
    Broken(
        "an object of columns as pandas writes it",
        "a.json",
        json.dumps({"prompt": {"0": "a", "1": "b"}, "completion": {"0": "x", "1": "y"}}).encode(),
        refused="columns, not rows",
    ),
)
