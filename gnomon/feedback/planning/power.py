"""Power analysis: number of judgements that a comparison of two policies needs.

Model. An item compares a completion of A with one of B; A's is truly better in a share `effect` of the items. A
vote is a tie with probability `ties`, whichever is better; otherwise it is correct with probability a,
independently of the other votes given the truth.

From κ to a. Two votes agree with probability a² + (1 − a)². Where both policies win equally often, chance
agreement is 1/2, so

    κ = 2 (a² + (1 − a)²) − 1 = (2a − 1)²,    a = (1 + √κ) / 2

More generally, where A is better in a share π of the items, κ = (2a − 1)² π(1 − π) / (q(1 − q)) with q = 1/2 +
(π − 1/2)(2a − 1) the share of votes for A: κ of a binary classification by sensitivity, specificity and
prevalence (Thompson and Walter, J. Clin. Epidemiol. 41, 1988; Kraemer, Psychometrika 44, 1979), with both error
rates equal.

Win rate. Votes count 1, 1/2 (a tie) or 0. Noise moves their mean towards 1/2:

    w = 1/2 + (1 − t)(2a − 1)(effect − 1/2)

and the mean of the V votes of an item has the variance c + (s² − c) / V, where s² = (1 − t)/4 − (w − 1/2)² is
that of one vote and c = ((1 − t)(2a − 1))² effect (1 − effect) the covariance of two votes on one item (Kish,
"Survey Sampling", 1965: the design effect). Sample sizes are those for a mean by the normal approximation
(Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", 2003).

Wrong when items differ in difficulty: κ is then an average over items on which all agree and items on which
nobody can, and more votes per item help less than these formulas give.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from gnomon.core.errors import ConfigError
from gnomon.core.lazy import stats
from gnomon.feedback.annotators.simulated import SimulatedBehavior

MAX_VOTES = 999  # per item; a target that needs more is considered out of reach
NORMAL = NormalDist()


@dataclass(frozen=True)
class AnnotatorNoise:
    """Error model of annotators.

    Attributes:
        accuracy: a, the probability that a vote that is not a tie is correct.
        ties: t, the share of ties.

    Raises:
        ConfigError: the accuracy is not in [0.5, 1], or the ties are not in [0, 1).
    """

    accuracy: float
    ties: float = 0.0

    def __post_init__(self) -> None:
        if not (0.5 <= self.accuracy <= 1 and 0 <= self.ties < 1):
            raise ConfigError(
                f"the accuracy of votes is {self.accuracy} and the share of ties {self.ties}; pass an "
                "accuracy in [0.5, 1] and ties in [0, 1)."
            )

    @property
    def signal_share(self) -> float:
        """(1 − t)(2a − 1): the factor by which noise shrinks a win rate's distance from 1/2."""
        return (1 - self.ties) * (2 * self.accuracy - 1)

    def win_rate(self, effect: float) -> float:
        """w, the expected mean vote at the true win rate `effect`."""
        return 0.5 + self.signal_share * (effect - 0.5)

    def item_variance(self, effect: float, votes: int) -> float:
        """Variance of an item's mean vote, over items and votes."""
        variance = (1 - self.ties) / 4 - (self.win_rate(effect) - 0.5) ** 2
        covariance = self.signal_share**2 * effect * (1 - effect)
        return covariance + (variance - covariance) / votes

    def simulated_behavior(self) -> SimulatedBehavior:
        """Return the equivalent simulated annotator, for utilities of 1/2 (better) and −1/2 (worse).

        Raises:
            ConfigError: the accuracy is 1.
        """
        if self.accuracy == 1:
            raise ConfigError("annotators without error cannot be simulated; pass a κ below 1.")
        sharpness = math.log(self.accuracy / (1 - self.accuracy))
        halves = 2 * math.cosh(sharpness / 2)
        return SimulatedBehavior(sharpness=sharpness, ties=self.ties / (1 - self.ties) * halves)


def accuracy_from_kappa(kappa: float, prevalence: float = 0.5) -> float:
    """Compute a, the accuracy of a vote, from Cohen's κ of two annotators or Fleiss' κ of several.

    Args:
        kappa: κ in [0, 1], without ties.
        prevalence: π, the share of items whose true label is the first, among those on which κ was measured.

    Raises:
        ConfigError: κ is not in [0, 1], or the prevalence not in (0, 1).
    """
    if not 0 <= kappa <= 1 or not 0 < prevalence < 1:
        raise ConfigError(
            f"κ is {kappa} and the prevalence {prevalence}; pass κ in [0, 1] and a prevalence in (0, 1)."
        )
    even, off = prevalence * (1 - prevalence), (prevalence - 0.5) ** 2
    return (1 + math.sqrt(kappa / 4 / (even + kappa * off))) / 2  # κ solved for (2a − 1)²


