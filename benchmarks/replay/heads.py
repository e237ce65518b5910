"""Linear Bradley–Terry heads on frozen states: a convex problem, solved to its optimum on Gnomon's own loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from gnomon.core.types import Preference, RatedText
from gnomon.losses.preference import bradley_terry
from gnomon.stats.human_ceiling import order_agreement, random_pairs

FloatArray = NDArray[np.float64]
STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1)  # of the L2 penalty, from strong to weak
FOLDS = 4
SLOPE = 1e-4  # largest component of the gradient at the end of a fit


@dataclass(frozen=True)
class Pairs:
    """What was bought, for a head: the difference of two texts' states, and the share of voices for the first.

    Attributes:
        gaps: `[M, d]`, float64.
        shares: `[M]`.
    """

    gaps: FloatArray
    shares: FloatArray

    def select(self, rows: NDArray[np.int64]) -> Pairs:
        """Some of them, some perhaps several times."""
        return Pairs(self.gaps[rows], self.shares[rows])

    def __len__(self) -> int:
        return len(self.shares)


def pairs_of(rows: Sequence[Preference], states: FloatArray, row_of_text: Mapping[str, int]) -> Pairs:
    """Preferences of texts whose states stand at `place`; the chosen one is the first."""
    chosen = [row_of_text[row.chosen.id] for row in rows]
    rejected = [row_of_text[row.rejected.id] for row in rows]
    return Pairs(
        states[chosen] - states[rejected],
        np.array([row.probability for row in rows]),
    )


def loss_of(pairs: Pairs, weights: FloatArray) -> float:
    """The mean of the Bradley–Terry loss over the pairs, in nats."""
    return _loss_and_slope(pairs, weights)[0]


def _loss_and_slope(pairs: Pairs, weights: FloatArray) -> tuple[float, FloatArray]:
    """The mean loss, and its gradient with respect to the weights `[d]`."""
    lead = torch.from_numpy(pairs.gaps @ weights).requires_grad_()  # [M]
    loss = bradley_terry(lead, torch.zeros_like(lead), torch.from_numpy(pairs.shares)).mean()
    (slope,) = torch.autograd.grad(loss, lead)
    return float(loss.detach()), slope.numpy() @ pairs.gaps


def fit(pairs: Pairs, strength: float, start: FloatArray | None = None) -> FloatArray:
    """The weights `[d]` that make the mean loss + ½·strength·‖w‖² least, by L-BFGS to a gradient of `SLOPE`."""

    def cost(weights: FloatArray) -> tuple[float, FloatArray]:
        loss, slope = _loss_and_slope(pairs, weights)
        return loss + 0.5 * strength * float(weights @ weights), slope + strength * weights

    start = np.zeros(pairs.gaps.shape[1]) if start is None else start
    options = {"gtol": SLOPE, "ftol": 0.0, "maxcor": 20, "maxiter": 1000}
    solution: FloatArray = minimize(cost, start, jac=True, method="L-BFGS-B", options=options).x
    return solution


def choose_strength(pairs: Pairs, seed: int, strengths: Sequence[float] = STRENGTHS) -> float:
    """The penalty under which pairs that a head did not see cost least, each left out once in `FOLDS` parts."""
    part = np.random.default_rng([seed, 1]).permutation(len(pairs)) % FOLDS
    costs = np.zeros(len(strengths))
    for fold in range(FOLDS):
        seen, unseen = (pairs.select(np.flatnonzero(selected)) for selected in (part != fold, part == fold))
        weights: FloatArray | None = None
        for index, strength in enumerate(strengths):
            weights = fit(seen, strength, weights)
            costs[index] += loss_of(unseen, weights) * len(unseen)
    return strengths[int(costs.argmin())]


def ensemble(pairs: Pairs, strength: float, members: int, seed: int) -> FloatArray:
    """Heads `[members, d]`, each on a bootstrap of the pairs: where they differ, more votes can settle it."""
    rng = np.random.default_rng([seed, 2])
    start = fit(pairs, strength)
    drawn = (pairs.select(rng.integers(len(pairs), size=len(pairs))) for _ in range(members))
    return np.stack([fit(some, strength, start) for some in drawn])


@dataclass(frozen=True)
class HeldOut:
    """Texts that nobody was asked about: standardised states `[N, d]`, mean ratings, and fixed random pairs."""

    states: FloatArray
    means: FloatArray
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    @classmethod
    def of(cls, items: Sequence[RatedText], states: FloatArray, pairs: int = 50_000) -> HeldOut:
        """The same pairs whoever asks."""
        first, second = random_pairs(len(items), pairs, np.random.default_rng(0))
        return cls(states, np.array([item.mean for item in items]), first, second)

    def accuracy(self, weights: FloatArray) -> float:
        """How often a head orders two texts as the means of all their ratings do."""
        scores = self.states @ weights
        means = self.means
        return order_agreement(scores[self.first] - scores[self.second], means[self.first] - means[self.second])
