"""Aggregation of several annotators' labels of an item: by majority, by weighted majority, by Dawid and Skene.

A majority counts votes. Dawid and Skene also estimate each annotator's errors: annotator k gives label l to an
item that is truly j with a probability pi_k[j, l], and an item is truly j with a probability p_j. This needs
annotators who labeled several items each, and is the wrong choice where most labeled one: their own matrix then
explains any label.

A.P. Dawid and A.M. Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm",
Applied Statistics 28 (1979).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.lazy import sparse, special
from gnomon.stats.votes import Vote, in_order

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

UNSEEN = 1e-9  # expected votes below which an annotator's row of a class has no data


@dataclass(frozen=True, slots=True)
class Consensus:
    """Maximum of the likelihood that EM reached.

    Attributes:
        labels: [L], in the order of the arrays.
        annotators: [A].
        items: [N].
        priors: [L]; p_j, the share of items that are truly j.
        confusion: [A, L, L]; an annotator's probability of giving the last label where the truth is the middle
            one; nan in rows without `expected_votes`.
        expected_votes: [A, L]; expected number of an annotator's votes on items of each true label: how many
            votes a row of `confusion` rests on.
        posterior: [N, L]; P(an item is truly j | all votes).
        log_likelihood: of all votes, in nats.
        steps: of EM.
        converged: whether the log-likelihood stopped growing before `most_steps`.
    """

    labels: tuple[Hashable, ...]
    annotators: tuple[str, ...]
    items: tuple[Hashable, ...]
    priors: FloatArray
    confusion: FloatArray
    expected_votes: FloatArray
    posterior: FloatArray
    log_likelihood: float
    steps: int
    converged: bool

    def truth(self) -> dict[Hashable, Hashable | None]:
        """Each item's most probable label; None where two are equally probable."""
        return {
            item: _only_best(dict(zip(self.labels, row.tolist(), strict=True)))
            for item, row in zip(self.items, self.posterior, strict=True)
        }


def vote_shares(
    votes: Iterable[Vote], weights: Mapping[str, float] | None = None
) -> dict[Hashable, dict[Hashable, float]]:
    """Each item's share of votes for each label that it was given.

    Each vote counts, also several of one annotator on one item; pass `latest(votes)` for one vote per annotator.

    Args:
        votes: in any order.
        weights: how much an annotator's vote counts, as their reliability; all the same without them. An item
            on which all votes weigh 0 has no shares.

    Raises:
        DataError: an annotator has no weight, or one that is not a number from 0.
    """
    weights_of: dict[Hashable, dict[Hashable, list[float]]] = defaultdict(lambda: defaultdict(list))
    for vote in votes:
        weight = 1.0 if weights is None else weights.get(vote.annotator, math.nan)
        if not (math.isfinite(weight) and weight >= 0):
            raise DataError(
                f"annotator {vote.annotator!r} has no weight from 0 upward; give one or drop the votes."
            )
        weights_of[vote.item][vote.label].append(weight)
    shares: dict[Hashable, dict[Hashable, float]] = {}
    for item, labels in weights_of.items():
        # fsum rounds once: the order of the votes changes nothing, and an even split stays even.
        sums = {label: math.fsum(values) for label, values in labels.items()}
        total = math.fsum(sums.values())
        shares[item] = {label: value / total for label, value in sums.items()} if total else {}
    return shares


def majority(
    votes: Iterable[Vote], weights: Mapping[str, float] | None = None
) -> dict[Hashable, Hashable | None]:
    """Each item's most frequent label by `vote_shares`; None for a tie, or where all weights are 0."""
    return {item: _only_best(shares) for item, shares in vote_shares(votes, weights).items()}


