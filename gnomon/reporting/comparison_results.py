"""Read `compare.json` defensively, and summarize it over the seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from gnomon.core.errors import RunError
from gnomon.core.storage.files import read_json
from gnomon.core.storage.result_model import IntervalEstimate, Number, Points, ResultModel, Words, finite
from gnomon.reporting.run_environment import Environment
from gnomon.stages.common.results import JudgeResult


def _numbers(value: object) -> dict[str, float]:
    """Return the entries of a mapping that are finite numbers."""
    rows = value.items() if isinstance(value, dict) else ()
    return {str(key): number for key, entry in rows if (number := finite(entry)) is not None}


ROUNDING = 1e-9  # tolerance for means of the same rates summed in another order
AnyResult = TypeVar("AnyResult", bound=ResultModel)
Numbers = Annotated[dict[str, float], BeforeValidator(_numbers)]


class Needs(ResultModel):
    """The models and data that an algorithm needs."""

    algorithm: Words = ""
    consumes: Words = ""
    online: bool = False
    reward: bool = False
    reference: bool = False
    critic: bool = False
    token_reward: bool = False
    completions: Number = None


class Limit(ResultModel):
    """The training budget of each algorithm."""

    seconds: Number = None
    tokens: Number = None


class Rate(ResultModel):
    """A win rate with its interval over prompts."""

    value: Number = None
    low: Number = None
    high: Number = None


class SeedFigures(ResultModel):
    """The evaluation's figures of one model with one seed."""

    seed: Number = None
    scores: Numbers = Field(default_factory=dict)
    kl: Number = None
    perplexity: Number = None
    distinct_2: Number = None
    length_mean: Number = None


class SeedRun(SeedFigures):
    """One algorithm with one seed: its costs and results, or its error."""

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
    """All data of a comparison's report."""

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
        """Return the finished runs of an algorithm, one per seed."""
        return [run for run in self.runs if run.algorithm == algorithm and not run.error]

    @property
    def failed(self) -> list[SeedRun]:
        """The failed runs."""
        return [run for run in self.runs if run.error]

    def missing(self, algorithm: str) -> int:
        """Return the number of seeds that an algorithm has not run yet."""
        return len(self.seeds) - sum(run.algorithm == algorithm for run in self.runs)

    def win_rate(self, algorithm: str, judge: str) -> IntervalEstimate:
        """Return the win rate over the seeds."""
        return spread([run.win_rates[judge].value for run in self.of(algorithm) if judge in run.win_rates])

    def win_rates(self, judge: str) -> list[IntervalEstimate]:
        """Return the win rate of each algorithm."""
        return [self.win_rate(name, judge) for name in self.algorithms]

    def scores(self, judge: str) -> list[IntervalEstimate]:
        """Return the mean scores of each algorithm over the seeds."""
        return [spread([run.scores.get(judge) for run in self.of(name)]) for name in self.algorithms]

    def reference_score(self, judge: str) -> IntervalEstimate:
        """Return the reference's mean score over the seeds."""
        return spread([figures.scores.get(judge) for figures in self.references])

    def figure(self, algorithm: str, name: str, unit: float = 1) -> IntervalEstimate:
        """Return a figure of an algorithm's runs over the seeds.

        Args:
            algorithm: algorithm of the runs.
            name: name of the figure's field.
            unit: divides the values.
        """
        values = [getattr(run, name) for run in self.of(algorithm)]
        return spread([None if value is None else value / unit for value in values])

    def figures(self, name: str, unit: float = 1) -> list[IntervalEstimate]:
        """Return a figure of each algorithm."""
        return [self.figure(algorithm, name, unit) for algorithm in self.algorithms]

    def reference_figure(self, name: str) -> IntervalEstimate:
        """Return a figure of the reference over the seeds, by field name."""
        return spread([getattr(figures, name) for figures in self.references])

    def failures(self, algorithm: str) -> int:
        """Return the number of failed runs of an algorithm."""
        return sum(run.algorithm == algorithm for run in self.failed)

    @property
    def waiting(self) -> list[str]:
        """Algorithms with seeds that have not run yet."""
        return [name for name in self.algorithms if self.missing(name)]

    @property
    def leader(self) -> Leader:
        """The algorithm with the highest win rate by the first independent judge, else by the first judge."""
        judges = sorted(self.judges, key=lambda judge: not judge.independent)
        rates = {name: self.win_rate(name, judges[0].name) for name in self.algorithms} if judges else {}
        first = highest(rates)
        if not first:
            return Leader()
        if len(first) > 1:
            return Leader(tied=first, judge=judges[0].name, independent=judges[0].independent)
        worst = _lowest(rates[first[0]])
        others = [_highest(rate) for name, rate in rates.items() if name != first[0] and rate.value is not None]
        several = len(self.of(first[0])) > 1
        above_all = all(worst > other for other in others)
        return Leader(
            algorithm=first[0],
            judge=judges[0].name,
            independent=judges[0].independent,
            clear=bool(others) and several and above_all,
            alone=not others,
            beats_reference=worst > 0.5,
        )


class Leader(ResultModel):
    """The leading algorithm; `clear` if its worst of two or more seeds is above the best seed of every other.

    Where several have the highest mean, none leads and `tied` has their names.
    """

    algorithm: Words = ""
    tied: list[Words] = Field(default_factory=list)
    judge: Words = ""
    independent: bool = False
    clear: bool = False
    alone: bool = False
    beats_reference: bool = False


def _lowest(rate: IntervalEstimate) -> float:
    """Return the lowest seed of a known rate."""
    low = rate.value if rate.low is None else rate.low
    assert low is not None
    return low


def _highest(rate: IntervalEstimate) -> float:
    """Return the highest seed of a known rate."""
    high = rate.value if rate.high is None else rate.high
    assert high is not None
    return high


def spread(values: list[float | None]) -> IntervalEstimate:
    """Return the mean and range of the known values; no range for a single value."""
    known = [value for value in values if value is not None]
    if not known:
        return IntervalEstimate()
    mean = sum(known) / len(known)
    return IntervalEstimate(mean, min(known), max(known)) if len(known) > 1 else IntervalEstimate(mean)


def highest(rates: Mapping[str, IntervalEstimate]) -> list[str]:
    """Return the names with the highest known value: several if they tie, none if no value is known."""
    known = {name: rate.value for name, rate in rates.items() if rate.value is not None}
    return [name for name, value in known.items() if value >= max(known.values()) - ROUNDING]


def read_comparison(folder: Path) -> Comparison:
    """Read `compare.json`; unknown keys are ignored."""
    return read_result_file(folder / "compare.json", Comparison, "a comparison")


def read_result_file(path: Path, kind: type[AnyResult], what: str) -> AnyResult:
    """Read a JSON file of a comparison's folder.

    Args:
        path: path of the file.
        kind: the class to read it as.
        what: description of the folder's content, for errors.

    Raises:
        RunError: the file is missing or damaged.
    """
    if not path.is_file():
        raise RunError(f"{path.parent} holds no {path.name}; give the folder of {what}.")
    try:
        return kind.model_validate(read_json(path))
    except ValidationError:
        raise RunError(f"{path} is damaged; run gnomon compare again to write it.") from None
