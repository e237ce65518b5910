"""Agreement of scores with people, and calibration, against figures derived by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import RatedText
from gnomon.evaluation.results import CalibrationResult
from gnomon.evaluation.reward_models import agreement_with_people, calibration
from gnomon.stats.intervals import Estimate, wilson_interval

UNDEFINED = Estimate(None, None, None)


def with_means(*means: float) -> list[RatedText]:
    return [RatedText(str(n), str(n), (mean - 1, mean + 1)) for n, mean in enumerate(means)]


def test_agreement_by_hand() -> None:
    """Means 1, 2, 3 and scores 1, 100, 2: ranks 1, 3, 2.

    Spearman: 1 - 6 * (0 + 1 + 1) / (3 * 8) = 0.5. Pearson: deviations (-100, 197, -97) / 3 and (-1, 0, 1) give
    (3 / 3) / sqrt(58218 / 9 * 2) = 0.0087921. Of the three pairs two are ordered well.
    """
    agreement = agreement_with_people([1, 100, 2], with_means(1, 2, 3), pairs=6000, seed=0)
    assert agreement["spearman"].value == pytest.approx(0.5)
    assert agreement["pearson"].value == pytest.approx(0.0087921, abs=1e-6)
    assert agreement["pair_accuracy"].value == pytest.approx(2 / 3, abs=0.02)


@pytest.mark.parametrize(("sign", "share"), [(1, 1.0), (-1, 0.0)])
def test_a_perfect_judge_and_its_opposite(sign: int, share: float) -> None:
    means = np.arange(20.0)
    agreement = agreement_with_people(sign * means, with_means(*means), pairs=500, seed=0)
    assert agreement["pearson"].value == pytest.approx(sign)
    assert agreement["spearman"].value == pytest.approx(sign)
    assert agreement["pair_accuracy"] == Estimate(share, share, share)


def test_equal_scores_count_half_and_equal_means_are_skipped() -> None:
    """Means 0, 0, 5 and scores 1, 2, 2: the pair with equal means is skipped; the others score 1 and 1/2."""
    agreement = agreement_with_people([1, 2, 2], with_means(0, 0, 5), pairs=6000, seed=0)
    assert agreement["pair_accuracy"].value == pytest.approx(0.75, abs=0.02)


def test_undefined_agreement_is_none() -> None:
    constant = agreement_with_people([5, 5], with_means(0, 1), pairs=50, seed=0)
    assert constant["pearson"] == constant["spearman"] == UNDEFINED
    assert constant["pair_accuracy"] == Estimate(0.5, 0.5, 0.5)
    assert set(agreement_with_people([1, 2], with_means(3, 3), pairs=50, seed=0).values()) == {UNDEFINED}
    assert set(agreement_with_people([1], with_means(3), pairs=50, seed=0).values()) == {UNDEFINED}
    assert set(agreement_with_people([], [], pairs=50, seed=0).values()) == {UNDEFINED}


def test_intervals_account_for_pairs_that_share_items() -> None:
    """20,000 pairs of 40 items: an interval that treats them as independent would be many times narrower."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=40)
    scores = means + rng.normal(size=40)
    accuracy = agreement_with_people(scores, with_means(*means), pairs=20_000, seed=0)["pair_accuracy"]
    assert accuracy.value is not None
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < accuracy.value < accuracy.high
    naive = wilson_interval(round(accuracy.value * 20_000), 20_000)
    assert naive is not None
    assert accuracy.high - accuracy.low > 5 * (naive[1] - naive[0])


def test_pearson_interval_is_near_fishers() -> None:
    """400 normal pairs with r near 0.7: Fisher's z gives a width of about 2 * 1.96 * (1 - r**2) / sqrt(397)."""
    rng = np.random.default_rng(1)
    means = rng.normal(size=400)
    agreement = agreement_with_people(means + rng.normal(size=400), with_means(*means), pairs=10, seed=0)[
        "pearson"
    ]
    assert agreement.value is not None
    assert agreement.low is not None
    assert agreement.high is not None
    expected = 2 * 1.96 * (1 - agreement.value**2) / 397**0.5
    assert agreement.high - agreement.low == pytest.approx(expected, rel=0.25)


def test_scores_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="2 items need as many scores"):
        agreement_with_people([1.0], with_means(1, 2), pairs=5, seed=0)
    with pytest.raises(DataError, match="not a finite number"):
        agreement_with_people([1.0, float("nan")], with_means(1, 2), pairs=5, seed=0)


def test_calibration_matches_published_values() -> None:
    """The example of torchmetrics: bins of (0.25, 0.25) and (0.55, 0.75, 0.75).

    ECE = 2/5 * |0.25 - 0| + 3/5 * |2.05/3 - 1| = 0.1 + 0.19; squared, 2/5 / 16 + 3/5 * (0.95/3)^2 = 0.0851667.
    """
    calibrated = calibration([0.25, 0.25, 0.55, 0.75, 0.75], [0, 0, 1, 1, 1], bins=2)
    assert calibrated.ece == pytest.approx(0.29)
    assert calibrated.rms == pytest.approx(0.0851667**0.5, abs=1e-6)
    assert calibrated.worst == pytest.approx(0.95 / 3)
    assert [(row.predicted, row.observed, row.count) for row in calibrated.bins] == [
        (0.25, 0.0, 2),
        (pytest.approx(2.05 / 3), 1.0, 3),
    ]


def test_calibration_with_soft_observations() -> None:
    """Errors of both directions cancel within a bin: (0.7 + 0.9) / 2 = (0.6 + 1) / 2."""
    assert calibration([0.7, 0.9], [0.6, 1.0], bins=1).ece == pytest.approx(0.0)
    assert calibration([0.7, 0.9], [0.6, 1.0], bins=5).ece == pytest.approx(0.1)


def test_calibration_edges() -> None:
    """0.5 is in the upper of two bins, 1 in the last; bins without pairs are left out."""
    bins = calibration([0.0, 0.5, 1.0], [0.0, 0.5, 1.0], bins=2).bins
    assert [row.count for row in bins] == [1, 2]
    assert [row.count for row in calibration([0.0, 1.0], [0.0, 1.0], bins=10).bins] == [1, 1]
    assert calibration([], [], bins=10) == CalibrationResult(ece=None, rms=None, worst=None, bins=[])


@pytest.mark.parametrize(
    ("predicted", "observed", "bins"),
    [([0.5], [0.5, 0.5], 10), ([1.1], [0.5], 10), ([0.5], [float("nan")], 10), ([0.5], [0.5], 0)],
)
def test_calibration_refuses_invalid_values(predicted: list[float], observed: list[float], bins: int) -> None:
    with pytest.raises(DataError):
        calibration(predicted, observed, bins)
