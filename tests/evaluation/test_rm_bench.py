"""RM-Bench: the matrix of styles and its three accuracies, by hand."""

from __future__ import annotations

import pytest

from gnomon.core.errors import DataError
from gnomon.evaluation.rm_bench import DOMAINS, StyleAccuracy, overall, style_accuracy, style_matrix

LOVES_STYLE = ([1, 3, 5], [0, 2, 4])  # each style is worth 2, being right 1
KNOWS = ([9, 8, 7], [1, 2, 3])


def test_the_matrix_by_hand() -> None:
    """Concise 1 beats 0 alone; plain 3 beats 0 and 2; Markdown 5 beats all."""
    assert style_matrix([LOVES_STYLE]).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert style_accuracy([LOVES_STYLE]) == StyleAccuracy(easy=1, normal=1, hard=0)
    assert style_accuracy([KNOWS]) == StyleAccuracy(1, 1, 1)


def test_rows_of_the_matrix_are_the_right_answers() -> None:
    """One cell: the concise right answer above the Markdown wrong one alone; it is hard, one of three cells."""
    prompt = ([2, 0, 0], [3, 3, 1])
    assert style_matrix([prompt]).tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert style_accuracy([prompt]).hard == pytest.approx(1 / 3)
    assert style_accuracy([([0, 0, 2], [1, 3, 3])]).easy == pytest.approx(1 / 3)


def test_prompts_are_averaged_and_equal_scores_are_wrong() -> None:
    mean = style_accuracy([LOVES_STYLE, KNOWS])
    assert (mean.easy, mean.normal, mean.hard) == (1, 1, 0.5)
    assert mean.average == pytest.approx(2.5 / 3)
    assert style_accuracy([([1, 1, 1], [1, 1, 1])]) == StyleAccuracy(0, 0, 0)


def test_the_whole_is_the_mean_of_four_domains() -> None:
    """Safety is the mean of its two parts: easy (1 + 0 + 0 + (1 + 0)/2)/4 = 0.375."""
    one, none = StyleAccuracy(1, 0.5, 0), StyleAccuracy(0, 0, 0)
    domains = dict(zip(DOMAINS, (one, none, none, one, none), strict=True))
    assert overall(domains) == StyleAccuracy(0.375, 0.1875, 0)
    assert overall({"chat": one}) is None
    with pytest.raises(DataError, match="no domain 'law'; choose among chat"):
        overall({"law": one})


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "needs a prompt"),
        ([([1, 2], [1, 2, 3])], "has not 3 right and 3 wrong"),
        ([KNOWS, ([1, 2], [1, 2])], "has not 3 right and 3 wrong"),
        ([([1, 2, float("nan")], [1, 2, 3])], "not a finite number"),
    ],
)
def test_damaged_prompts(prompts: list[tuple[list[float], list[float]]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        style_matrix(prompts)
