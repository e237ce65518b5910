"""Lexicons of harmful words."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from quality_rows import pair, reasons

from gnomon.core.errors import DataError


def test_words_match_whole_and_entries_of_chinese_anywhere(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("# mild\nblast\nbad egg\n笨蛋\n", encoding="utf-8")
    files = [str(file)]
    assert reasons("lexicon", pair(chosen="Oh, BLAST it!"), files=files) == [
        "chosen holds “blast” of the lexicon"
    ]
    assert reasons("lexicon", pair(chosen="A blasted bad egg."), files=files) == [
        "chosen holds “bad egg” of the lexicon"
    ]
    assert reasons("lexicon", pair(chosen="A sandblaster."), files=files) == []
    assert reasons("lexicon", pair("你这个笨蛋吗"), files=files) == ["prompt holds “笨蛋” of the lexicon"]
    assert reasons("lexicon", pair("你这个笨蛋吗"), files=files, where="completion") == []


def test_a_long_lexicon_is_searched_quickly_and_letters_beside_chinese_are_words(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\n".join(f"word{n}" for n in range(20_000)) + "\nx\n", encoding="utf-8")
    text = "a word, another word and no entry of it " * 100
    started = time.process_time()
    assert reasons("lexicon", pair(chosen=text), files=[str(file)]) == []
    assert time.process_time() - started < 2
    assert reasons("lexicon", pair(chosen="他说word777。"), files=[str(file)]) == [
        "chosen holds “word777” of the lexicon"
    ]
    assert reasons("lexicon", pair(chosen="Grade X."), files=[str(file)]) == ["chosen holds “x” of the lexicon"]


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
