"""What `compare.json` holds, read without trust, and what it says over the seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from gnomon.core.errors import RunError
from gnomon.core.storage.files import read_json
from gnomon.reporting.results import (
    Environment,
    IntervalEstimate,
    JudgeResult,
    Number,
    Points,
    ResultModel,
    Words,
    finite,
)


def _numbers(value: object) -> dict[str, float]:
    """Of a mapping, what is a finite number."""
    rows = value.items() if isinstance(value, dict) else ()
    return {str(key): number for key, found in rows if (number := finite(found)) is not None}


ROUNDING = 1e-9  # means of the same rates that were added in another order are equal
AnyResult = TypeVar("AnyResult", bound=ResultModel)
Numbers = Annotated[dict[str, float], BeforeValidator(_numbers)]


class Needs(ResultModel):
    """What an algorithm asks for."""

    algorithm: Words = ""
    consumes: Words = ""
    online: bool = False
    reward: bool = False
    reference: bool = False
    critic: bool = False
    token_reward: bool = False
    completions: Number = None


class Limit(ResultModel):
    """What each algorithm might spend."""

    seconds: Number = None
    tokens: Number = None


class Rate(ResultModel):
    """A win rate with its interval over prompts."""

    value: Number = None
    low: Number = None
    high: Number = None


class SeedFigures(ResultModel):
    """What an evaluation says of one model with one seed."""

    seed: Number = None
    scores: Numbers = Field(default_factory=dict)
    kl: Number = None
    perplexity: Number = None
    distinct_2: Number = None
    length_mean: Number = None


class SeedRun(SeedFigures):
    """One algorithm with one seed: what it took and what came of it, or why it failed."""

    algorithm: Words = ""
    folder: Words = ""
    error: Words = ""
    seconds: Number = None
    steps: Number = None
    tokens: Number = None
    memory: Number = None
    device_memory: Number = None
    grad_norm: Number = None
    win_rates: dict[str, Rate] = Field(default_factory=dict)
    course: Points = Field(default_factory=list)


class Comparison(ResultModel):
    """Everything that the report of a comparison says."""

    recipe: Words = ""
    name: Words = ""
    model: Words = ""
    stage: Words = ""
    reference: Words = ""
    shared: list[Words] = Field(default_factory=list)
    algorithms: list[Words] = Field(default_factory=list)
    seeds: list[int] = Field(default_factory=list)
    budget: Limit = Limit()
    judges: list[JudgeResult] = Field(default_factory=list)
    needs: list[Needs] = Field(default_factory=list)
    settings: dict[str, Words] = Field(default_factory=dict)
    runs: list[SeedRun] = Field(default_factory=list)
    references: list[SeedFigures] = Field(default_factory=list)
    environment: Environment = Environment()

    def of(self, algorithm: str) -> list[SeedRun]:
        """The runs of an algorithm that were finished, a seed each."""
        return [run for run in self.runs if run.algorithm == algorithm and not run.error]

    @property
    def failed(self) -> list[SeedRun]:
        """The runs that ended with an error."""
        return [run for run in self.runs if run.error]

    def missing(self, algorithm: str) -> int:
        """Seeds that an algorithm has neither finished nor failed."""
        return len(self.seeds) - sum(run.algorithm == algorithm for run in self.runs)

    def win_rate(self, algorithm: str, judge: str) -> IntervalEstimate:
        """The win rate over the seeds."""
        return spread([run.win_rates[judge].value for run in self.of(algorithm) if judge in run.win_rates])

    def win_rates(self, judge: str) -> list[IntervalEstimate]:
        """Of each algorithm."""
        return [self.win_rate(name, judge) for name in self.algorithms]

    def scores(self, judge: str) -> list[IntervalEstimate]:
        """Mean scores of each algorithm over the seeds."""
        return [spread([run.scores.get(judge) for run in self.of(name)]) for name in self.algorithms]

    def reference_score(self, judge: str) -> IntervalEstimate:
        """The reference's mean score over the seeds."""
        return spread([figures.scores.get(judge) for figures in self.references])

    def figure(self, algorithm: str, name: str, unit: float = 1) -> IntervalEstimate:
        """A figure of the runs, by its field's name, over the seeds, in so many of its units."""
        values = [getattr(run, name) for run in self.of(algorithm)]
        return spread([None if value is None else value / unit for value in values])

    def figures(self, name: str, unit: float = 1) -> list[IntervalEstimate]:
        """A figure of each algorithm."""
        return [self.figure(algorithm, name, unit) for algorithm in self.algorithms]

    def reference_figure(self, name: str) -> IntervalEstimate:
        """A figure of the reference, by its field's name, over the seeds."""
        return spread([getattr(figures, name) for figures in self.references])

    def failures(self, algorithm: str) -> int:
        """Runs of an algorithm that ended with an error."""
        return sum(run.algorithm == algorithm for run in self.failed)

    @property
    def waiting(self) -> list[str]:
        """Algorithms with seeds that have neither finished nor failed."""
        return [name for name in self.algorithms if self.missing(name)]

    @property
    def leader(self) -> Leader:
        """Who is ahead in win rate, in the eyes of the first independent judge, or of the first where none is."""
        judges = sorted(self.judges, key=lambda judge: not judge.independent)
        rates = {name: self.win_rate(name, judges[0].name) for name in self.algorithms} if judges else {}
        first = highest(rates)
        if not first:
            return Leader()
        if len(first) > 1:
            return Leader(tied=first, judge=judges[0].name, independent=judges[0].independent)
        worst = _least(rates[first[0]])
        others = [_most(rate) for name, rate in rates.items() if name != first[0] and rate.value is not None]
        several = len(self.of(first[0])) > 1
        ahead = all(worst > other for other in others)
        return Leader(
            algorithm=first[0],
            judge=judges[0].name,
            independent=judges[0].independent,
            clear=bool(others) and several and ahead,
            alone=not others,
            beats_reference=worst > 0.5,
        )


