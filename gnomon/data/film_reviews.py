"""Four sets of short texts that people rated from -4 (most negative) to 4 (most positive).

Source: C.J. Hutto and E.E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
Media Text", ICWSM 2014; MIT license. The sets are in an archive inside the source distribution of
`vaderSentiment`. They are read from the archive; nothing is unpacked to disk.

Each set is two tab-separated files: `<set>_GroundTruth.txt` (id, mean, text) and
`<set>_anonDataRatings.txt` (id, mean, standard deviation, list of ratings). The stated mean is ignored: for
195 of the tweets it is not the mean of the ratings listed.
"""

from __future__ import annotations

import gzip
import html
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from gnomon.core.errors import DataError
from gnomon.core.types import Message, Prompt, RatedText, RejectedRow
from gnomon.data.reading.downloads import fetch_from_pypi

# Gnomon's name of each set, and the archive's.
RATING_SETS = {
    "film-reviews": "movieReviewSnippets",
    "product-reviews": "amazonReviewSnippets",
    "editorials": "nytEditorialSnippets",
    "tweets": "tweets",
}
LOWEST, HIGHEST = -4, 4

_REQUIREMENT = "vaderSentiment==3.3.2"
_FILE = "vaderSentiment-3.3.2.tar.gz"
_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_FOLDER = "hutto_ICWSM_2014"

# With its semicolon: alone, `html.unescape` would also see an entity in "salt&notion".
_ENTITY = re.compile(r"&#?\w+;")

_Value = TypeVar("_Value")


def load_film_reviews(archive: Path | None = None) -> tuple[list[RatedText], list[RejectedRow]]:
    """Read the 10,605 sentences from film reviews, with 15 to 29 ratings each; see `load_rating_set`."""
    return load_rating_set("film-reviews", archive)


def load_rating_set(name: str, archive: Path | None = None) -> tuple[list[RatedText], list[RejectedRow]]:
    """Read one of the four sets.

    Args:
        name: a key of `RATING_SETS`.
        archive: the source distribution of vaderSentiment 3.3.2; by default fetched into the cache.

    Returns:
        The texts, in the order of the file, with ids such as `film-reviews:17`; and the refused rows, each with
        its file and line.

    Raises:
        DataError: no such set, or the archive cannot be fetched or read.
    """
    if name not in RATING_SETS:
        raise DataError(f"there is no rating set {name!r}; choose one of {', '.join(RATING_SETS)}.")
    path = archive or fetch_from_pypi(_REQUIREMENT, _FILE, _SHA256, source=True)
    texts_file = f"{RATING_SETS[name]}_GroundTruth.txt"
    ratings_file = f"{RATING_SETS[name]}_anonDataRatings.txt"
    texts_bytes, ratings_bytes = _read_nested(path, texts_file, ratings_file)
    rejected: list[RejectedRow] = []
    texts = _by_id(texts_file, texts_bytes, 3, _parse_text, rejected)
    ratings = _by_id(ratings_file, ratings_bytes, 4, _parse_ratings, rejected)
    items = [
        RatedText(f"{name}:{row}", text, ratings[row][1]) for row, (_, text) in texts.items() if row in ratings
    ]
    rejected += [
        RejectedRow(texts[row][0], f"id {row} has no usable ratings in {ratings_file}")
        for row in texts.keys() - ratings.keys()
    ]
    rejected += [
        RejectedRow(ratings[row][0], f"id {row} has no usable text in {texts_file}")
        for row in ratings.keys() - texts.keys()
    ]
    return items, sorted(rejected, key=_file_and_line)


def _read_nested(archive: Path, *names: str) -> list[bytes]:
    """Read files of the archive inside the archive."""
    try:
        # Decompressed as a whole first, which checks the CRC; tarfile does not.
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.read_bytes()))) as outer:
            inner_bytes = gzip.decompress(_member(outer, _INNER))
        with tarfile.open(fileobj=io.BytesIO(inner_bytes)) as inner:
            return [_member(inner, f"{_FOLDER}/{name}") for name in names]
    # A truncated or damaged archive fails in any of these ways, depending on where the damage is.
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise DataError(
            f"{archive} cannot be read as the source distribution of {_REQUIREMENT} ({error}); delete it and "
            f"fetch it again."
        ) from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(f"{name} is not a plain file")
    return stream.read()