def dawid_skene(votes: Sequence[Vote], *, tolerance: float = 1e-11, most_steps: int = 20_000) -> Consensus:
    """Estimate true labels and annotators' confusion matrices together, by EM.

    EM starts from each item's share of votes for each label, so that labels keep their meaning, and ends in the
    nearest maximum. An annotator may give an item no label, or several; repeated votes count as independent,
    which they are only if the annotator did not remember the first.

    Args:
        votes: in any order.
        tolerance: EM ends when the relative growth of the log-likelihood is below this. EM is slow near the end,
            so this is far below the precision of the figures.
        most_steps: largest number of steps; `converged` is then false.

    Raises:
        DataError: there are no votes.
    """
    if not votes:
        raise DataError("there are no votes to learn from; collect some first.")
    labels = in_order(vote.label for vote in votes)
    annotators = in_order(vote.annotator for vote in votes)
    items = in_order(vote.item for vote in votes)
    item, annotator, label = _vote_indices(votes, items, annotators, labels)
    shape = (len(annotators), len(labels), len(labels))
    # How often each annotator gave each label to each item, sparse, and its transpose.
    by_annotator = sparse.csr_array(
        (np.ones(len(votes)), (annotator * len(labels) + label, item)), (shape[0] * shape[1], len(items))
    )  # [A·L, N]
    by_item = by_annotator.T.tocsr()  # [N, A·L]
    expected = by_item @ np.tile(np.eye(len(labels)), (len(annotators), 1))  # [N, L]
    posterior = expected / expected.sum(axis=1, keepdims=True)
    last, step, converged = -math.inf, 0, False
    while not converged and step < most_steps:
        step += 1
        # M (equations 2.3 and 2.4): parameters as if the posterior were the truth.
        priors = posterior.mean(axis=0)  # [L]
        counts = (by_annotator @ posterior).reshape(shape).swapaxes(1, 2)  # [A, true, given]
        seen = counts.sum(axis=2, keepdims=True)
        # Any row of a class that an annotator never saw is a maximum; a uniform one excludes nothing.
        confusion = np.divide(counts, seen, out=np.full_like(counts, 1 / len(labels)), where=seen > 0)
        # E (equation 2.5), in logarithms: products of many votes leave the range of floats.
        with np.errstate(divide="ignore"):
            given = np.log(confusion).swapaxes(1, 2).reshape(-1, len(labels))  # [A·L, true]
            log_joint = np.log(priors) + by_item @ given  # [N, L]
        evidence = special.logsumexp(log_joint, axis=1)  # [N]
        posterior = np.exp(log_joint - evidence[:, None])
        log_likelihood = float(evidence.sum())
        converged = abs(log_likelihood - last) <= tolerance * max(1.0, abs(log_likelihood))
        last = log_likelihood
    return Consensus(
        labels=tuple(labels),
        annotators=tuple(annotators),
        items=tuple(items),
        priors=priors,
        confusion=np.where(seen > UNSEEN, confusion, np.nan),
        expected_votes=seen[:, :, 0],
        posterior=posterior,
        log_likelihood=log_likelihood,
        steps=step,
        converged=converged,
    )


def _vote_indices(
    votes: Sequence[Vote], items: Sequence[Hashable], annotators: Sequence[str], labels: Sequence[Hashable]
) -> tuple[IntArray, IntArray, IntArray]:
    """Indices of every vote's item, annotator and label, sorted, so that the order of votes changes no sum."""
    item_at = {item: index for index, item in enumerate(items)}
    annotator_at = {annotator: index for index, annotator in enumerate(annotators)}
    label_at = {label: index for index, label in enumerate(labels)}
    rows = sorted((item_at[v.item], annotator_at[v.annotator], label_at[v.label]) for v in votes)
    table = np.array(rows, dtype=np.int64)  # [votes, 3]
    return table[:, 0], table[:, 1], table[:, 2]


def _only_best(values: Mapping[Hashable, float]) -> Hashable | None:
    """The label of the largest value; None where another equals it up to rounding, or there is none."""
    best = max(values.values(), default=0.0)
    leaders = [label for label, value in values.items() if math.isclose(value, best, rel_tol=1e-9)]
    return leaders[0] if len(leaders) == 1 else None
