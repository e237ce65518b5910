"""Published benchmarks as rows of files: how they are recognized, which answers are right, and their figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar

from gnomon.core.errors import DataError
from gnomon.core.types import Completion, Prompt
from gnomon.data.reading.conversations import completion_of, prompt_of
from gnomon.data.reading.media.columns import with_media
from gnomon.data.reading.row_fields import listed, required
from gnomon.evaluation import judgebench, rm_bench
from gnomon.evaluation.rewardbench import (
    SECTIONS,
    SUBSETS_2,
    Answers,
    best_of_answers,
    overall_2,
    section_scores,
    subset_accuracy,
    ties_score,
)

SUBSETS_1 = {subset for subsets in SECTIONS.values() for subset in subsets}
TIES = "Ties"
AnswerLists = tuple[Prompt, list[Completion], list[Completion]]  # right answers, wrong answers


@dataclass(frozen=True, slots=True)
class ScoredCase:
    """A row of a benchmark with the scores of its answers.

    Attributes:
        id: of the row.
        subset: its subset, domain or source.
        right: scores of the right answers.
        wrong: scores of the wrong answers.
    """

    id: str
    subset: str
    right: Sequence[float]
    wrong: Sequence[float]


class Benchmark(ABC):
    """A published benchmark.

    Attributes:
        name: its name.
        column: column with the subset.
        lists: whether a row has lists of right and of wrong answers; otherwise it is one pair.
    """

    name: ClassVar[str]
    column: ClassVar[str] = "subset"
    lists: ClassVar[bool] = False

    @abstractmethod
    def has(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row has the benchmark's layout and one of its subsets."""

    @abstractmethod
    def figures(self, cases: Sequence[ScoredCase]) -> dict[str, float]:
        """Compute the published figures by name; "" is that of the whole. Undefined ones are left out."""

    def category(self, row: Mapping[str, Any]) -> str:
        """Return the category of a row in tables."""
        return str(row.get(self.column))


class RewardBenchScoring(Benchmark):
    """RewardBench: a pair with one of its subsets."""

    name = "RewardBench"

    def has(self, row: Mapping[str, Any]) -> bool:
        """One of the subsets, and a pair of answers."""
        chosen = row.get("chosen")
        several = isinstance(chosen, list) and any(isinstance(one, str) for one in chosen)
        return row.get("subset") in SUBSETS_1 and chosen is not None and not several

    def figures(self, cases: Sequence[ScoredCase]) -> dict[str, float]:
        """The sections, and their mean where all are there."""
        pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for case in cases:
            pairs[case.subset].append((case.right[0], case.wrong[0]))
        right = {name: share for name, some in pairs.items() if (share := subset_accuracy(some)) is not None}
        result = {name: share for name, share in section_scores(right).items() if share is not None}
        return {**result, "": fmean(result.values())} if len(result) == len(SECTIONS) else result


class RewardBench2Scoring(Benchmark):
    """RewardBench 2: lists of right and wrong answers with one of its subsets."""

    name = "RewardBench 2"
    lists = True

    def has(self, row: Mapping[str, Any]) -> bool:
        """One of the subsets, and lists of answers."""
        return row.get("subset") in SUBSETS_2 and isinstance(row.get("rejected"), list)

    def figures(self, cases: Sequence[ScoredCase]) -> dict[str, float]:
        """The subsets, and their mean where all are there.

        Raises:
            DataError: the id of a row of Ties has another form.
        """
        answers: dict[str, list[Answers]] = defaultdict(list)
        ties: dict[str, dict[Hashable, Answers]] = {"ref": {}, "tied": {}}
        for case in cases:
            if case.subset != TIES:
                answers[case.subset].append((case.right, case.wrong))
                continue
            kind, _, number = case.id.partition(":")
            if kind not in ties or not number:
                raise DataError(f"the id '{case.id}' of a row of {TIES} is neither ref:NUMBER nor tied:NUMBER.")
            ties[kind][number] = (case.right, case.wrong)
        result = {name: share for name, some in answers.items() if (share := best_of_answers(some)) is not None}
        if (tied := ties_score(ties["ref"], ties["tied"])) is not None:
            result[TIES] = tied.score
        ordered = {name: result[name] for name in SUBSETS_2 if name in result}
        whole = overall_2(ordered)
        return ordered if whole is None else {**ordered, "": whole}