def _by_id(
    file: str,
    content: bytes,
    columns: int,
    parse: Callable[[str], _Value],
    rejected: list[RejectedRow],
) -> dict[str, tuple[str, _Value]]:
    """Parse the last column of every row; id → (where, value). Appends refused rows to `rejected`."""
    rows: dict[str, tuple[str, _Value]] = {}
    for where, line in _lines(file, content):
        try:
            # A tab in the last column is part of it: texts may hold one, and a list of ratings may too.
            fields = line.decode("utf-8").split("\t", columns - 1)
            if len(fields) < columns or not fields[0]:
                raise ValueError(f"{columns} tab-separated columns expected, the first of them an id")
            if fields[0] in rows:
                raise ValueError(f"id {fields[0]} has come before, in {rows[fields[0]][0]}")
            rows[fields[0]] = (where, parse(fields[-1]))
        except ValueError as error:  # includes UnicodeDecodeError and JSONDecodeError
            rejected.append(RejectedRow(where, str(error), line.decode("utf-8", errors="replace")))
    return rows


def _lines(file: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the lines that are not empty, each with its position, such as `tweets_GroundTruth.txt:17`."""
    content = content.removeprefix(b"\xef\xbb\xbf")  # the byte-order mark that some of the files begin with
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line := line.removesuffix(b"\r"):
            yield f"{file}:{number}", line


def _parse_text(column: str) -> str:
    text = undo_artifacts(column)
    if not text:
        raise ValueError("the text is empty")
    return text


def _parse_ratings(column: str) -> tuple[float, ...]:
    values = json.loads(column)
    if not isinstance(values, list) or not values:
        raise ValueError("a list of ratings expected")
    for value in values:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not LOWEST <= value <= HIGHEST:  # nan is refused here too
            raise ValueError(f"{value!r} is not a rating from {LOWEST} to {HIGHEST}")
    return tuple(float(value) for value in values)


def undo_artifacts(text: str) -> str:
    """Undo artifacts of earlier processing in the texts, if only one reading is possible.

    A doubled apostrophe was a quotation mark; of three in a row the last two were (a quotation that ends in a
    quotation). HTML entities survive, some of them escaped twice (`&amp;#38;`). Runs of white space are where
    a dash or hyphen was lost: which of the two cannot be known, so they become one space.
    """
    text = text.replace("'''", "'\"").replace("''", '"')
    for _ in range(2):
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return " ".join(text.split())


def _file_and_line(row: RejectedRow) -> tuple[str, int]:
    file, _, line = row.where.rpartition(":")
    return file, int(line)


TRAINING = (
    "Write one sentence of a film review.",
    "Write a single sentence from a movie review.",
    "Give me one sentence of a film review.",
    "In one sentence, review a film.",
    "Write one line of a critic's movie review.",
    "What would a critic say about a film, in one sentence?",
    "Quote one sentence from a review of a movie.",
    "Write a one-sentence verdict on a film.",
    "Review a movie in a single sentence.",
    "Give one sentence from a newspaper's film review.",
    "Write a snippet of a movie review, one sentence long.",
    "Say something about a film you saw, in one sentence.",
)

HELD_OUT = (
    "Please write one sentence for a review of a film.",
    "One sentence of a movie review, please.",
    "Sum up a film in one sentence, as a reviewer would.",
    "Write the sentence a film critic would end a review with.",
    "Give me a one-line movie review.",
    "Write a sentence that could stand in a film review.",
    "What does a reviewer write about a movie? Answer in one sentence.",
    "As a film critic, write one sentence about a movie.",
    "Write one sentence for the film page of a newspaper.",
    "Tell me in one sentence what you thought of the movie.",
    "Write an excerpt of a movie review: one sentence.",
    "A single sentence from a film review, please.",
    "Compose one sentence for the review of a new film.",
    "Reply with one sentence that a movie critic might publish.",
    "Write the opening sentence of a film review.",
    "How might a newspaper describe a movie in one sentence?",
    "Write one sentence that tells readers whether a film is worth seeing.",
    "Put a critic's opinion of a movie into one sentence.",
    "Write one sentence about a film for a magazine.",
    "One line about a film, as it might appear under its title in a listing.",
    "Describe how you liked a movie in a single sentence.",
    "Write a sentence from the last paragraph of a film review.",
    "Imagine you have just seen a film: review it in one sentence.",
    "Write one short sentence that a reviewer could write about a movie.",
)


def film_prompts(held_out: bool = False) -> list[Prompt]:
    """Return the prompts that ask for a sentence of a film review: those of training, or the held-out ones."""
    kind, templates = ("held-out", HELD_OUT) if held_out else ("film", TRAINING)
    return [
        Prompt(f"{kind}-{number:02d}", (Message("user", text),)) for number, text in enumerate(templates, start=1)
    ]
