"""What `compare.json` holds, read without trust, and what it says over the seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from gnomon.core.errors import RunError
from gnomon.core.run_folder import read_json
from gnomon.evaluation.report_data import Environment, Estimate, Judge, Number, Part, Points, Words, finite


def _numbers(value: object) -> dict[str, float]:
    """Of a mapping, what is a finite number."""
    rows = value.items() if isinstance(value, dict) else ()
    return {str(key): number for key, found in rows if (number := finite(found)) is not None}


Numbers = Annotated[dict[str, float], BeforeValidator(_numbers)]


class Needs(Part):
    """What an algorithm asks for."""

    algorithm: Words = ""
    consumes: Words = ""
    online: bool = False
    reward: bool = False
    reference: bool = False
    critic: bool = False
    token_reward: bool = False
    completions: Number = None


class Limit(Part):
    """What each algorithm might spend."""

    seconds: Number = None
    tokens: Number = None


class Rate(Part):
    """A win rate with its interval over prompts."""

    value: Number = None
    low: Number = None
    high: Number = None


class Figures(Part):
    """What an evaluation says of one model with one seed."""

    seed: Number = None
    scores: Numbers = Field(default_factory=dict)
    kl: Number = None
    perplexity: Number = None
    distinct_2: Number = None
    length_mean: Number = None


class SeedRun(Figures):
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


class Comparison(Part):
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
    judges: list[Judge] = Field(default_factory=list)
    needs: list[Needs] = Field(default_factory=list)
    settings: dict[str, Words] = Field(default_factory=dict)
    runs: list[SeedRun] = Field(default_factory=list)
    references: list[Figures] = Field(default_factory=list)
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

    def win_rate(self, algorithm: str, judge: str) -> Estimate:
        """The win rate over the seeds."""
        return spread([run.win_rates[judge].value for run in self.of(algorithm) if judge in run.win_rates])

    def win_rates(self, judge: str) -> list[Estimate]:
        """Of each algorithm."""
        return [self.win_rate(name, judge) for name in self.algorithms]

    def scores(self, judge: str) -> list[Estimate]:
        """Mean scores of each algorithm over the seeds."""
        return [spread([run.scores.get(judge) for run in self.of(name)]) for name in self.algorithms]

    def reference_score(self, judge: str) -> Estimate:
        """The reference's mean score over the seeds."""
        return spread([figures.scores.get(judge) for figures in self.references])

    def figure(self, algorithm: str, name: str, unit: float = 1) -> Estimate:
        """A figure of the runs, by its field's name, over the seeds, in so many of its units."""
        values = [getattr(run, name) for run in self.of(algorithm)]
        return spread([None if value is None else value / unit for value in values])

    def figures(self, name: str, unit: float = 1) -> list[Estimate]:
        """A figure of each algorithm."""
        return [self.figure(algorithm, name, unit) for algorithm in self.algorithms]

    def reference_figure(self, name: str) -> Estimate:
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
        rates = {
            (name, judges[0].name): rate
            for name in self.algorithms
            if judges and (rate := self.win_rate(name, judges[0].name)).value is not None
        }
        if not rates:
            return Leader()
        order = sorted(rates, key=lambda key: -(rates[key].value or 0.0))
        worst = _least(rates[order[0]])
        others = [_most(rates[key]) for key in order[1:]]
        several = len(self.of(order[0][0])) > 1
        ahead = all(worst > other for other in others)
        return Leader(
            algorithm=order[0][0],
            judge=judges[0].name,
            independent=judges[0].independent,
            clear=bool(others) and several and ahead,
            alone=not others,
            beats_reference=worst > 0.5,
        )


class Leader(Part):
    """Who is ahead; `clear` when its worst seed is above the best seed of every other, of two seeds at least."""

    algorithm: Words = ""
    judge: Words = ""
    independent: bool = False
    clear: bool = False
    alone: bool = False
    beats_reference: bool = False


def _least(rate: Estimate) -> float:
    """The lowest seed of a rate that is known."""
    found = rate.value if rate.low is None else rate.low
    assert found is not None
    return found


def _most(rate: Estimate) -> float:
    found = rate.value if rate.high is None else rate.high
    assert found is not None
    return found


def spread(values: list[float | None]) -> Estimate:
    """Mean and range of what is known; no range of a single value."""
    known = [value for value in values if value is not None]
    if not known:
        return Estimate()
    mean = sum(known) / len(known)
    return Estimate(mean, min(known), max(known)) if len(known) > 1 else Estimate(mean)


def read_comparison(folder: Path) -> Comparison:
    """Read `compare.json`; keys that are not known are left out."""
    path = folder / "compare.json"
    if not path.is_file():
        raise RunError(f"{folder} holds no compare.json; give the folder of a comparison.")
    try:
        return Comparison.model_validate(read_json(path))
    except ValidationError:
        raise RunError(f"{path} is damaged; run gnomon compare again to have it made anew.") from None
