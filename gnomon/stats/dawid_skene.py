"""Aggregate several annotators' labels of each item by majority, weighted majority or the Dawid–Skene model.

A majority counts votes. The Dawid–Skene model also estimates each annotator's errors: annotator k gives label l
to an item whose true label is j with the probability pi_k[j, l], and the true label is j with the probability
p_j. This needs annotators who labeled several items each. It is the wrong choice where most annotators labeled a
single item: the matrix of such an annotator fits any true label equally well.

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
from gnomon.stats.votes import Vote, sorted_distinct

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MIN_EXPECTED_VOTES = 1e-9  # with fewer on a true label, that row of an annotator's matrix has no data


@dataclass(frozen=True, slots=True)
class DawidSkeneEstimate:
    """True labels and annotators' errors at the stationary point of the likelihood that EM reached.

    Attributes:
        labels: [L], in the order of the arrays.
        annotators: [A].
        items: [N].
        priors: [L]; p_j, the share of items with the true label j.
        confusion: [A, true L, given L]; probability that an annotator gives a label to an item with a true label;
            nan in rows without `expected_votes`.
        expected_votes: [A, true L]; expected number of an annotator's votes on items of each true label, from
            which a row of `confusion` is estimated.
        posterior: [N, L]; P(true label of an item | all votes).
        log_likelihood: log-likelihood of all votes, in nats.
        steps: number of EM steps.
        converged: whether the log-likelihood stopped growing before `max_steps`.
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


def vote_shares(
    votes: Iterable[Vote], weights: Mapping[str, float] | None = None
) -> dict[Hashable, dict[Hashable, float]]:
    """Compute the share of an item's votes for each of its labels.

    Repeated votes of one annotator on one item all count; pass `latest(votes)` for one vote per annotator.

    Args:
        votes: all votes, in any order.
        weights: weight of each annotator's votes, by name, such as their reliability; by default all are equal.
            An item on which all votes weigh 0 has no shares.

    Raises:
        DataError: an annotator has no weight, or one that is not a finite number ≥ 0.
    """
    weights_of: dict[Hashable, dict[Hashable, list[float]]] = defaultdict(lambda: defaultdict(list))
    for vote in votes:
        weight = 1.0 if weights is None else weights.get(vote.annotator, math.nan)
        if not (math.isfinite(weight) and weight >= 0):
            raise DataError(
                f"annotator {vote.annotator!r} has no weight of at least 0; pass one, or drop their votes."
            )
        weights_of[vote.item][vote.label].append(weight)
    shares: dict[Hashable, dict[Hashable, float]] = {}
    for item, labels in weights_of.items():
        # fsum rounds once, so the sum does not depend on the order of the votes, and an even split stays even.
        sums = {label: math.fsum(values) for label, values in labels.items()}
        total = math.fsum(sums.values())
        shares[item] = {label: value / total for label, value in sums.items()} if total else {}
    return shares


def majority(
    votes: Iterable[Vote], weights: Mapping[str, float] | None = None
) -> dict[Hashable, Hashable | None]:
    """Return each item's most frequent label by `vote_shares`; None for a tie, or where all weights are 0."""
    return {item: _only_best(shares) for item, shares in vote_shares(votes, weights).items()}


