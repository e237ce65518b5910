"""Agreement of rankings and scores beside verdicts: whether annotators give one order, and one score."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from gnomon.feedback.quality.monitor import ProjectVotes, non_gold_votes
from gnomon.feedback.task_types import worth
from gnomon.stats.intervals import Estimate
from gnomon.stats.intraclass import IntraclassCorrelations, intraclass_correlations
from gnomon.stats.rank_agreement import rank_agreement
from gnomon.stats.votes import Vote, sorted_distinct


@dataclass(frozen=True, slots=True)
class Intraclass:
    """Intraclass correlations of one criterion's scores; `None` where fewer than two texts have what it takes.

    Attributes:
        any_raters: of the texts with the commonest number of scores, whoever gave them: its one-way forms hold.
        same_raters: of texts that the same annotators all scored; its other forms hold.
    """

    any_raters: IntraclassCorrelations | None
    same_raters: IntraclassCorrelations | None


def order_agreement(heard: ProjectVotes) -> Estimate:
    """Mean Kendall's τ-b of two annotators on one item; undefined where nobody ranks."""
    units: dict[Hashable, list[list[float]]] = defaultdict(list)
    for vote, answer, shown in non_gold_votes(heard):
        names = heard.names[vote.item]  # type: ignore[index]  # an item's number
        if "choice" not in answer and len(names) > 1:
            value = worth(answer, shown)
            units[vote.item].append([value[name] for name in names])
    return rank_agreement([units[item] for item in sorted_distinct(units)])


def intraclass(votes: Iterable[Vote]) -> Intraclass:
    """The correlations of scores: `label` is a number, `item` the text that was scored."""
    table: dict[Hashable, dict[str, float]] = defaultdict(dict)
    for vote in votes:
        table[vote.item][vote.annotator] = float(vote.label)  # type: ignore[arg-type]  # a score
    ordered = {item: table[item] for item in sorted_distinct(table)}
    return Intraclass(_of_any(ordered), _of_same(ordered))


def _of_any(table: Mapping[Hashable, Mapping[str, float]]) -> IntraclassCorrelations | None:
    sizes = Counter(len(scores) for scores in table.values() if len(scores) > 1)
    if not sizes or max(sizes.values()) < 2:
        return None
    size = max(sizes, key=lambda count: (sizes[count], count))
    return intraclass_correlations([[*scores.values()] for scores in table.values() if len(scores) == size])


def _of_same(table: Mapping[Hashable, Mapping[str, float]]) -> IntraclassCorrelations | None:
    """Of the annotators who scored most, as many as leave the largest complete table."""
    done = Counter(name for scores in table.values() for name in scores)
    order = sorted(done, key=lambda name: (-done[name], name))
    best: list[list[float]] = []
    rows = list(table.values())
    for count in range(2, len(order) + 1):
        rows = [scores for scores in rows if all(name in scores for name in order[:count])]
        if len(rows) < 2:
            break
        if len(rows) * count > len(best) * len(best[0] if best else ()):
            best = [[scores[name] for name in order[:count]] for scores in rows]
    return intraclass_correlations(best) if best else None
