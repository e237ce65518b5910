"""Agreement among raters, against published figures, figures derived by hand, and invariances."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from published import FIGURES

from gnomon.core.errors import DataError
from gnomon.stats.agreement import (
    Level,
    Units,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    percent_agreement,
)
from gnomon.stats.intervals import Estimate, wilson_interval

UNDEFINED = Estimate(None, None, None)
FEW = settings(max_examples=25, deadline=None)


def by_units(raters: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Transpose [raters][units], with None for a missing label, to the labels of each unit."""
    return [[label for label in unit if label is not None] for unit in zip(*raters, strict=True)]


def from_counts(counts: Sequence[Sequence[int]]) -> list[list[int]]:
    return [[label for label, times in enumerate(row) for _ in range(times)] for row in counts]


def from_table(table: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    return [(i, j) for i, row in enumerate(table) for j, times in enumerate(row) for _ in range(times)]


WIKIPEDIA_3X15 = by_units(FIGURES["krippendorff_wikipedia_3x15"]["raters_x_units"])
KRIPPENDORFF_4X12 = by_units(FIGURES["krippendorff_4x12"]["raters_x_units_null_missing"])
FLEISS = from_counts(FIGURES["fleiss_wikipedia"]["counts_subjects_x_categories"])
# The first example of the R package irrCAC: two abstractors, three labels.
ABSTRACTORS = from_table([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
COEFFICIENTS: list[Callable[[Units], Estimate]] = [
    percent_agreement,
    fleiss_kappa,
    gwet_ac1,
    lambda units: krippendorff_alpha(units, "nominal"),
]


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("krippendorff_wikipedia_3x15", "nominal"),
        ("krippendorff_wikipedia_3x15", "ordinal"),
        ("krippendorff_wikipedia_3x15", "interval"),
        ("krippendorff_4x12", "nominal"),
        ("krippendorff_4x12", "ordinal"),
        ("krippendorff_4x12", "interval"),
        ("krippendorff_4x12", "ratio"),
        ("krippendorff_binary_2x10", "nominal"),
        ("krippendorff_nominal_2x12", "nominal"),
    ],
)
def test_alpha_against_published_figures(name: str, level: Level) -> None:
    figures = FIGURES[name]
    raters = figures.get("raters_x_units") or figures["raters_x_units_null_missing"]
    alpha = krippendorff_alpha(by_units(raters), level)
    assert alpha.value == pytest.approx(figures[level], abs=1e-6)
    assert alpha.low is not None
    assert alpha.high is not None
    assert alpha.low < figures[level] < alpha.high <= 1


def test_fleiss_kappa_against_published_figures() -> None:
    figures = FIGURES["fleiss_wikipedia"]
    assert fleiss_kappa(FLEISS).value == pytest.approx(figures["kappa"], abs=1e-9)
    assert percent_agreement(FLEISS).value == pytest.approx(figures["P_bar"], abs=1e-9)
    assert krippendorff_alpha(FLEISS, "nominal").value == pytest.approx(figures["krippendorff_nominal"], abs=1e-9)
    # By hand: solved for chance agreement, kappa gives (P - k) / (1 - k).
    kappa, observed = figures["kappa"], figures["P_bar"]
    assert (observed - kappa) / (1 - kappa) == pytest.approx(figures["P_e"], abs=1e-8)


def test_coefficients_with_missing_labels_equal_those_of_irr_cac() -> None:
    """Coefficients and intervals for these four raters in the documentation of irrCAC."""
    figures = FIGURES["krippendorff_4x12"]
    fleiss, ac1 = fleiss_kappa(KRIPPENDORFF_4X12), gwet_ac1(KRIPPENDORFF_4X12)
    assert fleiss.value == pytest.approx(figures["fleiss_generalised_irrCAC"], abs=5e-6)
    assert ac1.value == pytest.approx(figures["gwet_ac1"], abs=5e-6)
    assert (ac1.low, ac1.high) == pytest.approx((0.461, 1.0), abs=5e-4)
    assert percent_agreement(KRIPPENDORFF_4X12).value == pytest.approx(0.8181818, abs=1e-7)
    two = gwet_ac1(ABSTRACTORS)
    assert two.value == pytest.approx(0.8493305, abs=1e-7)
    assert (two.low, two.high) == pytest.approx((0.764, 0.935), abs=1e-3)


@pytest.mark.parametrize("name", ["cohen_wikipedia_50", "cohen_fce1969"])
def test_cohen_kappa_against_published_figures(name: str) -> None:
    figures = FIGURES[name]
    kappa = cohen_kappa(from_table(figures["table"]))
    assert kappa.estimate.value == pytest.approx(figures["kappa"], abs=1e-7)
    assert kappa.error == pytest.approx(figures["ase"], abs=5e-5 if figures["ase"] == 0.127 else 1e-6)
    assert kappa.null_error == pytest.approx(figures["ase_null"], abs=5e-5 if figures["ase"] == 0.127 else 1e-6)
    assert kappa.items == sum(map(sum, figures["table"]))
    half = 1.959964 * figures["ase"]
    assert kappa.estimate.low == pytest.approx(figures["kappa"] - half, abs=2e-4)
    assert kappa.estimate.high == pytest.approx(figures["kappa"] + half, abs=2e-4)


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_weighted_cohen_kappa_against_published_figures(weights: Literal["linear", "quadratic"]) -> None:
    figures = FIGURES["cohen_fce1969"]
    kappa = cohen_kappa(from_table(figures["table"]), weights)
    assert kappa.estimate.value == pytest.approx(figures[weights], abs=1e-7)


def test_cohen_kappa_equals_that_of_irr_cac() -> None:
    kappa = cohen_kappa(ABSTRACTORS)
    assert kappa.estimate.value == pytest.approx(0.7964094, abs=1e-7)
    assert kappa.error == pytest.approx(0.05891072, abs=1e-7)


def test_cohen_weights_depend_on_the_values_of_labels_and_not_on_their_ranks() -> None:
    """By hand, linear, labels 1, 2, 10: D = 9. (1,2), (10,10), (2,1): agreement 8/9, 1, 8/9, mean 25/27.

    Margins are 1/3 each: expected (3 + 2 (8 + 0 + 1)/9) / 9 = 5/9. kappa = (25/27 - 15/27) / (12/27) = 5/6.
    By rank, with D = 2, it would be (2/3 - 5/9) / (4/9) = 1/4.
    """
    kappa = cohen_kappa([(1, 2), (10, 10), (2, 1)], "linear")
    assert kappa.estimate.value == pytest.approx(5 / 6)


def test_cohen_error_is_the_spread_of_samples() -> None:
    """Kappa's spread over 400 samples of 300 items is the asymptotic error; the interval covers 95 in 100."""
    rng = np.random.default_rng(0)
    truth = np.array([[0.3, 0.1, 0.05], [0.05, 0.2, 0.05], [0.0, 0.05, 0.2]])
    kappa = (0.7 - truth.sum(0) @ truth.sum(1)) / (1 - truth.sum(0) @ truth.sum(1))
    kappas = [
        cohen_kappa([divmod(int(cell), 3) for cell in rng.choice(9, 300, p=truth.ravel())]) for _ in range(400)
    ]
    values = np.array([sample.estimate.value for sample in kappas], dtype=np.float64)
    errors = np.array([sample.error for sample in kappas], dtype=np.float64)
    assert values.std() == pytest.approx(errors.mean(), rel=0.12)  # relative error of a spread of 400: about 1/28
    inside = np.abs(values - kappa) < 1.96 * errors
    assert 0.91 < inside.mean() < 0.985


def test_gwet_intervals_cover_the_true_value() -> None:
    """Three annotators who err one time in five, 120 items, some with two votes: coverage is 95 in 100."""
    rng = np.random.default_rng(1)

    def sample(items: int) -> list[list[int]]:
        truth = rng.choice(3, items, p=[0.6, 0.3, 0.1])
        labels = np.where(rng.random((items, 3)) < 0.2, rng.integers(3, size=(items, 3)), truth[:, None])
        return [row[: 2 + (n % 3 > 0)].tolist() for n, row in enumerate(labels)]

    large = sample(60_000)
    for coefficient in (fleiss_kappa, gwet_ac1):
        true = coefficient(large).value
        assert true is not None
        covered = 0
        for _ in range(200):
            estimate = coefficient(sample(120))
            assert estimate.low is not None
            assert estimate.high is not None
            covered += estimate.low <= true <= estimate.high
        assert 0.90 < covered / 200 < 0.99


def test_percent_agreement_by_hand() -> None:
    """Of xxy one pair of three is equal, of xx the only pair, y has no pair: (1/3 + 1) / 2."""
    percent = percent_agreement([["x", "x", "y"], ["x", "x"], ["y"], []])
    assert percent.value == pytest.approx(2 / 3)
    assert (percent.low, percent.high) == wilson_interval(4 / 3, 2)


def test_with_one_dominant_label_fleiss_kappa_is_low_and_ac1_is_high() -> None:
    """By hand, 98 xx, 1 xy, 1 yx: P = 0.98, shares 0.99 and 0.01; Fleiss' chance 0.9802, AC1's 2*0.99*0.01."""
    units = [["x", "x"]] * 98 + [["x", "y"], ["y", "x"]]
    assert fleiss_kappa(units).value == pytest.approx((0.98 - 0.9802) / (1 - 0.9802))
    assert gwet_ac1(units).value == pytest.approx((0.98 - 0.0198) / (1 - 0.0198))


def test_ac1_counts_possible_labels_without_votes() -> None:
    """By hand: P = 1/2, shares 3/4 and 1/4. Of two labels chance is 2*3/16 = 3/8; of three, half of that."""
    units = [["x", "x"], ["x", "y"]]
    assert gwet_ac1(units).value == pytest.approx((1 / 2 - 3 / 8) / (5 / 8))
    assert gwet_ac1(units, ["x", "y", "z"]).value == pytest.approx((1 / 2 - 3 / 16) / (13 / 16))
    assert gwet_ac1([["x", "x"]] * 3, ["x", "y"]) == Estimate(1.0, None, None)


def test_alpha_depends_on_the_distances_of_the_values() -> None:
    """By hand, units [0, 10] and [0, 0]: coincidences o(0,10) = o(10,0) = 1, o(0,0) = 2; n = 3, 1.

    Expected disagreement: e(0,10) = 3 * 1 / 3 = 1, so alpha = 1 - 1/1 = 0, at every level, since one distance
    cancels. With [0, 1], [0, 10], [10, 10] the levels differ. Nominal: o = 4 off the diagonal; n = 2, 1, 3;
    e = (36 - 14) / 5 = 4.4; alpha = 1 - 4 / 4.4. Interval: o: 2 * (1 + 100) = 202;
    e: 2 * (2 * 1 + 6 * 100 + 3 * 81) / 5 = 338; alpha = 1 - 202 / 338.
    """
    assert krippendorff_alpha([[0, 10], [0, 0]], "interval").value == pytest.approx(0.0)
    units = [(0.0, 1), (0, 10.0), (10, 10)]  # 10 and 10.0 are one label
    assert krippendorff_alpha(units, "nominal").value == pytest.approx(1 - 4 / 4.4)
    assert krippendorff_alpha(units, "interval").value == pytest.approx(1 - 202 / 338)


@pytest.mark.parametrize("units", [[], [[]], [["a"], ["b"]]])
def test_coefficients_without_comparable_items_are_undefined(units: list[list[str]]) -> None:
    for coefficient in COEFFICIENTS:
        assert coefficient(units) == UNDEFINED


@pytest.mark.parametrize("units", [[["a", "a"], ["a", "a"]], [["a", "a"], ["b"]]])
def test_with_a_single_label_only_percent_agreement_is_defined(units: list[list[str]]) -> None:
    """The comparable items have one label, so chance agrees everywhere."""
    assert percent_agreement(units).value == 1.0
    assert krippendorff_alpha(units, "nominal") == UNDEFINED
    if units[1] != ["b"]:
        assert fleiss_kappa(units) == gwet_ac1(units) == UNDEFINED


def test_undefined_cohen_kappa_is_none() -> None:
    for pairs in ([], [("a", "a")] * 5):
        kappa = cohen_kappa(pairs)
        assert (kappa.estimate, kappa.error, kappa.null_error, kappa.items) == (UNDEFINED, None, None, len(pairs))


def test_perfect_agreement_has_no_interval() -> None:
    units = [["a", "a"], ["b", "b"], ["a", "a"], ["b", "b"]]
    for coefficient in COEFFICIENTS[1:]:
        assert coefficient(units) == Estimate(1.0, None, None)
    perfect = cohen_kappa([("a", "a"), ("b", "b")])
    assert perfect.estimate == Estimate(1.0, None, None)
    assert perfect.error == pytest.approx(0.0)
    assert percent_agreement(units).low == pytest.approx(0.5101, abs=1e-4)  # Wilson's 4 of 4: 4 / (4 + 1.96^2)


def test_levels_and_weights_refuse_labels_that_are_no_numbers() -> None:
    invalid: list[Hashable] = ["x", float("nan"), None]
    for bad in invalid:
        with pytest.raises(DataError, match="not a finite number"):
            krippendorff_alpha([(1.0, bad)], "interval")
        with pytest.raises(DataError, match="not a finite number"):
            cohen_kappa([(1, bad)], "linear")
    with pytest.raises(DataError, match="a ratio scale begins at 0"):
        krippendorff_alpha([[1, -2], [2, 3]], "ratio")
    # Zeros are on a ratio scale: two of them do not differ. By hand: 1 - (1/2) / (2/3).
    assert krippendorff_alpha([[0, 0], [0, 1]], "ratio").value == pytest.approx(0.0)


def test_alpha_interval_narrows_with_units_and_depends_on_the_seed() -> None:
    few = krippendorff_alpha(KRIPPENDORFF_4X12, "interval")
    many = krippendorff_alpha(KRIPPENDORFF_4X12 * 25, "interval")
    assert few.low is not None
    assert few.high is not None
    assert many.low is not None
    assert many.high is not None
    # 25 times the units: an interval about a fifth as wide.
    assert 0.1 < (many.high - many.low) / (few.high - few.low) < 0.35
    assert krippendorff_alpha(KRIPPENDORFF_4X12, "interval", seed=1).low != few.low


UNITS = st.lists(st.lists(st.integers(0, 3), max_size=5), min_size=1, max_size=12)


def same(one: Estimate, other: Estimate) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and math.isclose(a, b, abs_tol=1e-9))
        for a, b in ((one.value, other.value), (one.low, other.low), (one.high, other.high))
    )


