"""Agreement among raters, against published figures and figures derived by hand."""

from __future__ import annotations

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import RatedText
from gnomon.data.film_reviews import load_film_reviews
from gnomon.feedback.agreement import Estimate, Level, human_ceiling, krippendorff_alpha, wilson_interval

UNDEFINED = Estimate(None, None, None)

# The example of Wikipedia's article on alpha: three raters, fifteen units, read column by column.
WIKIPEDIA_3X15: list[list[float]] = [
    [1], [], [2, 2], [1, 1], [3, 3], [3, 3, 4], [4, 4, 4], [1, 3], [2, 2], [1, 1], [1, 1], [3, 3], [3, 3],
    [], [3, 4],
]  # fmt: skip

# Krippendorff's own example (2011): four raters, twelve units.
KRIPPENDORFF_4X12: list[list[float]] = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4],
    [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip


@pytest.mark.parametrize(
    ("units", "level", "expected"),
    [
        (WIKIPEDIA_3X15, "nominal", 0.691358),
        (WIKIPEDIA_3X15, "ordinal", 0.806721),
        (WIKIPEDIA_3X15, "interval", 0.810845),
        (KRIPPENDORFF_4X12, "nominal", 0.743421),
        (KRIPPENDORFF_4X12, "ordinal", 0.815388),
        (KRIPPENDORFF_4X12, "interval", 0.849107),
    ],
)
def test_alpha_published(units: list[list[float]], level: Level, expected: float) -> None:
    alpha = krippendorff_alpha(units, level)
    assert alpha.value == pytest.approx(expected, abs=1e-6)
    assert alpha.low is not None
    assert alpha.high is not None
    assert alpha.low < expected < alpha.high <= 1


def test_alpha_does_not_ask_who_said_what() -> None:
    mixed = [unit[::-1] for unit in WIKIPEDIA_3X15]
    assert krippendorff_alpha(mixed, "interval") == krippendorff_alpha(WIKIPEDIA_3X15, "interval")


def test_alpha_uses_the_distances_of_the_values() -> None:
    """By hand, units [0, 10] and [0, 0]: coincidences o(0,10) = o(10,0) = 1, o(0,0) = 2; n = 3, 1.

    Expected disagreement: e(0,10) = 3 * 1 / 3 = 1, so alpha = 1 - 1/1 = 0, at every level, since one distance
    cancels. With [0, 1], [0, 10], [10, 10] the levels part. Nominal: o = 4 off the diagonal; n = 2, 1, 3;
    e = (36 - 14) / 5 = 4.4; alpha = 1 - 4 / 4.4. Interval: o: 2 * (1 + 100) = 202;
    e: 2 * (2 * 1 + 6 * 100 + 3 * 81) / 5 = 338; alpha = 1 - 202 / 338.
    """
    assert krippendorff_alpha([[0, 10], [0, 0]], "interval").value == pytest.approx(0.0)
    units = [[0.0, 1.0], [0.0, 10.0], [10.0, 10.0]]
    assert krippendorff_alpha(units, "nominal").value == pytest.approx(1 - 4 / 4.4)
    assert krippendorff_alpha(units, "interval").value == pytest.approx(1 - 202 / 338)


@pytest.mark.parametrize("units", [[], [[1.0], [2.0]], [[3.0, 3.0], [3.0, 3.0]], [[1.0, 1.0], [2.0]]])
def test_alpha_undefined_is_none(units: list[list[float]]) -> None:
    """Nothing to compare, or no variation among what can be compared."""
    assert krippendorff_alpha(units, "nominal") == UNDEFINED


def test_alpha_interval_narrows_with_units_and_follows_the_seed() -> None:
    few = krippendorff_alpha(KRIPPENDORFF_4X12, "interval")
    many = krippendorff_alpha(KRIPPENDORFF_4X12 * 25, "interval")
    assert few.low is not None
    assert few.high is not None
    assert many.low is not None
    assert many.high is not None
    # 25 times the units: an interval about a fifth as wide.
    assert 0.1 < (many.high - many.low) / (few.high - few.low) < 0.35
    assert krippendorff_alpha(KRIPPENDORFF_4X12, "interval", seed=1).low != few.low


def test_alpha_refuses_what_is_no_number() -> None:
    with pytest.raises(DataError, match="not a finite number"):
        krippendorff_alpha([[1.0, float("nan")]], "interval")


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_published(successes: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, table I, method 3."""
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_edges() -> None:
    assert wilson_interval(0, 0) is None
    assert wilson_interval(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)
    with pytest.raises(DataError, match="21 successes out of 20"):
        wilson_interval(21, 20)


def test_ceiling_of_people_who_agree() -> None:
    items = [RatedText(str(n), str(n), (float(n),) * 3) for n in range(8)]
    ceiling = human_ceiling(items, pairs=200, seed=0)
    assert ceiling.correlation.value == pytest.approx(1.0)
    assert ceiling.pair_agreement == Estimate(1.0, 1.0, 1.0)
    assert ceiling.tie_share == 0.0
    assert ceiling.items == 8


def test_ceiling_judges_a_rater_by_the_others_alone() -> None:
    """By hand, a: 0, 2 and b: 1, 1. Whoever is drawn for a, the other one says the opposite of b's order.

    (one, rest) of a is (0, 2) or (2, 0), of b always (1, 1): r = -1 and no pair agrees. Were the rater's own
    rating among "the rest", both means would be 1 and nothing would be defined.
    """
    items = [RatedText("a", "a", (0.0, 2.0)), RatedText("b", "b", (1.0, 1.0))]
    ceiling = human_ceiling(items, pairs=50, seed=0)
    assert ceiling.correlation.value == pytest.approx(-1.0)
    assert ceiling.pair_agreement == Estimate(0.0, 0.0, 0.0)
    assert ceiling.tie_share == 0.0


def test_ceiling_counts_a_tie_of_two_ratings_as_half() -> None:
    """By hand, a: 1, 1 and b: 1, 3. If b's 1 is drawn, the rest says b and the ratings tie: one half.

    If b's 3 is drawn, the rest ties and the pair is skipped. So every pair that counts, counts one half; and
    half of all pairs are ties.
    """
    items = [RatedText("a", "a", (1.0, 1.0)), RatedText("b", "b", (1.0, 3.0))]
    ceiling = human_ceiling(items, pairs=2000, seed=0)
    assert ceiling.pair_agreement.value == 0.5
    assert ceiling.tie_share == pytest.approx(0.5, abs=0.05)


def test_ceiling_never_compares_a_text_with_itself() -> None:
    """Everybody puts a: 0, 4 below b: 9, 9. Half of the resamples pair a with a, where 0 goes against 4."""
    items = [RatedText("a", "a", (0.0, 4.0)), RatedText("b", "b", (9.0, 9.0))]
    assert human_ceiling(items, pairs=50, seed=0).pair_agreement == Estimate(1.0, 1.0, 1.0)


def test_ceiling_undefined_is_none() -> None:
    single = [RatedText(str(n), str(n), (float(n),)) for n in range(5)]
    ceiling = human_ceiling(single, pairs=10, seed=0)
    assert (ceiling.correlation, ceiling.pair_agreement, ceiling.tie_share) == (UNDEFINED, UNDEFINED, None)
    assert ceiling.items == 0
    same = [RatedText(str(n), str(n), (1.0, 1.0)) for n in range(5)]
    ceiling = human_ceiling(same, pairs=10, seed=0)
    assert (ceiling.correlation, ceiling.pair_agreement, ceiling.tie_share) == (UNDEFINED, UNDEFINED, 1.0)


@pytest.mark.slow
def test_the_film_reviews() -> None:
    """Within sampling noise of figures measured by a separate plain loop over 2 million pairs."""
    items, _ = load_film_reviews()
    alpha = krippendorff_alpha([item.ratings for item in items], "interval")
    assert alpha.value == pytest.approx(0.798, abs=5e-4)
    ceiling = human_ceiling(items, pairs=20_000, seed=0)
    assert ceiling.correlation.value == pytest.approx(0.8843, abs=0.003)
    assert ceiling.pair_agreement.value == pytest.approx(0.829, abs=0.01)
    assert ceiling.tie_share == pytest.approx(0.14, abs=0.01)
