"""Read the cases of an examination: preferences, rankings, rated texts, and rows of published benchmarks."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Message, Preference, Prompt, Ranking, RatedText
from gnomon.data.formats.common.ballots import AnnotatedFormat, JudgedPrompt
from gnomon.data.formats.registry import OWN, RowLayout
from gnomon.data.ratings import gather_ratings
from gnomon.data.reading.readers import scan_rows
from gnomon.data.reading.row_fields import KeysRead
from gnomon.data.record_kinds import kind_of_file
from gnomon.data.records import format_of, read_records
from gnomon.data.reported_rows import report_unused
from gnomon.evaluation.benchmarks import Benchmark, answer_lists, benchmark_of
from gnomon.evaluation.examination.cases import BenchmarkCase, Cases, ListCase, PairCase
from gnomon.evaluation.examination.categories import category_column, cell
from gnomon.stats.one_person import LeftOut, from_ratings, from_votes
from gnomon.stats.win_rates import win_probabilities

MOST_PAIRS = 1000  # of the texts of one prompt, or of all texts without a prompt that many times 4
WITHOUT_PROMPT = Prompt("", (Message("user", ""),))  # before a rated text whose prompt is not known
KINDS = (Preference, Ranking, RatedText)


@dataclass(frozen=True)
class SourceFile:
    """A file of judgements.

    Attributes:
        path: of the file or folder.
        name: as the user gave it.
        layout: of its rows, where it is given.
    """

    path: Path
    name: str
    layout: RowLayout = OWN


def read_cases(files: Sequence[SourceFile], category: str = "", seed: int = 0) -> Cases:
    """Read the cases of all files.

    Args:
        files: files of preferences, rankings, ratings or rows of a benchmark.
        category: column of the categories; "" detects it. With several files and no column, the files are the
            categories.
        seed: of the pairs that are drawn where a prompt has very many texts.

    Raises:
        DataError: a file cannot be read, holds no pair, or no file has the column.
    """
    cases = Cases(files=[file.name for file in files])
    several = len(files) > 1
    columns = [_File(file, cases, category, several, seed).read() for file in files]
    if not any(pair.decided for pair in cases.pairs):
        names = ", ".join(cases.files)
        raise DataError(f"{names}: no two texts of which people prefer one; give pairs, rankings or ratings.")
    if category and not any(pair.category for pair in cases.pairs):
        raise DataError(f"no row has a value in the column '{category}'; give --category another column.")
    named = list(dict.fromkeys(filter(None, columns)))
    cases.category = named[0] if len(named) == 1 else "file" if several else ""
    return cases


class _File:
    """One file, whose cases are added to the others."""

    def __init__(self, file: SourceFile, cases: Cases, category: str, several: bool, seed: int):
        self._file, self._cases, self._seed = file, cases, seed
        rows = [(where, row) for where, row in scan_rows(file.path) if not isinstance(row, DataError)]
        self._rows: dict[str, Mapping[str, Any]] = {}
        for where, row in rows:
            self._rows.setdefault(f"{file.path}, {where}", row)
        contents = [row for _, row in rows]
        self._benchmark = benchmark_of(contents) if not file.layout.given else None
        self._column = category or (self._benchmark.column if self._benchmark else category_column(contents))
        self._otherwise = file.name if several and not self._column else ""
        self._own_column = bool(category)

    def read(self) -> str:
        """Add the file's cases; returns the column of their categories."""
        if self._benchmark is not None and self._benchmark.lists:
            self._read_lists(self._benchmark)
            return self._column
        path, layout = self._file.path, self._file.layout
        kind = kind_of_file(path, KINDS, layout)
        keys = KeysRead()
        if kind is Preference:
            self._add_preferences(read_records(Preference, path, keys, layout))
        elif kind is Ranking:
            self._add_rankings(read_records(Ranking, path, keys, layout))
        else:
            self._add_ratings(read_records(RatedText, path, keys, layout))
        report_unused(path, keys)
        return self._column

    def _category(self, where: str) -> str:
        row = self._rows.get(where)
        if row is None:
            return self._otherwise
        if self._benchmark is not None and not self._own_column:
            return self._benchmark.category(row)
        return (cell(row, self._column) if self._column else "") or self._otherwise

    def _add_preferences(self, records: Sequence[Preference]) -> None:
        persons = self._votes(records)
        for record, votes in zip(records, persons, strict=True):
            cluster = self._cases.cluster(record.prompt.context)
            pair = PairCase(
                first=self._cases.texts.add(record.prompt, record.chosen),
                second=self._cases.texts.add(record.prompt, record.rejected),
                probability=record.probability,
                decided=record.probability != 0.5,
                clusters=(cluster, cluster),
                category=self._category(record.where),
                persons=votes,
                where=record.where,
            )
            if record.probability < 0.5:
                pair = _turned(pair)
            self._cases.pairs.append(pair)
            if self._benchmark is not None:
                row = self._rows[record.where]
                self._add_benchmark(self._benchmark, row, (pair.first,), (pair.second,), record.where)

    def _votes(self, records: Sequence[Preference]) -> list[tuple[LeftOut, ...]]:
        """Return each person's vote for the chosen answer of each pair, where single votes are known."""
        path = self._file.path
        form = format_of(path, (Preference,), self._file.layout)
        if not isinstance(form, AnnotatedFormat):
            return [()] * len(records)
        votes: dict[str, list[list[float]]] = defaultdict(list)
        for where, judged in form.scan_judged(Preference, scan_rows(path)):
            if isinstance(judged, JudgedPrompt):
                votes[f"{path}, {where}"] += [_for_chosen(one) for _, _, one in judged.pair_votes()]
        counts: dict[str, int] = defaultdict(int)
        for record in records:
            counts[record.where] += 1
        used: dict[str, int] = defaultdict(int)
        result = []
        for record in records:
            of_row = votes[record.where]
            known = len(of_row) == counts[record.where]
            result.append(from_votes(of_row[used[record.where]]) if known else ())
            used[record.where] += 1
        return result

    def _add_rankings(self, records: Sequence[Ranking]) -> None:
        for record in records:
            cluster = self._cases.cluster(record.prompt.context)
            texts = [self._cases.texts.add(record.prompt, one) for one in record.completions]
            values = tuple(float(-rank) for rank in range(len(texts)))
            self._cases.lists.append(ListCase(tuple(texts), values, False, cluster))
            category = self._category(record.where)
            for a, b in self._some(list(itertools.combinations(range(len(texts)), 2)), MOST_PAIRS):
                pair = PairCase(texts[a], texts[b], 1.0, True, (cluster, cluster), category, (), record.where)
                self._cases.pairs.append(pair)

    def _add_ratings(self, records: Sequence[RatedText]) -> None:
        groups: dict[Any, list[RatedText]] = defaultdict(list)
        for item in gather_ratings(records):
            groups[item.prompt.context if item.prompt else None].append(item)
        for context, items in groups.items():
            texts = [
                self._cases.texts.add(item.prompt or WITHOUT_PROMPT, Completion(item.id, item.text))
                for item in items
            ]
            if context is None:
                clusters = [self._cases.cluster((self._file.name, item.id)) for item in items]
                self._cases.without_prompt += len(items)
            else:
                clusters = [self._cases.cluster(context)] * len(items)
            means = tuple(item.mean for item in items)
            self._cases.lists.append(ListCase(tuple(texts), means, True, clusters[0]))
            most = MOST_PAIRS if context is not None else 4 * MOST_PAIRS
            for a, b in self._some_pairs(len(items), most):
                self._add_rated_pair((items[a], items[b]), (texts[a], texts[b]), (clusters[a], clusters[b]))

    def _add_rated_pair(
        self, items: tuple[RatedText, RatedText], texts: tuple[int, int], clusters: tuple[int, int]
    ) -> None:
        one, other = items
        pair = PairCase(
            first=texts[0],
            second=texts[1],
            probability=float(win_probabilities([one.ratings, other.ratings])[0, 1]),
            decided=one.mean != other.mean,
            clusters=clusters,
            category=self._category(one.where),
            persons=from_ratings(one.ratings, other.ratings, (one.raters, other.raters)),
            where=one.where,
        )
        self._cases.pairs.append(_turned(pair) if one.mean < other.mean else pair)

    def _some_pairs(self, count: int, most: int) -> list[tuple[int, int]]:
        """Return all pairs of indices below `count`, or that many drawn ones."""
        if count * (count - 1) // 2 <= most:
            return list(itertools.combinations(range(count), 2))
        rng = np.random.default_rng(self._seed)
        drawn: dict[tuple[int, int], None] = {}
        while len(drawn) < most:
            a, b = sorted(rng.integers(count, size=2).tolist())
            if a != b:
                drawn[a, b] = None
        return list(drawn)

    def _some(self, pairs: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
        if len(pairs) <= most:
            return pairs
        rng = np.random.default_rng(self._seed)
        return [pairs[index] for index in sorted(rng.choice(len(pairs), most, replace=False).tolist())]

    def _read_lists(self, benchmark: Benchmark) -> None:
        for where, row in self._rows.items():
            try:
                prompt, right, wrong = answer_lists(row)
            except DataError as error:
                reason = str(error).rstrip(".")
                raise DataError(f"{where}: {reason}; as a row of {benchmark.name}.") from None
            cluster = self._cases.cluster(prompt.context)
            sides = [tuple(self._cases.texts.add(prompt, one) for one in side) for side in (right, wrong)]
            category = self._category(where)
            for a, b in itertools.product(*sides):
                if a != b:
                    self._cases.pairs.append(PairCase(a, b, 1.0, True, (cluster, cluster), category, (), where))
            self._add_benchmark(benchmark, row, sides[0], sides[1], where)

    def _add_benchmark(
        self,
        benchmark: Benchmark,
        row: Mapping[str, Any],
        right: tuple[int, ...],
        wrong: tuple[int, ...],
        where: str,
    ) -> None:
        subset = str(row.get(benchmark.column))
        case = BenchmarkCase(str(row.get("id")), subset, right, wrong, where)
        self._cases.benchmarks.setdefault(benchmark.name, []).append(case)


def _for_chosen(votes: Sequence[float]) -> list[float]:
    """Turn votes for an answer to votes for the one that most prefer."""
    return [1 - vote for vote in votes] if sum(votes) / len(votes) < 0.5 else list(votes)


def _turned(pair: PairCase) -> PairCase:
    """Return the pair with its texts exchanged."""
    persons = tuple(LeftOut(1 - one.vote, -one.others) for one in pair.persons)
    return PairCase(
        pair.second,
        pair.first,
        1 - pair.probability,
        pair.decided,
        (pair.clusters[1], pair.clusters[0]),
        pair.category,
        persons,
        pair.where,
    )