@FEW
@given(units=UNITS, data=st.data())
def test_names_of_labels_and_order_change_nothing(units: list[list[int]], data: st.DataObject) -> None:
    """Labels are renamed in their order, votes shuffled within items, and items except for alpha's bootstrap."""
    renamed = [[f"label {label}" for label in data.draw(st.permutations(unit))] for unit in units]
    shuffled = data.draw(st.permutations(units))
    for number, coefficient in enumerate(COEFFICIENTS):
        assert same(coefficient(units), coefficient(renamed))
        if number < 3:
            assert same(coefficient(units), coefficient(shuffled))


@FEW
@given(units=UNITS, swap=st.permutations(range(4)))
def test_nominal_coefficients_ignore_the_order_of_labels(units: list[list[int]], swap: list[int]) -> None:
    swapped = [[swap[label] for label in unit] for unit in units]
    for coefficient in COEFFICIENTS[:4]:
        assert same(coefficient(units), coefficient(swapped))
    assert krippendorff_alpha(units, "nominal").value == pytest.approx(
        krippendorff_alpha(swapped, "nominal").value
    )


@FEW
@given(labels=st.lists(st.integers(0, 3), min_size=2, max_size=12), raters=st.integers(2, 4))
def test_identical_raters_agree_perfectly(labels: list[int], raters: int) -> None:
    units = [[label] * raters for label in labels]
    varied = len(set(labels)) > 1
    assert percent_agreement(units).value == 1.0
    for coefficient in COEFFICIENTS[1:]:
        assert coefficient(units).value == (pytest.approx(1.0) if varied else None)
    assert cohen_kappa([(one, one) for one in labels]).estimate.value == (pytest.approx(1.0) if varied else None)


