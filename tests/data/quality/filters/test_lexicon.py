"""Lexicons of harmful words."""

from __future__ import annotations

from pathlib import Path

import pytest
from quality_rows import pair, reasons

from gnomon.core.errors import DataError


def test_words_match_whole_and_entries_of_chinese_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("# mild\nblast\nbad egg\n笨蛋\n", encoding="utf-8")
    files = [str(file)]
    assert reasons("lexicon", pair(chosen="Oh, BLAST it!"), files=files) == [
        "chosen holds “BLAST” of the lexicon"
    ]
    assert reasons("lexicon", pair(chosen="A blasted bad egg."), files=files) == [
        "chosen holds “bad egg” of the lexicon"
    ]
    assert reasons("lexicon", pair(chosen="A sandblaster."), files=files) == []
    assert reasons("lexicon", pair("你这个笨蛋吗"), files=files) == ["prompt holds “笨蛋” of the lexicon"]
    assert reasons("lexicon", pair("你这个笨蛋吗"), files=files, where="completion") == []


def test_a_file_that_is_missing_empty_or_not_utf8_is_refused(tmp_path: Path) -> None:
    empty, latin = tmp_path / "empty.txt", tmp_path / "latin.txt"
    empty.write_text("# nothing\n\n")
    latin.write_bytes("Übel\n".encode("latin-1"))
    for file, problem in (
        (tmp_path / "none.txt", "No such file"),
        (empty, "holds no entry"),
        (latin, "not UTF-8"),
    ):
        with pytest.raises(DataError, match=f"lexicon .*{file.name}.*{problem}"):
            reasons("lexicon", pair(), files=[str(file)])
