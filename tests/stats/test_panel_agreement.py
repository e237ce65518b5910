"""Agreement of all, by category and by pair, from votes."""

from __future__ import annotations

import random

import pytest

from gnomon.core.errors import DataError
from gnomon.stats.agreement import krippendorff_alpha
from gnomon.stats.intervals import Estimate
from gnomon.stats.panel_agreement import agreement_by_category, panel_agreement
from gnomon.stats.votes import Vote

# Labels of ann, bob and cid on six items; cid has no label on three of them, and item 6 has one vote.
LABELS = {1: "aa-", 2: "aab", 3: "bbb", 4: "ab-", 5: "bbb", 6: "a--"}


def votes() -> list[Vote]:
    return [
        Vote(name, item, label)
        for item, labels in LABELS.items()
        for name, label in zip(("ann", "bob", "cid"), labels, strict=True)
        if label != "-"
    ]


def test_panel_agreement_by_hand() -> None:
    """Shares of equal pairs: 1, 1/3, 1, 0, 1 of items 1 to 5; item 6 has nothing to compare."""
    panel = panel_agreement(votes())
    assert (panel.items, panel.annotators) == (5, 3)
    assert panel.percent.value == pytest.approx((1 + 1 / 3 + 1 + 0 + 1) / 5)
    units = [[label for label in labels if label != "-"] for labels in LABELS.values()]
    assert panel.alpha == krippendorff_alpha(units, "nominal")
    # Shares of a: 1, 2/3, 0, 1/2, 0, 1: mean 19/36. Chance (19^2 + 17^2) / 36^2.
    chance = (19**2 + 17**2) / 36**2
    assert panel.fleiss.value == pytest.approx((2 / 3 - chance) / (1 - chance))
    chance = 2 * 19 * 17 / 36**2
    assert panel.ac1.value == pytest.approx((2 / 3 - chance) / (1 - chance))


def test_chance_agreement_by_category_is_that_of_the_category() -> None:
    categories = {1: "code", 2: "code", 3: "art", 5: "art", 6: "law"}
    panels = agreement_by_category(votes(), categories)
    assert list(panels) == ["art", "code", "law"]
    assert (panels["art"].items, panels["art"].annotators, panels["art"].percent.value) == (2, 3, 1.0)
    assert panels["art"].alpha.value is None  # the only label is b
    assert panels["code"].percent.value == pytest.approx(2 / 3)
    undefined = Estimate(None, None, None)
    law = panels["law"]
    assert (law.items, law.annotators, law.percent, law.ac1) == (0, 0, undefined, undefined)
    # With ten possible labels there is little agreement by chance.
    assert agreement_by_category(votes(), categories, labels="abcdefghij")["art"].ac1.value == pytest.approx(1.0)


def test_the_latest_vote_counts_and_the_order_does_not() -> None:
    earlier = [Vote("bob", 2, "b", when=-1.0), Vote("ann", 3, "a", when=-2.0)]
    mixed = [*votes(), *earlier]
    random.Random(0).shuffle(mixed)
    assert panel_agreement(mixed) == panel_agreement(votes())


def test_levels_other_than_nominal_need_numbers() -> None:
    scored = [Vote("ann", 1, 4), Vote("bob", 1, 5), Vote("ann", 2, 1), Vote("bob", 2, 2), Vote("ann", 3, 9)]
    # By hand: alpha = 1 - 3 (4) / (2 (1 + 9 + 16 + 4 + 9 + 1)): 1 - (2 + 2) / (80 / 3).
    assert panel_agreement(scored, "interval").alpha.value == pytest.approx(1 - 4 / (80 / 3))
    with pytest.raises(DataError, match="not a finite number"):
        panel_agreement(votes(), "ordinal")
