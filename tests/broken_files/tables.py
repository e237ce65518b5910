"""Broken tables."""

from __future__ import annotations

from broken_files.case import GOOD, TWO, Broken

HEAD = b"prompt,completion\n"
TABLES = (
    Broken("spaces behind commas", "a.csv", b'prompt, completion\na, "Yes, please."\nb, No.\n', GOOD),
    Broken(
        "a quote in the middle of a text",
        "a.csv",
        HEAD + b'a,5" wide\nb,Yes "sir".\n',
        GOOD,
    ),
    Broken(
        "a quote that opens a text of several lines",
        "a.csv",
        HEAD + b'a,Yes.\nx,"y\nmore\nb,Yes.\n',
        GOOD,
        {"line 3": "not valid CSV", "line 4": "1 column"},
    ),
    Broken(
        "too many columns",
        "a.csv",
        HEAD + b"a,Yes.\nx,y,z\nb,Yes.\n",
        GOOD,
        {"line 3": "3 columns, but the header has 2"},
    ),
    Broken(
        "too few columns",
        "a.csv",
        HEAD + b"a,Yes.\nx\nb,Yes.\n",
        GOOD,
        {"line 3": "1 column, but the header has 2"},
    ),
    Broken(
        "a quote that is never closed",
        "a.csv",
        HEAD + b'a,Yes.\nx,"y\nb,Yes.\n',
        GOOD,
        {"line 3": "not valid CSV"},
    ),
    Broken(
        "a quote that a later row closes",
        "a.csv",
        HEAD + b'a,Yes.\nx,"y\nb,"Yes."\n',
        GOOD,
        {"line 3": "not valid CSV"},
    ),
    Broken(
        "text after a closed quote",
        "a.csv",
        HEAD + b'a,Yes.\n"x" y,z\nb,Yes.\n',
        GOOD,
        {"line 3": "not valid CSV"},
    ),
    Broken(
        "two columns of one name",
        "a.csv",
        b"prompt,completion,prompt\na,Yes.,b\n",
        refused="line 1: two columns are called 'prompt'",
    ),
    Broken("semicolons", "a.csv", b"prompt;completion\na;Yes.\nb;No, never.\n", GOOD),
    Broken(
        "the separator in the first line, as in Excel",
        "a.csv",
        b"sep=|\nprompt|completion\na|Yes.\nb|Yes.\n",
        GOOD,
    ),
    Broken(
        "tabs under the name of CSV, in UTF-16",
        "a.csv",
        "prompt\tcompletion\na\tYes.\nb\tYes.\n".encode("utf-16"),
        GOOD,
    ),
    Broken("a table with a mark", "a.csv", b"\xef\xbb\xbf" + HEAD + b"a,Yes.\nb,Yes.\n", GOOD),
    Broken(
        "a row of a table in GBK",
        "a.csv",
        HEAD + b"a,Yes.\n" + "电影,我们的\n".encode("gbk") + b"b,Yes.\n",
        GOOD,
        {"line 3": "probably GB18030"},
    ),
    Broken(
        "a header in GBK",
        "a.csv",
        "提示,回答\n电影,好\n".encode("gbk"),
        refused="line 1: not UTF-8, probably GB18030",
    ),
    Broken("NUL in a cell", "a.csv", HEAD + b"a,Yes.\nb\0,Yes.\n", ("a", "b\0")),
    Broken("a table with lines as on old Macs", "a.csv", b"prompt,completion\ra,Yes.\rb,Yes.\r", GOOD),
    Broken("a table with CRLF", "a.csv", b'prompt,completion\r\na,"Yes.\r\nNo."\r\nb,Yes.\r\n', GOOD),
    Broken("commas at the end of lines", "a.csv", b"prompt,completion,,\na,Yes.,,\nb,Yes.,,\n", GOOD),
    Broken(
        "empty rows as Excel leaves them",
        "a.csv",
        HEAD + b"a,Yes.\n,\nb,Yes.\n",
        GOOD,
        {"line 3": "prompt|completion"},
    ),
    Broken("a header without rows", "a.csv", HEAD, refused="holds no rows"),
    Broken("an empty table", "a.csv", b"", refused="holds no rows"),
    Broken("JSON lines under the name of CSV", "a.csv", TWO, GOOD),
    Broken(
        "messages that are no JSON in a cell",
        "a.csv",
        b"prompt,completion\n\"[{'role': 'user', 'content': 'x'}]\",y\na,Yes.\nb,Yes.\n",
        GOOD,
        {"line 2": "write it with double quotes"},
    ),
    Broken(
        "a quote that is never closed in TSV",
        "a.tsv",
        b'prompt\tcompletion\na\tYes.\n"x\ty\nb\tYes.\n',
        GOOD,
        {"line 3": "not valid CSV"},
    ),
)