class Leader(ResultModel):
    """Who is ahead; `clear` when its worst seed is above the best seed of every other, of two seeds at least.

    Where several have the highest mean, nobody leads and `tied` has their names.
    """

    algorithm: Words = ""
    tied: list[Words] = Field(default_factory=list)
    judge: Words = ""
    independent: bool = False
    clear: bool = False
    alone: bool = False
    beats_reference: bool = False


def _least(rate: IntervalEstimate) -> float:
    """The lowest seed of a rate that is known."""
    found = rate.value if rate.low is None else rate.low
    assert found is not None
    return found


def _most(rate: IntervalEstimate) -> float:
    found = rate.value if rate.high is None else rate.high
    assert found is not None
    return found


def spread(values: list[float | None]) -> IntervalEstimate:
    """Mean and range of what is known; no range of a single value."""
    known = [value for value in values if value is not None]
    if not known:
        return IntervalEstimate()
    mean = sum(known) / len(known)
    return IntervalEstimate(mean, min(known), max(known)) if len(known) > 1 else IntervalEstimate(mean)


def highest(rates: Mapping[str, IntervalEstimate]) -> list[str]:
    """Names with the highest known value, several where they are equal; none where no value is known."""
    known = {name: rate.value for name, rate in rates.items() if rate.value is not None}
    return [name for name, value in known.items() if value >= max(known.values()) - ROUNDING]


def read_comparison(folder: Path) -> Comparison:
    """Read `compare.json`; keys that are not known are left out."""
    return read_result_file(folder / "compare.json", Comparison, "a comparison")


def read_result_file(path: Path, kind: type[AnyResult], what: str) -> AnyResult:
    """Read a JSON file of a comparison's folder.

    Args:
        path: of the file.
        kind: the class that it holds.
        what: the folder's content, for an error's sentence.

    Raises:
        RunError: it is not there, or damaged.
    """
    if not path.is_file():
        raise RunError(f"{path.parent} holds no {path.name}; give the folder of {what}.")
    try:
        return kind.model_validate(read_json(path))
    except ValidationError:
        raise RunError(f"{path} is damaged; run gnomon compare again, which writes it.") from None
