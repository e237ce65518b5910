"""The human ceiling against figures derived by hand."""

from __future__ import annotations

import pytest

from gnomon.core.types import RatedText
from gnomon.data.film_reviews import load_film_reviews
from gnomon.stats.agreement import krippendorff_alpha
from gnomon.stats.human_ceiling import human_ceiling
from gnomon.stats.intervals import Estimate

UNDEFINED = Estimate(None, None, None)


def test_ceiling_of_raters_who_agree_is_one() -> None:
    items = [RatedText(str(n), str(n), (float(n),) * 3) for n in range(8)]
    ceiling = human_ceiling(items, pairs=200, seed=0)
    assert ceiling.correlation.value == pytest.approx(1.0)
    assert ceiling.pair_agreement == Estimate(1.0, 1.0, 1.0)
    assert ceiling.tie_share == 0.0
    assert ceiling.items == 8


def test_ceiling_compares_a_rating_with_the_remaining_ones_alone() -> None:
    """By hand, a: 0, 2 and b: 1, 1. Whichever rating of a is drawn, the remaining one gives the opposite order.

    (one, rest) of a is (0, 2) or (2, 0), of b always (1, 1): r = -1 and no pair agrees. If the rest included the
    drawn rating, both means would be 1 and nothing would be defined.
    """
    items = [RatedText("a", "a", (0.0, 2.0)), RatedText("b", "b", (1.0, 1.0))]
    ceiling = human_ceiling(items, pairs=50, seed=0)
    assert ceiling.correlation.value == pytest.approx(-1.0)
    assert ceiling.pair_agreement == Estimate(0.0, 0.0, 0.0)
    assert ceiling.tie_share == 0.0


def test_ceiling_counts_a_tie_of_two_ratings_as_half() -> None:
    """By hand, a: 1, 1 and b: 1, 3. If b's 1 is drawn, the rest prefers b and the ratings tie: one half.

    If b's 3 is drawn, the rest ties and the pair is skipped. So every pair that counts, counts one half; and
    half of all pairs are ties.
    """
    items = [RatedText("a", "a", (1.0, 1.0)), RatedText("b", "b", (1.0, 3.0))]
    ceiling = human_ceiling(items, pairs=2000, seed=0)
    assert ceiling.pair_agreement.value == 0.5
    assert ceiling.tie_share == pytest.approx(0.5, abs=0.05)


def test_ceiling_never_compares_a_text_with_itself() -> None:
    """All ratings of a, 0 and 4, are below those of b, 9 and 9. Half of the resamples pair a with itself."""
    items = [RatedText("a", "a", (0.0, 4.0)), RatedText("b", "b", (9.0, 9.0))]
    assert human_ceiling(items, pairs=50, seed=0).pair_agreement == Estimate(1.0, 1.0, 1.0)


def test_undefined_ceilings_are_none() -> None:
    single = [RatedText(str(n), str(n), (float(n),)) for n in range(5)]
    ceiling = human_ceiling(single, pairs=10, seed=0)
    assert (ceiling.correlation, ceiling.pair_agreement, ceiling.tie_share) == (UNDEFINED, UNDEFINED, None)
    assert ceiling.items == 0
    same = [RatedText(str(n), str(n), (1.0, 1.0)) for n in range(5)]
    ceiling = human_ceiling(same, pairs=10, seed=0)
    assert (ceiling.correlation, ceiling.pair_agreement, ceiling.tie_share) == (UNDEFINED, UNDEFINED, 1.0)


@pytest.mark.slow
def test_ceiling_of_the_film_reviews() -> None:
    """Within sampling noise of figures from a separate plain loop over 2 million pairs."""
    items, _ = load_film_reviews()
    alpha = krippendorff_alpha([item.ratings for item in items], "interval")
    assert alpha.value == pytest.approx(0.798, abs=5e-4)
    ceiling = human_ceiling(items, pairs=20_000, seed=0)
    assert ceiling.correlation.value == pytest.approx(0.8843, abs=0.003)
    assert ceiling.pair_agreement.value == pytest.approx(0.829, abs=0.01)
    assert ceiling.tie_share == pytest.approx(0.14, abs=0.01)
