"""Broken lines of JSON."""

from __future__ import annotations

from functools import partial

from broken_files.case import GOOD, TWO, Broken, lines, row

JSON_LINES = (
    Broken(
        "a last line that is cut", "a.jsonl", TWO + b'{"prompt": "c", "comp', GOOD, {"line 3": "not valid JSON"}
    ),
    Broken(
        "a first line that is cut",
        "a.jsonl",
        b'{"prompt": "c", "comp\n' + TWO,
        GOOD,
        {"line 1": "not valid JSON"},
    ),
    Broken(
        "a cut line in the middle",
        "a.jsonl",
        lines(row("a"), row("c")[:-1], row("b")),
        GOOD,
        {"line 2": "not valid"},
    ),
    Broken("blank lines", "a.jsonl", lines("", row("a"), "  ", "\t", row("b"), ""), GOOD),
    Broken("no end of the last line", "a.jsonl", TWO[:-1], GOOD),
    Broken("CRLF", "a.jsonl", lines(row("a"), row("b"), end="\r\n"), GOOD),
    Broken("lines that end as on old Macs", "a.jsonl", lines(row("a"), row("b"), end="\r"), GOOD),
    Broken("a byte-order mark", "a.jsonl", b"\xef\xbb\xbf" + TWO, GOOD),
    Broken(
        "two joined files with marks",
        "a.jsonl",
        (b"\xef\xbb\xbf" + lines(row("a"))) + b"\xef\xbb\xbf" + lines(row("b")),
        GOOD,
    ),
    Broken("UTF-16", "a.jsonl", lines(row("电影"), row("b"), encoding="utf-16"), ("电影", "b")),
    Broken(
        "UTF-16, the other way round",
        "a.jsonl",
        b"\xfe\xff" + lines(row("a"), row("b"), encoding="utf-16-be"),
        GOOD,
    ),
    Broken("UTF-32", "a.jsonl", lines(row("a"), row("b"), encoding="utf-32"), GOOD),
    Broken(
        "UTF-16 without a mark",
        "a.jsonl",
        lines(row("a"), row("b"), encoding="utf-16-le"),
        refused="probably UTF-16LE",
    ),
    Broken(
        "UTF-16 cut in a character",
        "a.jsonl",
        lines(row("a"), row("b"), encoding="utf-16")[:-3],
        ("a",),
        {"line 2": "cut short"},
    ),
    Broken(
        "one row in GBK",
        "a.jsonl",
        lines(row("a")) + lines(row("这部电影不错"), encoding="gbk") + lines(row("b")),
        GOOD,
        {"line 2": "not UTF-8, probably GB18030; convert the file with iconv -f GB18030"},
    ),
    Broken(
        "all in GBK",
        "a.jsonl",
        lines(row("我喜欢这个"), row("他不是"), encoding="gb18030"),
        refused="probably GB18030",
    ),
    Broken("all in Big5", "a.jsonl", lines(row("這個電影是我們的"), encoding="big5"), refused="probably Big5"),
    Broken(
        "all in Shift JIS",
        "a.jsonl",
        lines(row("これはとてもいいえいがです"), encoding="shift_jis"),
        refused="probably Shift_JIS",
    ),
    Broken(
        "all in EUC-KR",
        "a.jsonl",
        lines(row("이 영화는 정말 좋아요 나는 다시 보고 싶다"), encoding="euc_kr"),
        refused="probably EUC-KR",
    ),
    Broken(
        "one row in Latin-1",
        "a.jsonl",
        lines(row("a"), row("b")) + lines(row("café à Genève"), encoding="latin-1"),
        GOOD,
        {"line 3": "probably WINDOWS-1252"},
    ),
    Broken(
        "NUL inside a text",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x\0", "completion": "y"}', row("b")),
        GOOD,
        {"line 2": "NUL bytes"},
    ),
    Broken("NULs at the end, as after a crash", "a.jsonl", TWO + bytes(512), GOOD, {"line 3": "NUL bytes"}),
    Broken("an escaped NUL", "a.jsonl", lines(row("a"), row("b\0")), ("a", "b\0")),
    Broken(
        "half of a surrogate pair",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x", "completion": "\\ud83d"}', row("b")),
        GOOD,
        {"line 2": "surrogate"},
    ),
    Broken(
        "half of a surrogate pair as bytes",
        "a.jsonl",
        lines(row("a")) + b'{"prompt": "\xed\xa0\xbd", "completion": "y"}\n' + lines(row("b")),
        GOOD,
        {"line 2": "not UTF-8"},
    ),
    Broken(
        "half of a surrogate pair in UTF-16",
        "a.jsonl",
        b"\xff\xfe"
        + "".join(one + "\n" for one in (row("a"), row("x\ud83d"), row("b"))).encode(
            "utf-16-le", "surrogatepass"
        ),
        GOOD,
        {"line 2": "not UTF-8"},
    ),
    Broken(
        "both halves as escapes",
        "a.jsonl",
        lines(row("a"), '{"prompt": "\\ud83d\\ude00", "completion": "y"}'),
        ("a", "😀"),
    ),
    Broken(
        "a key that stands twice",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x", "completion": "y", "prompt": "z"}', row("b")),
        GOOD,
        {"line 2": "'prompt' stands twice"},
    ),
    Broken(
        "a key that stands twice in a message",
        "a.jsonl",
        lines(row("a"), '{"prompt": [{"role": "user", "content": "x", "content": "z"}], "completion": "y"}'),
        ("a",),
        {"line 2": "'content' stands twice"},
    ),
    Broken(
        "a list for a row", "a.jsonl", lines("[1, 2]", row("a"), row("b")), GOOD, {"line 1": "not a JSON object"}
    ),
    Broken(
        "a number for a row", "a.jsonl", lines(row("a"), "17", row("b")), GOOD, {"line 2": "not a JSON object"}
    ),
    Broken(
        "a text for a row", "a.jsonl", lines(row("a"), '"text"', row("b")), GOOD, {"line 2": "not a JSON object"}
    ),
    Broken("null for a row", "a.jsonl", lines(row("a"), "null", row("b")), GOOD, {"line 2": "not a JSON object"}),
    Broken(
        "a comma after the last key",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x", "completion": "y",}', row("b")),
        GOOD,
        {"line 2": "not valid JSON"},
    ),
    Broken(
        "quotes as Python prints them",
        "a.jsonl",
        lines(row("a"), "{'prompt': 'x', 'completion': 'y'}", row("b")),
        GOOD,
        {"line 2": "not valid JSON"},
    ),
    Broken(
        "True as Python prints it",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x", "completion": True}', row("b")),
        GOOD,
        {"line 2": "not valid JSON"},
    ),
    Broken(
        "NaN for a text",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x", "completion": NaN}', row("b")),
        GOOD,
        {"line 2": "nan"},
    ),
    Broken(
        "two objects on a line",
        "a.jsonl",
        lines(row("a"), row("x") + row("y"), row("b")),
        GOOD,
        {"line 2": "more text after the object"},
    ),
    Broken(
        "text after an object",
        "a.jsonl",
        lines(row("a") + " # note", row("b")),
        ("b",),
        {"line 1": "more text after the object"},
    ),
    Broken(
        "a comment", "a.jsonl", lines("// demonstrations", row("a"), row("b")), GOOD, {"line 1": "not valid JSON"}
    ),
    Broken(
        "nested too deeply",
        "a.jsonl",
        lines(row("a"), '{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}", row("b")),
        GOOD,
        {"line 2": "nested too deeply"},
    ),
    Broken(
        "a number with too many digits",
        "a.jsonl",
        lines(row("a"), f'{{"prompt": "x", "completion": "y", "n": {"9" * 5000}}}', row("b")),
        GOOD,
        {"line 2": "not valid JSON"},
    ),
    Broken(
        "a line break inside a text",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x', 'y", "completion": "z"}', row("b")),
        GOOD,
        {"line 2": "not valid JSON", "line 3": "not valid JSON"},
    ),
    Broken(
        "a tab inside a text",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x\ty", "completion": "z"}', row("b")),
        GOOD,
        {"line 2": "control character"},
    ),
    Broken(
        "a line separator of Unicode in a text",
        "a.jsonl",
        lines(row("a\u2028\x85"), row("b")),
        ("a\u2028\x85", "b"),
    ),
    Broken("a long line", "a.jsonl", partial(lines, row("a"), row("b", "long " * 10**6)), GOOD),
    Broken("an empty file", "a.jsonl", b"", refused="holds no rows"),
    Broken("white space alone", "a.jsonl", b"\n \r\n\n", refused="holds no rows"),
)
CONTENTS = (
    Broken(
        "a key is missing",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x"}', row("b")),
        GOOD,
        {"line 2": "no 'completion'"},
    ),
    Broken(
        "null for a text", "a.jsonl", lines(row("a"), row("x", None), row("b")), GOOD, {"line 2": "completion"}
    ),
    Broken(
        "a number for a text", "a.jsonl", lines(row("a"), row("x", 5), row("b")), GOOD, {"line 2": "5 is neither"}
    ),
    Broken("an empty completion", "a.jsonl", lines(row("a"), row("b", "")), GOOD),
    Broken("numbers as texts", "a.jsonl", lines(row("a", weight="0.5"), row("b", weight="2")), GOOD),
    Broken(
        "a text for a number",
        "a.jsonl",
        lines(row("a"), row("x", weight="heavy"), row("b")),
        GOOD,
        {"line 2": "weight is 'heavy', not a number"},
    ),
    Broken(
        "an infinite weight",
        "a.jsonl",
        lines(row("a"), '{"prompt": "x", "completion": "y", "weight": 1e999}', row("b")),
        GOOD,
        {"line 2": "weight is inf"},
    ),
    Broken(
        "a message without content",
        "a.jsonl",
        lines(
            row("a"),
            '{"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "y"}]}',
            row("b"),
        ),
        GOOD,
        {"line 2": "content"},
    ),
    Broken(
        "null for a message",
        "a.jsonl",
        lines(row("a"), '{"messages": [null, {"role": "assistant", "content": "y"}]}', row("b")),
        GOOD,
        {"line 2": "."},
    ),
    Broken("no messages", "a.jsonl", lines(row("a"), '{"messages": []}', row("b")), GOOD, {"line 2": "."}),
    Broken(
        "an unknown role",
        "a.jsonl",
        lines(
            row("a"),
            '{"messages": [{"role": "wizard", "content": "x"}, {"role": "assistant", "content": "y"}]}',
            row("b"),
        ),
        GOOD,
        {"line 2": "wizard"},
    ),
    Broken(
        "other columns in some rows",
        "a.jsonl",
        lines(row("a"), '{"question": "x", "reply": "y"}', row("b")),
        GOOD,
        {"line 2": "no 'prompt'"},
    ),
)