def dawid_skene(
    votes: Sequence[Vote], *, tolerance: float = 1e-11, max_steps: int = 20_000
) -> DawidSkeneEstimate:
    """Estimate true labels and annotators' confusion matrices together, by EM.

    EM starts from each item's vote shares, so that labels keep their meaning, and converges to a stationary point
    of the likelihood, usually a local maximum. An annotator may give an item no label, or several. Repeated votes
    count as independent, which they are only if the annotator does not remember the earlier ones.

    Args:
        votes: all votes, in any order.
        tolerance: EM stops when the relative growth of the log-likelihood is below this. EM converges slowly, so
            this is far below the precision of the result.
        max_steps: EM stops after this many steps at the latest; `converged` is then false.

    Raises:
        DataError: there are no votes.
    """
    if not votes:
        raise DataError("there are no votes to estimate from; collect some first.")
    labels = sorted_distinct(vote.label for vote in votes)
    annotators = sorted_distinct(vote.annotator for vote in votes)
    items = sorted_distinct(vote.item for vote in votes)
    item_indices, annotator_indices, label_indices = _vote_indices(votes, items, annotators, labels)
    shape = (len(annotators), len(labels), len(labels))
    # Number of times each annotator gave each label to each item, sparse, and its transpose.
    by_annotator = sparse.csr_array(
        (np.ones(len(votes)), (annotator_indices * len(labels) + label_indices, item_indices)),
        (shape[0] * shape[1], len(items)),
    )  # [A·L, N]
    by_item = by_annotator.T.tocsr()  # [N, A·L]
    label_counts = by_item @ np.tile(np.eye(len(labels)), (len(annotators), 1))  # [N, L]
    posterior = label_counts / label_counts.sum(axis=1, keepdims=True)
    last, step, converged = -math.inf, 0, False
    while not converged and step < max_steps:
        step += 1
        # M (equations 2.3 and 2.4): parameters, with items weighted by the posterior of their true labels.
        priors = posterior.mean(axis=0)  # [L]
        counts = (by_annotator @ posterior).reshape(shape).swapaxes(1, 2)  # [A, true, given]
        expected_votes = counts.sum(axis=2, keepdims=True)  # [A, true, 1]
        # If an annotator has no votes on a true label, every row fits equally well; use a uniform one.
        uniform = np.full_like(counts, 1 / len(labels))
        confusion = np.divide(counts, expected_votes, out=uniform, where=expected_votes > 0)
        # E (equation 2.5), in logarithms: the product over many votes underflows.
        with np.errstate(divide="ignore"):
            log_confusion = np.log(confusion).swapaxes(1, 2).reshape(-1, len(labels))  # [A·L, true]
            log_joint = np.log(priors) + by_item @ log_confusion  # [N, L]
        evidence = special.logsumexp(log_joint, axis=1)  # [N]
        posterior = np.exp(log_joint - evidence[:, None])
        log_likelihood = float(evidence.sum())
        converged = abs(log_likelihood - last) <= tolerance * max(1.0, abs(log_likelihood))
        last = log_likelihood
    return DawidSkeneEstimate(
        labels=tuple(labels),
        annotators=tuple(annotators),
        items=tuple(items),
        priors=priors,
        confusion=np.where(expected_votes > MIN_EXPECTED_VOTES, confusion, np.nan),
        expected_votes=expected_votes[:, :, 0],
        posterior=posterior,
        log_likelihood=log_likelihood,
        steps=step,
        converged=converged,
    )


def _vote_indices(
    votes: Sequence[Vote], items: Sequence[Hashable], annotators: Sequence[str], labels: Sequence[Hashable]
) -> tuple[IntArray, IntArray, IntArray]:
    """Return the item, annotator and label index of each vote, [votes] each.

    They are sorted, so that sums do not depend on the order of the votes.
    """
    item_at = {item: index for index, item in enumerate(items)}
    annotator_at = {annotator: index for index, annotator in enumerate(annotators)}
    label_at = {label: index for index, label in enumerate(labels)}
    rows = sorted((item_at[v.item], annotator_at[v.annotator], label_at[v.label]) for v in votes)
    table = np.array(rows, dtype=np.int64)  # [votes, 3]
    return table[:, 0], table[:, 1], table[:, 2]


def _only_best(values: Mapping[Hashable, float]) -> Hashable | None:
    """Return the label with the largest value; None where another equals it up to rounding, or there is none."""
    best = max(values.values(), default=0.0)
    leaders = [label for label, value in values.items() if math.isclose(value, best, rel_tol=1e-9)]
    return leaders[0] if len(leaders) == 1 else None