def items_for_power(
    effect: float, noise: AnnotatorNoise, *, votes: int = 1, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Compute the number of items for a two-sided test of the win rate against 1/2 with this power.

    n = ((z_{1−α/2} σ_0 + z_power σ_1) / (w − 1/2))², with the item's variance σ_0² at 1/2 and σ_1² at the effect.

    Args:
        effect: true win rate.
        noise: error model of the annotators.
        votes: votes per item.
        power: power of the test.
        alpha: false positive rate of the test.

    Raises:
        ConfigError: the effect is 1/2, the annotators guess, or a probability is out of its range.
    """
    _probability("power", power)
    distance = _distance(effect, noise)
    z_alpha, z_power = _z(alpha), NORMAL.inv_cdf(power)
    spread = z_alpha * math.sqrt(noise.item_variance(0.5, votes))
    spread += z_power * math.sqrt(max(0.0, noise.item_variance(effect, votes)))
    return max(1, math.ceil((spread / distance) ** 2 - 1e-9))


def power_of_items(
    effect: float, noise: AnnotatorNoise, items: int, *, votes: int = 1, alpha: float = 0.05
) -> float:
    """Compute the power of the test with this number of items.

    Args:
        effect: true win rate.
        noise: error model of the annotators.
        items: number of items.
        votes: votes per item.
        alpha: false positive rate of the test.
    """
    distance = _distance(effect, noise)
    bound = _z(alpha) * math.sqrt(noise.item_variance(0.5, votes) / items)
    spread = math.sqrt(noise.item_variance(effect, votes) / items)
    return 1.0 if spread == 0 else NORMAL.cdf((distance - bound) / spread)


def items_for_width(
    half_width: float, noise: AnnotatorNoise, *, effect: float = 0.5, votes: int = 1, alpha: float = 0.05
) -> int:
    """Compute the number of items for a confidence interval of this half-width: (z σ / half_width)².

    Args:
        half_width: half-width of the interval of the votes' win rate.
        noise: error model of the annotators.
        effect: true win rate.
        votes: votes per item.
        alpha: 1 − alpha is the level of the interval.
    """
    _probability("half_width", half_width)
    return max(1, math.ceil(_z(alpha) ** 2 * noise.item_variance(effect, votes) / half_width**2 - 1e-9))


def half_width(
    items: int, noise: AnnotatorNoise, *, effect: float = 0.5, votes: int = 1, alpha: float = 0.05
) -> float:
    """Compute the half-width of the confidence interval of the votes' win rate.

    The interval of the true win rate is wider by 1 / `noise.signal_share` (Rogan and Gladen, Am. J. Epidemiol.
    107, 1978).

    Args:
        items: number of items.
        noise: error model of the annotators.
        effect: true win rate.
        votes: votes per item.
        alpha: 1 − alpha is the level of the interval.
    """
    return _z(alpha) * math.sqrt(noise.item_variance(effect, votes) / items)


def majority_accuracy(votes: int, noise: AnnotatorNoise) -> float:
    """Compute the probability that the majority of an item's votes is correct.

    An even split is decided at random. Condorcet's theorem (1785) with ties: the number of votes that are not
    ties is binomial, and more than half of these are correct.
    """
    if votes < 1:
        raise ConfigError(f"{votes} votes have no majority; pass at least 1.")
    decided = np.arange(votes + 1)  # [V + 1], number of votes that are not ties
    half = decided // 2
    correct = stats.binom.sf(half, decided, noise.accuracy)  # more than half of them
    correct += np.where(decided % 2 == 0, stats.binom.pmf(half, decided, noise.accuracy) / 2, 0.0)
    return float((stats.binom.pmf(decided, votes, 1 - noise.ties) * correct).sum())


def votes_for_accuracy(target: float, noise: AnnotatorNoise) -> int | None:
    """Return the smallest odd number of votes whose majority reaches the target accuracy; `None` if none does."""
    _probability("accuracy", target)
    odd = range(1, MAX_VOTES + 1, 2)  # accuracy does not fall from one odd number to the next (Condorcet)
    if noise.accuracy <= 0.5 or majority_accuracy(odd[-1], noise) < target - 1e-12:
        return None
    return odd[bisect_left(odd, target - 1e-12, key=lambda votes: majority_accuracy(votes, noise))]


def annotators_for(items: int, votes: int, per_annotator: int) -> int:
    """Compute the number of annotators, of whom nobody judges an item twice.

    Args:
        items: number of items.
        votes: votes per item.
        per_annotator: maximum number of judgements per annotator.

    Raises:
        ConfigError: a number is below 1.
    """
    if min(items, votes, per_annotator) < 1:
        raise ConfigError(
            f"a study of {items} items with {votes} votes each and {per_annotator} judgements per annotator is "
            "not possible; pass at least 1 of each."
        )
    return max(votes, math.ceil(items * votes / min(per_annotator, items)))


def _z(alpha: float) -> float:
    _probability("alpha", alpha)
    return NORMAL.inv_cdf(1 - alpha / 2)


def _distance(effect: float, noise: AnnotatorNoise) -> float:
    if not 0 <= effect <= 1 or effect == 0.5:
        raise ConfigError(f"a win rate of {effect} cannot be distinguished from 0.5; pass another in [0, 1].")
    if noise.signal_share == 0:
        raise ConfigError("votes with κ 0 are chance; pass a larger κ, or train the annotators.")
    return abs(noise.win_rate(effect) - 0.5)


def _probability(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ConfigError(f"{name} is {value}; pass a number between 0 and 1.")
