"""Reading the rating sets: a hand-made archive of the same shape, and the real one."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import RatedText
from gnomon.data.film_reviews import RATING_SETS, load_film_reviews, load_rating_set, undo_artifacts

OUTER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
BOM = b"\xef\xbb\xbf"


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write_archive(folder: Path, texts: bytes, ratings: bytes) -> Path:
    inner = tar(
        {
            "hutto_ICWSM_2014/tweets_GroundTruth.txt": texts,
            "hutto_ICWSM_2014/tweets_anonDataRatings.txt": ratings,
        }
    )
    path = folder / "archive.tar.gz"
    path.write_bytes(tar({OUTER: inner}))
    return path


def test_joins_on_id_and_recomputes_the_mean(tmp_path: Path) -> None:
    """The stated means are 9.9, the first file ends in an empty line, the second has a BOM and another order."""
    texts = "1\t9.9\tCafé  noir\r\n2\t9.9\t''Bad''\twith a tab &amp; more\r\n\r\n".encode()
    ratings = BOM + b"2\t9.9\t0.5\t[-1, -2]\r\n1\t9.9\t0.5\t[0, 1, 4, 3]\r\n"
    items, rejected = load_rating_set("tweets", write_archive(tmp_path, texts, ratings))
    assert rejected == []
    assert items == [
        RatedText("tweets:1", "Café noir", (0.0, 1.0, 4.0, 3.0)),
        RatedText("tweets:2", '"Bad" with a tab & more', (-1.0, -2.0)),
    ]
    assert [item.mean for item in items] == [2.0, -1.5]


def test_malformed_rows_are_rejected_with_their_place(tmp_path: Path) -> None:
    texts = b"1\t0\tgood\n\n2\t0\n3\t0\t \n4\t0\t\xff\n5\t0\tfine\n1\t0\tagain\n6\t0\tx\n7\t0\ty\n8\t0\tz\n"
    ratings = b"1\t0\t0\t[1]\n5\t0\t0\t[1, 5]\n6\t0\t0\t[]\n7\t0\t0\t[true]\n8\t0\t0\t[NaN]\n9\t0\t0\t[2]\n"
    items, rejected = load_rating_set("tweets", write_archive(tmp_path, texts, ratings))
    assert [item.id for item in items] == ["tweets:1"]
    reasons = {row.where: row.reason for row in rejected}
    truth, raw = "tweets_GroundTruth.txt", "tweets_anonDataRatings.txt"
    assert "3 tab-separated columns expected" in reasons[f"{truth}:3"]
    assert reasons[f"{truth}:4"] == "the text is empty"
    assert "can't decode byte 0xff" in reasons[f"{truth}:5"]
    assert reasons[f"{truth}:6"] == f"id 5 has no usable ratings in {raw}"
    assert reasons[f"{truth}:7"] == f"id 1 has come before, in {truth}:1"
    assert reasons[f"{raw}:2"] == "5 is not a rating from -4 to 4"
    assert reasons[f"{raw}:3"] == "a list of ratings expected"
    assert reasons[f"{raw}:4"] == "True is not a rating from -4 to 4"
    assert reasons[f"{raw}:5"] == "nan is not a rating from -4 to 4"
    assert reasons[f"{raw}:6"] == f"id 9 has no usable text in {truth}"
    # Beside these ten, the texts 6, 7 and 8 are left without ratings.
    assert len(rejected) == 13
    assert [row.where for row in rejected[:3]] == [f"{truth}:3", f"{truth}:4", f"{truth}:5"]
    assert next(row for row in rejected if row.where == f"{raw}:2").content == "5\t0\t0\t[1, 5]"


@pytest.mark.parametrize(
    "content",
    [b"", b"not an archive", tar({"other": b""}), tar({OUTER: b"broken"})],
    ids=["empty", "no archive", "another", "broken inside"],  # an archive holds the time at which it was made
)
def test_a_damaged_archive_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.tar\.gz cannot be read"):
        load_film_reviews(path)


def test_a_cut_archive_is_named(tmp_path: Path) -> None:
    path = write_archive(tmp_path, b"1\t0\tgood\n", b"1\t0\t0\t[1]\n")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="cannot be read"):
        load_rating_set("tweets", path)


@pytest.mark.parametrize("position", [10, 60_000, 150_000])
def test_damage_inside_is_named(tmp_path: Path, position: int) -> None:
    """The outer archive is whole; in the inner one a part of the compressed stream is overwritten.

    At the first place the stream makes no sense, at the others it still decodes, to other texts or ratings.
    """
    content = random.Random(0).randbytes(100_000).hex().encode()
    names = ("hutto_ICWSM_2014/tweets_GroundTruth.txt", "hutto_ICWSM_2014/tweets_anonDataRatings.txt")
    inner = bytearray(tar(dict.fromkeys(names, content)))
    assert len(inner) > 200_000
    inner[position : position + 100] = b"\xff" * 100
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(tar({OUTER: bytes(inner)}))
    with pytest.raises(DataError, match="cannot be read"):
        load_rating_set("tweets", path)


def test_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(DataError, match="'films'; choose one of film-reviews, product-reviews"):
        load_rating_set("films")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("his ''Conan'' is", 'his "Conan" is'),
        ("''North American 'Accord.'''", "\"North American 'Accord.'\""),
        ("the critics' choice", "the critics' choice"),
        ("I &lt;3 S&amp;M", "I <3 S&M"),
        ("at &amp;#38; t, Hirschl &amp;amp; Adler", "at & t, Hirschl & Adler"),
        ("salt&notion, AT&T", "salt&notion, AT&T"),
        (" comics    even those ", "comics even those"),
    ],
)
def test_artefacts(text: str, expected: str) -> None:
    assert undo_artifacts(text) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "texts", "fewest", "most", "ratings"),
    [
        ("film-reviews", 10605, 15, 29, 198810),
        ("product-reviews", 3708, 20, 20, 74160),
        ("editorials", 5190, 20, 20, 103800),
        ("tweets", 4200, 20, 99, 159750),
    ],
)
def test_the_real_sets(name: str, texts: int, fewest: int, most: int, ratings: int) -> None:
    """Counts taken from the files with other tools."""
    items, rejected = load_rating_set(name)
    assert rejected == []
    lengths = [len(item.ratings) for item in items]
    assert (len(items), min(lengths), max(lengths), sum(lengths)) == (texts, fewest, most, ratings)
    assert not any("''" in item.text or "amp;" in item.text or "&#" in item.text for item in items)


def test_every_set_has_a_name_of_ours() -> None:
    assert len(set(RATING_SETS.values())) == 4


@pytest.mark.slow
def test_a_real_row() -> None:
    items, _ = load_film_reviews()
    assert items[2] == RatedText(
        "film-reviews:3",
        "Effective but too tepid biopic",
        (-1, 0, -1, 0, -1, -1, -1, -1, 0, -2, 1, 1, -1, -1, -1),
    )
    assert items[2].mean == pytest.approx(-0.6)
