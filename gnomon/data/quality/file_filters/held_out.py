"""Records whose prompt is in held-out data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from gnomon.core.errors import DataError
from gnomon.core.types import RatedText
from gnomon.data.quality.contract import Action, Candidates, Decision, Digests, FileFilter, Part, Row
from gnomon.data.quality.file_filters.near_duplicates import COMPARED, Similarity
from gnomon.data.quality.minhash import band_count, bands, earlier_rows
from gnomon.data.quality.texts import jaccard, media_key, nfc, ngrams, prompt_text, salted
from gnomon.data.reading.readers import locate
from gnomon.data.record_kinds import kind_of_file
from gnomon.data.records import prompt_of_record, scan_records


class HeldOut(FileFilter):
    """Finds records whose prompt, or rated text, is like one of some files; without files it finds nothing.

    Attributes:
        files: data files of any kind and format.
        similarity: from which on two prompts are alike, in [0.5, 1].
    """

    name: ClassVar[str] = "held_out"
    part: ClassVar[Part] = "unique"
    default: ClassVar[Action] = "drop"
    turn: ClassVar[int] = 30
    files: list[str] = Field(default_factory=list)
    similarity: Similarity = 0.8

    @property
    def idle(self) -> bool:
        """Without files."""
        return not self.files

    def prepare(self) -> None:
        """Look for the files.

        Raises:
            DataError: one is missing.
        """
        for file in self.files:
            if not locate(Path(file).expanduser())[0].exists():
                raise DataError(f"no held-out data at {file}; give the path of a file or folder of data.")

    @property
    def width(self) -> int:
        """The number of bands."""
        return band_count(self.similarity)

    def features(self, record: Any, row: Row) -> Sequence[int]:
        """The bands of the prompt's n-grams."""
        return bands(_ngrams(_question(record)), self.similarity)

    def decide(self, candidates: Candidates) -> Decision:
        """Compare each row with the held-out rows that share a band with it.

        Raises:
            DataError: a held-out file cannot be read.
        """
        texts, positions, table = [], [], []
        for file in self.files:
            for where, question in _questions(file):
                texts.append(question)
                positions.append(f"{where} of {file}")
                table.append(bands(_ngrams(question), self.similarity))
        older = np.array(table, np.uint64).reshape(-1, self.width)
        reasons: dict[int, str] = {}
        for row, others in earlier_rows(candidates.features, candidates.remaining, COMPARED, older):
            own = _ngrams(_question(candidates.record(row)))
            for other in others:
                likeness = jaccard(own, _ngrams(texts[other]))
                if likeness >= self.similarity:
                    reasons[row] = f"its prompt is {likeness:.0%} like {positions[other]}"
                    break
        return Decision(reasons, figures={"held_out_prompts": len(texts)})


Question = tuple[str, str]
"""The text of a prompt, and the key of its media."""


def _question(record: Any) -> Question:
    """The prompt of a record; of a rated text without one the text."""
    prompt = prompt_of_record(record)
    if prompt is None:
        return nfc(record.text) if isinstance(record, RatedText) else "", ""
    return nfc(prompt_text(prompt)), media_key(prompt)


def _ngrams(question: Question) -> Digests:
    text, media = question
    return salted(ngrams(text), media)


def _questions(file: str) -> Iterator[tuple[str, Question]]:
    """Position and text of each distinct prompt of a file, with the key of its media."""
    path = Path(file).expanduser()
    seen: set[Question] = set()
    for where, record in scan_records(kind_of_file(path), path):
        if not isinstance(record, DataError) and (question := _question(record)) not in seen:
            seen.add(question)
            yield where, question
