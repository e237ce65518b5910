"""Split records by prompt: no prompt, and no near-duplicate of one, is in two parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import ConfigError, DataError
from gnomon.data.quality.minhash import band_count, bands, earlier_rows
from gnomon.data.quality.texts import jaccard, media_key, nfc, ngrams, prompt_text, salted
from gnomon.data.reading.counting import counted, verb
from gnomon.data.reading.readers import scan_rows
from gnomon.data.reading.row_fields import filled
from gnomon.data.records import prompt_of_record

SIMILARITY = 0.8
COMPARED = 50  # earlier prompts of a band that a prompt is compared with


@dataclass(frozen=True)
class Split:
    """Records in parts.

    Attributes:
        parts: the records of each part, in the order of the file.
        prompts: number of different prompts.
        joined: number of prompts that are near-duplicates of an earlier one and share its part.
        strata: for each value of the column, the number of records of each part; empty without a column.
    """

    parts: dict[str, list[Any]]
    prompts: int
    joined: int
    strata: dict[str, dict[str, int]]

    def counts(self) -> dict[str, Any]:
        """The counts as a JSON object."""
        sizes = {name: len(records) for name, records in self.parts.items()}
        return {"parts": sizes, "prompts": self.prompts, "joined": self.joined, "strata": self.strata}

    def sentence(self) -> str:
        """The counts in words."""
        sizes = ", ".join(f"{name} {len(records):,}" for name, records in self.parts.items())
        near = f"{counted(self.joined, 'near-duplicates')} {verb(self.joined, 'share')}"
        joined = f"; {near} the part of an earlier prompt" if self.joined else ""
        return f"{sizes}; {counted(self.prompts, 'prompts')}{joined}"


def parse_shares(text: str) -> dict[str, float]:
    """Parse `train=0.9,test=0.1` into shares that add up to 1; of one part the share may be missing: the rest.

    Raises:
        ConfigError: a share is no number above 0, a name occurs twice or is no file name, or the sum is not 1.
    """
    shares: dict[str, float | None] = {}
    for one in text.replace("，", ",").split(","):
        name, mark, share = (part.strip() for part in one.partition("="))
        if not name.replace("-", "").replace("_", "").isalnum() or name in shares:
            raise ConfigError(
                f"--parts: '{name}' is no name of a part, or occurs twice; write train=0.9,test=0.1."
            )
        try:
            shares[name] = float(share) if mark else None
        except ValueError:
            raise ConfigError(f"--parts: '{share}' is no share; write train=0.9,test=0.1.") from None
    missing = [name for name, share in shares.items() if share is None]
    known = sum(share for share in shares.values() if share is not None)
    if len(missing) > 1 or len(shares) < 2:
        raise ConfigError("--parts needs two or more parts, all but one with a share: train=0.9,test=0.1.")
    whole = {name: 1 - known if share is None else share for name, share in shares.items()}
    if not all(0 < share < 1 for share in whole.values()) or abs(sum(whole.values()) - 1) > 1e-6:
        raise ConfigError(f"--parts: the shares add up to {known:g}; they lie between 0 and 1 and add up to 1.")
    return whole


def split_by_prompt(
    records: Sequence[Any],
    shares: Mapping[str, float],
    *,
    seed: int = 0,
    values: Sequence[str] | None = None,
    similarity: float = SIMILARITY,
) -> Split:
    """Split records so that all records of a prompt and of its near-duplicates are in one part.

    The parts have the wanted shares of the records as nearly as whole prompts allow, also of the records of each
    of `values`. The outcome depends on the records and the seed.

    Args:
        records: of one kind, each with a prompt or a text.
        shares: of the parts, which add up to 1.
        seed: of the order in which prompts are assigned.
        values: for each record the value by which the split is stratified.
        similarity: Jaccard index of character 5-grams from which on two prompts are near-duplicates; 1 joins only
            equal ones.

    Raises:
        DataError: there are fewer different prompts than parts.
    """
    texts = [_text(record) for record in records]
    index = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    group_of = near_duplicate_groups([text for text, _ in index], similarity, [media for _, media in index])
    groups: dict[int, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        groups[group_of[index[text]]].append(row)
    if len(groups) < len(shares):
        prompts = counted(len(groups), "different prompts")
        raise DataError(f"{prompts} {verb(len(groups), 'are')} too few for {len(shares)} parts.")
    strata_of = [""] * len(records) if values is None else values
    part_of = _assign(groups, strata_of, shares, seed)
    parts: dict[str, list[Any]] = {name: [] for name in shares}
    strata: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(shares, 0))
    for row, record in enumerate(records):
        part = part_of[group_of[index[texts[row]]]]
        parts[part].append(record)
        strata[strata_of[row]][part] += 1
    named = {} if values is None else dict(sorted(strata.items()))
    return Split(parts, len(index), len(index) - len(groups), named)


def column_values(path: Path, column: str, positions: Sequence[str]) -> list[str]:
    """Return the value of a column for each of some records of a file; "" where it is empty.

    Args:
        path: of the file.
        column: name of the column.
        positions: `where` of the records.

    Raises:
        DataError: no row has the column.
    """
    values = {
        f"{path}, {where}": str(row[column])
        for where, row in scan_rows(path)
        if not isinstance(row, DataError) and filled(row.get(column))
    }
    if not values:
        raise DataError(f"{path}: no row has the column '{column}'; name one of its columns.")
    return [values.get(position, "") for position in positions]


def near_duplicate_groups(texts: Sequence[str], similarity: float, media: Sequence[str] = ()) -> list[int]:
    """Return for each text the index of the first text that it is joined with by near-duplicates.

    Args:
        texts: different texts.
        similarity: Jaccard index of character n-grams, from which on two texts are near-duplicates.
        media: keys of the texts' media, which near-duplicates have in common; none if they have none.
    """
    parent = list(range(len(texts)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    if similarity < 1:
        grams = lru_cache(maxsize=10_000)(
            lambda index: salted(ngrams(texts[index]), media[index] if media else "")
        )
        table = np.array([bands(grams(n), similarity) for n in range(len(texts))], np.uint64)
        table = table.reshape(len(texts), band_count(similarity))
        for row, others in earlier_rows(table, np.ones(len(texts), bool), COMPARED):
            for other in others:
                if root(other) != root(row) and jaccard(grams(row), grams(other)) >= similarity:
                    first, second = sorted((root(row), root(other)))
                    parent[second] = first
    return [root(index) for index in range(len(texts))]


def _assign(
    groups: Mapping[int, Sequence[int]], values: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[int, str]:
    """Assign each group to the part that lacks most records of the group's value, then most of all records."""
    sizes: dict[str, int] = defaultdict(int)
    for value in values:
        sizes[value] += 1
    lacking = {value: {name: share * size for name, share in shares.items()} for value, size in sizes.items()}
    in_all = {name: share * len(values) for name, share in shares.items()}
    order = np.random.default_rng(seed).permutation(len(groups))
    shuffled = [list(groups)[index] for index in order]
    shuffled.sort(key=lambda group: -len(groups[group]))  # large groups first, while every part has room
    part_of = {}
    empty = list(shares)
    for position, group in enumerate(shuffled):
        value = values[groups[group][0]]
        candidates = empty if len(shuffled) - position <= len(empty) else list(shares)
        part = max(candidates, key=lambda name: (lacking[value][name], in_all[name]))
        part_of[group] = part
        empty = [name for name in empty if name != part]
        for row in groups[group]:
            lacking[values[row]][part] -= 1
            in_all[part] -= 1
    return part_of


def _text(record: Any) -> tuple[str, str]:
    """Return the text of a record's prompt, and the key of its media."""
    prompt = prompt_of_record(record)
    return (nfc(record.text), "") if prompt is None else (nfc(prompt_text(prompt)), media_key(prompt))


def shared_prompts(parts: Iterable[Sequence[Any]]) -> int:
    """Count the prompts that are in two or more of some sets of records."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for part in parts:
        for text in {_text(record) for record in part}:
            counts[text] += 1
    return sum(count > 1 for count in counts.values())
