"""What an item truly is, given what several people said of it: by majority, by weight, by Dawid and Skene.

A majority counts heads. Dawid and Skene learn at the same time who errs how: annotator k says label l of an item
that is truly j with a probability pi_k[j, l], and an item is truly j with a probability p_j. This needs
annotators who labelled several items each, and is the wrong choice where most came once: their own matrix
then explains whatever they said.

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

UNSEEN = 1e-9  # expected votes below which an annotator's row of a class rests on nothing


@dataclass(frozen=True, slots=True)
class Consensus:
    """The maximum of the likelihood that EM reached.

    Attributes:
        labels: [L], in the order of the arrays.
        annotators: [A].
        items: [N].
        priors: [L]; p_j, the share of items that are truly j.
        confusion: [A, L, L]; an annotator's probability of saying the last label where the truth is the middle
            one; nan in rows of which `expected_votes` holds nothing.
        expected_votes: [A, L]; how many of an annotator's votes fell on items of each true label. A row of
            `confusion` is worth no more than these.
        posterior: [N, L]; P(an item is truly j | all votes).
        log_likelihood: of all votes, in nats.
        steps: of EM.
        converged: whether the log-likelihood stood still before the steps ran out.
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
    """For each item, what part of its votes each label has; only labels that somebody gave.

    Each vote counts, also several of one annotator on one item; take the `latest` for one voice a person.

    Args:
        votes: in any order.
        weights: how much an annotator's vote counts, as their reliability; all the same without them. An item
            on which all votes weigh 0 has no shares.

    Raises:
        DataError: an annotator has no weight, or one that is not a number from 0.
    """
    heard: dict[Hashable, dict[Hashable, list[float]]] = defaultdict(lambda: defaultdict(list))
    for vote in votes:
        weight = 1.0 if weights is None else weights.get(vote.annotator, math.nan)
        if not (math.isfinite(weight) and weight >= 0):
            raise DataError(
                f"annotator {vote.annotator!r} has no weight from 0 upward; give one or drop the votes."
            )
        heard[vote.item][vote.label].append(weight)
    shares: dict[Hashable, dict[Hashable, float]] = {}
    for item, labels in heard.items():
        # fsum rounds once: the order of the votes changes nothing, and an even split stays even.
        sums = {label: math.fsum(found) for label, found in labels.items()}
        total = math.fsum(sums.values())
        shares[item] = {label: found / total for label, found in sums.items()} if total else {}
    return shares


def majority(
    votes: Iterable[Vote], weights: Mapping[str, float] | None = None
) -> dict[Hashable, Hashable | None]:
    """Each item's most frequent label by `vote_shares`; None where two lead together or nothing has a weight."""
    return {item: _only_best(shares) for item, shares in vote_shares(votes, weights).items()}


def dawid_skene(votes: Sequence[Vote], *, tolerance: float = 1e-11, most_steps: int = 20_000) -> Consensus:
    """Estimates the truth and everybody's errors together.

    Begins with each item's share of votes for each label, so the labels keep their meaning, and climbs to the
    nearest maximum. An annotator may say nothing of an item, or several things; repeated votes count as
    independent ones, which they are only if the annotator did not remember.

    Args:
        votes: in any order.
        tolerance: EM ends when the log-likelihood grows by less than this part of itself. EM is slow near the
            end, so this lies far below the figures that one reads.
        most_steps: it ends here in any case; `converged` says which it was.

    Raises:
        DataError: there are no votes.
    """
    if not votes:
        raise DataError("there are no votes to learn from; collect some first.")
    labels = in_order(vote.label for vote in votes)
    annotators = in_order(vote.annotator for vote in votes)
    items = in_order(vote.item for vote in votes)
    item, annotator, said = _places(votes, items, annotators, labels)
    shape = (len(annotators), len(labels), len(labels))
    # How often each annotator said each label of each item, sparse, and the same seen from the items.
    by_speaker = sparse.csr_array(
        (np.ones(len(votes)), (annotator * len(labels) + said, item)), (shape[0] * shape[1], len(items))
    )  # [A·L, N]
    by_item = by_speaker.T.tocsr()  # [N, A·L]
    expected = by_item @ np.tile(np.eye(len(labels)), (len(annotators), 1))  # [N, L]
    posterior = expected / expected.sum(axis=1, keepdims=True)
    last, step, converged = -math.inf, 0, False
    while not converged and step < most_steps:
        step += 1
        # M (equations 2.3 and 2.4): parameters as if the posterior were the truth.
        priors = posterior.mean(axis=0)  # [L]
        counts = (by_speaker @ posterior).reshape(shape).swapaxes(1, 2)  # [A, true, said]
        seen = counts.sum(axis=2, keepdims=True)
        # Of a class that an annotator never met any row is a maximum; an even one rules nothing out.
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


def _places(
    votes: Sequence[Vote], items: Sequence[Hashable], annotators: Sequence[str], labels: Sequence[Hashable]
) -> tuple[IntArray, IntArray, IntArray]:
    """Item, annotator and label of every vote as numbers, sorted: the order of the votes changes no sum."""
    item_at = {item: place for place, item in enumerate(items)}
    annotator_at = {annotator: place for place, annotator in enumerate(annotators)}
    label_at = {label: place for place, label in enumerate(labels)}
    rows = sorted((item_at[v.item], annotator_at[v.annotator], label_at[v.label]) for v in votes)
    table = np.array(rows, dtype=np.int64)  # [votes, 3]
    return table[:, 0], table[:, 1], table[:, 2]


def _only_best(values: Mapping[Hashable, float]) -> Hashable | None:
    """The label of the largest value; None where another equals it up to rounding, or there is none."""
    best = max(values.values(), default=0.0)
    leaders = [label for label, value in values.items() if math.isclose(value, best, rel_tol=1e-9)]
    return leaders[0] if len(leaders) == 1 else None
