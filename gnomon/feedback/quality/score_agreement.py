"""Agreement of rankings and scores beyond labels: rank correlation and intraclass correlations."""

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
    """Intraclass correlations of one criterion's scores; `None` where fewer than two completions qualify.

    Attributes:
        any_raters: of the completions with the most frequent number of scores, by any annotators; only its
            one-way forms are valid.
        same_raters: of completions that the same annotators all scored; all its forms are valid.
    """

    any_raters: IntraclassCorrelations | None
    same_raters: IntraclassCorrelations | None


def ranking_agreement(loaded: ProjectVotes) -> Estimate:
    """Compute the mean Kendall's τ-b of two annotators on one item; undefined without rankings or scores."""
    units: dict[Hashable, list[list[float]]] = defaultdict(list)
    for vote, answer, shown in non_gold_votes(loaded):
        ids = loaded.completion_ids[vote.item]  # type: ignore[index]  # an item's key
        if "choice" not in answer and len(ids) > 1:
            value = worth(answer, shown)
            units[vote.item].append([value[name] for name in ids])
    return rank_agreement([units[item] for item in sorted_distinct(units)])


def intraclass(votes: Iterable[Vote]) -> Intraclass:
    """Compute the correlations of scores: `Vote.label` is a score, `Vote.item` the scored completion."""
    table: dict[Hashable, dict[str, float]] = defaultdict(dict)
    for vote in votes:
        table[vote.item][vote.annotator] = float(vote.label)  # type: ignore[arg-type]  # a score
    ordered = {item: table[item] for item in sorted_distinct(table)}
    return Intraclass(_any_raters(ordered), _same_raters(ordered))


def _any_raters(table: Mapping[Hashable, Mapping[str, float]]) -> IntraclassCorrelations | None:
    sizes = Counter(len(scores) for scores in table.values() if len(scores) > 1)
    if not sizes or max(sizes.values()) < 2:
        return None
    size = max(sizes, key=lambda count: (sizes[count], count))
    return intraclass_correlations([[*scores.values()] for scores in table.values() if len(scores) == size])


def _same_raters(table: Mapping[Hashable, Mapping[str, float]]) -> IntraclassCorrelations | None:
    """Use the annotators with most scores, as many as give the largest complete table."""
    counts = Counter(name for scores in table.values() for name in scores)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    best: list[list[float]] = []
    rows = list(table.values())
    for count in range(2, len(order) + 1):
        rows = [scores for scores in rows if all(name in scores for name in order[:count])]
        if len(rows) < 2:
            break
        if len(rows) * count > len(best) * len(best[0] if best else ()):
            best = [[scores[name] for name in order[:count]] for scores in rows]
    return intraclass_correlations(best) if best else None