@FEW
@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30),
    swap=st.permutations(range(4)),
)
def test_cohen_kappa_is_symmetric_and_ignores_names_of_labels(
    pairs: list[tuple[int, int]], swap: list[int]
) -> None:
    kappa = cohen_kappa(pairs)
    reversed_kappa = cohen_kappa([(other, one) for one, other in pairs])
    renamed = cohen_kappa([(swap[one], swap[other]) for one, other in pairs])
    assert same(kappa.estimate, reversed_kappa.estimate)
    assert same(kappa.estimate, renamed.estimate)
    assert kappa.null_error == pytest.approx(reversed_kappa.null_error, abs=1e-7)


@FEW
@given(pairs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=30))
def test_cohen_kappa_equals_the_plain_formula(pairs: list[tuple[Hashable, Hashable]]) -> None:
    """(P - E) / (1 - E) from plain counts; for two labels per item, P has Wilson's interval of the share."""
    n = len(pairs)
    observed = sum(one == other for one, other in pairs) / n
    labels = {label for pair in pairs for label in pair}
    expected = sum(sum(p[0] == x for p in pairs) * sum(p[1] == x for p in pairs) for x in labels) / n**2
    kappa = cohen_kappa(pairs).estimate.value
    assert kappa == (None if len(labels) == 1 else pytest.approx((observed - expected) / (1 - expected)))
    percent = percent_agreement(pairs)
    assert (percent.low, percent.high) == pytest.approx(wilson_interval(observed * n, n))
