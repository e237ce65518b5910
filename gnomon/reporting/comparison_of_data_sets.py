"""The combined result of comparisons on several data sets, and its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from gnomon.core.storage.result_model import IntervalEstimate, ResultModel, Words
from gnomon.reporting.comparison_report import render_page, write_page
from gnomon.reporting.comparison_results import Comparison, highest, read_comparison, read_result_file, spread
from gnomon.reporting.run_reader import Language

SETS = "sets.json"


class DataSetList(ResultModel):
    """The finished data sets of a folder of comparisons, and the remaining ones."""

    name: Words = ""
    sets: list[Words] = Field(default_factory=list)
    waiting: list[Words] = Field(default_factory=list)


@dataclass(frozen=True)
class SetComparison:
    """Comparisons of the same algorithms on several data sets, by name."""

    name: str
    sets: dict[str, Comparison]
    waiting: list[str]

    @property
    def algorithms(self) -> list[str]:
        """The compared algorithms."""
        return list(dict.fromkeys(name for comparison in self.sets.values() for name in comparison.algorithms))

    @property
    def judges(self) -> list[str]:
        """The judges of every data set, the independent ones first."""
        some = list(self.sets.values())
        known = [{judge.name for judge in one.judges} for one in some]
        common = [judge.name for judge in some[0].judges if all(judge.name in names for names in known)]
        return sorted(common, key=lambda name: not self.independent(name))

    def independent(self, judge: str) -> bool:
        """Return whether a judge is independent on every data set."""
        return all(
            j.independent for comparison in self.sets.values() for j in comparison.judges if j.name == judge
        )

    def together(self, algorithm: str, judge: str) -> IntervalEstimate:
        """Return the unweighted mean of the data sets' win rates, with the lowest and highest of them.

        Undefined unless the algorithm has a rate on every data set; otherwise means would cover different data.
        """
        rates = [comparison.win_rate(algorithm, judge).value for comparison in self.sets.values()]
        return IntervalEstimate() if None in rates else spread(list(rates))

    def sets_led(self, algorithm: str, judge: str) -> int:
        """Return the number of data sets on which no other algorithm has a higher mean win rate."""
        count = 0
        for comparison in self.sets.values():
            own = comparison.win_rate(algorithm, judge).value
            rates = [
                r for name in comparison.algorithms if (r := comparison.win_rate(name, judge).value) is not None
            ]
            count += own is not None and own >= max(rates)
        return count

    @property
    def leaders(self) -> list[str]:
        """The algorithms with the highest mean over the data sets, by the first judge; several if they tie."""
        judge = self.judges[:1]
        return highest({name: self.together(name, judge[0]) for name in self.algorithms} if judge else {})

    @property
    def leader(self) -> str:
        """The only algorithm with the highest mean; "" if several tie or none has a mean."""
        return self.leaders[0] if len(self.leaders) == 1 else ""


def read_sets(folder: Path) -> SetComparison:
    """Read the comparisons of a folder.

    Raises:
        RunError: there are none, or they are damaged.
    """
    data_sets = read_result_file(folder / SETS, DataSetList, "a comparison on several data sets")
    comparison = {name: read_comparison(folder / name) for name in data_sets.sets}
    return SetComparison(data_sets.name, comparison, data_sets.waiting)


def write_sets(folder: Path, *, language: Language = "en") -> Path:
    """Write `compare.html` of all data sets; returns its path.

    Args:
        folder: folder of the comparisons.
        language: initial language of the page; the reader can switch to the other.
    """
    return write_page(folder, render_page("compare_sets.html.j2", language, comparison_sets=read_sets(folder)))
