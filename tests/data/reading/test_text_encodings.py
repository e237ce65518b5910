"""Guesses of encodings, which refusals name."""

from __future__ import annotations

import pytest

from gnomon.data.reading.text_encodings import encoding_by_mark, likely_encoding, not_utf8

CHINESE = '{"prompt": "这部电影怎么样？", "completion": "我不喜欢它的结尾。"}'


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        (CHINESE, "gbk", "GB18030"),
        ("电影", "gb18030", "GB18030"),
        ("這部電影是我的", "big5", "Big5"),
        ("この映画はとてもよかったです", "shift_jis", "Shift_JIS"),
        ("この映画はとてもよかったです", "euc_jp", "EUC-JP"),
        ("이 영화는 정말 재미있다", "euc_kr", "EUC-KR"),
        ("Le café à Genève était fermé", "latin-1", "WINDOWS-1252"),
        ("“quoted” – twice", "cp1252", "WINDOWS-1252"),
        ('{"prompt": "abc"}', "utf-16-le", "UTF-16LE"),
        ('{"prompt": "abc"}', "utf-16-be", "UTF-16BE"),
        ("plain", "ascii", None),
    ],
)
def test_the_likely_encoding_of_a_text(text: str, encoding: str, name: str | None) -> None:
    assert likely_encoding(text.encode(encoding)) == name


def test_a_sample_may_end_inside_a_character() -> None:
    assert likely_encoding(CHINESE.encode("gbk")[:-5]) == "GB18030"


def test_zero_bytes_alone_are_no_utf_16() -> None:
    assert likely_encoding(b'{"prompt": "a"}\n' + bytes(500)) is None


def test_a_refusal_names_the_command_that_converts() -> None:
    assert not_utf8(CHINESE.encode("gbk")) == (
        "not UTF-8, probably GB18030; convert the file with iconv -f GB18030 -t UTF-8."
    )
    assert (
        not_utf8(b"\xff")
        == "not UTF-8, probably WINDOWS-1252; convert the file with iconv -f WINDOWS-1252 -t UTF-8."
    )
    assert not_utf8(b"a\x81\x82\x83") == "not UTF-8; save the file as UTF-8."


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_mark_at_the_start_names_the_encoding(encoding: str) -> None:
    assert encoding_by_mark("a".encode(encoding)) == encoding.removesuffix("-sig")
    assert encoding_by_mark(b"a") is None