class RMBenchScoring(Benchmark):
    """RM-Bench: three right and three wrong answers in three styles."""

    name = "RM-Bench"
    column = "domain"
    lists = True

    def has(self, row: Mapping[str, Any]) -> bool:
        """One of the domains, and three answers on both sides."""
        sides = [row.get(side) for side in ("chosen", "rejected")]
        return row.get("domain") in rm_bench.DOMAINS and all(
            isinstance(side, list) and len(side) == rm_bench.STYLES for side in sides
        )

    def figures(self, cases: Sequence[ScoredCase]) -> dict[str, float]:
        """The averages of the domains; easy, normal, hard and the whole where all domains are there."""
        prompts: dict[str, list[rm_bench.StyleScores]] = defaultdict(list)
        for case in cases:
            prompts[case.subset].append((case.right, case.wrong))
        domains = {name: rm_bench.style_accuracy(prompts[name]) for name in rm_bench.DOMAINS if name in prompts}
        result: dict[str, float] = {}
        for name, one in domains.items():
            levels = {"": one.average, " easy": one.easy, " normal": one.normal, " hard": one.hard}
            result |= {f"{name}{level}": share for level, share in levels.items()}
        if (safety := rm_bench.safety(domains)) is not None:
            result["safety"] = safety.average
        if (whole := rm_bench.overall(domains)) is not None:
            result |= {"easy": whole.easy, "normal": whole.normal, "hard": whole.hard, "": whole.average}
        return result


class JudgeBenchScoring(Benchmark):
    """JudgeBench: two answers, one of which is correct."""

    name = "JudgeBench"
    column = "source"

    def has(self, row: Mapping[str, Any]) -> bool:
        """A question, two answers, a label and a source of the benchmark."""
        keys = {"question", "response_A", "response_B", "label"}
        return keys <= row.keys() and bool(judgebench.category_of(str(row.get("source"))))

    def category(self, row: Mapping[str, Any]) -> str:
        """The category of the source."""
        return judgebench.category_of(str(row.get("source")))

    def figures(self, cases: Sequence[ScoredCase]) -> dict[str, float]:
        """The categories, and all pairs together."""
        shares, whole = judgebench.accuracy_by_category([(c.subset, c.right[0], c.wrong[0]) for c in cases])
        return shares if whole is None else {**shares, "": whole}


BENCHMARKS: tuple[Benchmark, ...] = (
    RewardBenchScoring(),
    RewardBench2Scoring(),
    RMBenchScoring(),
    JudgeBenchScoring(),
)


def benchmark_of(rows: Sequence[Mapping[str, Any]]) -> Benchmark | None:
    """Return the benchmark whose layout all rows have; `None` if there is none."""
    return next((one for one in BENCHMARKS if rows and all(map(one.has, rows))), None)


def answer_lists(row: Mapping[str, Any]) -> AnswerLists:
    """Parse a row whose `chosen` and `rejected` are lists of answers.

    Raises:
        DataError: the prompt or a list is missing or damaged; the message has no position.
    """
    row = with_media(row)
    prompt = prompt_of(required(row, "prompt"))
    right, wrong = (_answers(row, key, prompt) for key in ("chosen", "rejected"))
    return prompt, right, wrong


def _answers(row: Mapping[str, Any], key: str, prompt: Prompt) -> list[Completion]:
    texts = listed(required(row, key), key)
    if not texts:
        raise DataError(f"{key} is not a list of answers")
    return [completion_of(text, prompt) for text in texts]
