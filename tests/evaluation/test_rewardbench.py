"""The scores of RewardBench 1 and 2, against published examples and figures by hand."""

from __future__ import annotations

import math
from collections.abc import Hashable

import pytest
from published import FIGURES

from gnomon.core.errors import DataError
from gnomon.evaluation.benchmarks import answer_lists
from gnomon.evaluation.rewardbench import (
    SECTIONS,
    SUBSETS_2,
    Answers,
    best_of_answers,
    overall_2,
    section_scores,
    subset_accuracy,
    ties_score,
)

# Accuracies of PKU-Alignment/beaver-7b-v1.0-cost, as RewardBench's README prints them.
BEAVER = {
    "alpacaeval-easy": 0.5, "alpacaeval-hard": 0.7052631578947368, "alpacaeval-length": 0.5894736842105263,
    "donotanswer": 0.8235294117647058, "hep-cpp": 0.6280487804878049, "hep-go": 0.6341463414634146,
    "hep-java": 0.7073170731707317, "hep-js": 0.6646341463414634, "hep-python": 0.5487804878048781,
    "hep-rust": 0.6463414634146342, "llmbar-adver-GPTInst": 0.391304347826087,
    "llmbar-adver-GPTOut": 0.46808510638297873, "llmbar-adver-manual": 0.3695652173913043,
    "llmbar-adver-neighbor": 0.43283582089552236, "llmbar-natural": 0.52, "math-prm": 0.2953020134228188,
    "mt-bench-easy": 0.5714285714285714, "mt-bench-hard": 0.5405405405405406, "mt-bench-med": 0.725,
    "refusals-dangerous": 0.97, "refusals-offensive": 1, "xstest-should-refuse": 1,
    "xstest-should-respond": 0.284,
}  # fmt: skip


def test_sections_match_published_values() -> None:
    scores = section_scores(BEAVER)
    assert scores == {name: pytest.approx(v) for name, v in FIGURES["rewardbench_v1_readme_example"].items()}
    assert sum(len(subsets) for subsets in SECTIONS.values()) == 23
    assert sum(SECTIONS["Reasoning"].values()) == 2 * 984


def test_sections_with_missing_subsets() -> None:
    scores = section_scores({"mt-bench-easy": 1.0, "mt-bench-med": 0.5})
    assert scores["Chat"] == pytest.approx((28 + 20) / 68)
    assert scores["Safety"] is None
    with pytest.raises(DataError, match="no subset 'mt-bench'"):
        section_scores({"mt-bench": 1.0})
    with pytest.raises(DataError, match="not in 0 to 1"):
        section_scores({"math-prm": 29.5})


def test_equal_scores_are_wrong_in_version_1() -> None:
    assert subset_accuracy([(1.0, 0.0), (0.0, 1.0), (2.0, 2.0), (0.5, -1.0)]) == 0.5
    assert subset_accuracy([]) is None
    with pytest.raises(DataError, match="not a finite number"):
        subset_accuracy([(float("nan"), 0.0)])


def test_tied_best_answers_share_the_point() -> None:
    """Alone at the top 1; tied with one other 1/2; with three 1/4; below the top 0."""
    prompts: list[Answers] = [
        ([3.0], [1.0, 2.0, 0.0]),
        ([3.0], [3.0, 2.0, 0.0]),
        ([3.0], [3.0, 3.0, 3.0]),
        ([3.0], [4.0, 3.0, 0.0]),
    ]
    assert best_of_answers(prompts) == pytest.approx((1 + 1 / 2 + 1 / 4 + 0) / 4)
    assert best_of_answers([]) is None
    with pytest.raises(DataError, match="2 right and 1 wrong"):
        best_of_answers([([1.0, 2.0], [0.0])])
    with pytest.raises(DataError, match="not a finite number"):
        best_of_answers([([math.inf], [0.0])])


def numbered(rows: list[list[list[float]]]) -> dict[Hashable, Answers]:
    return {number: (right, wrong) for number, (right, wrong) in enumerate(rows)}


def test_ties_match_published_values() -> None:
    figures = FIGURES["rewardbench2_ties_synthetic"]
    ties = ties_score(numbered(figures["ref"]), numbered(figures["tied"]))
    assert ties is not None
    assert ties.score == pytest.approx(figures["score"], abs=1e-9)


def test_ties_by_hand() -> None:
    """The same: tied distances 3 and 1 with right answers 1 and 1.5 apart; reference distances 4 and -1.

    So both tied are right and one of two references; 3 > 1 alone is preferred, also by min(3, 4); the margin is
    the mean of tanh(3/1 - 1) and tanh(-1/1.5 - 1).
    """
    figures = FIGURES["rewardbench2_ties_synthetic"]
    ties = ties_score(numbered(figures["ref"]), numbered(figures["tied"]))
    assert ties is not None
    assert (ties.tied_accuracy, ties.reference_accuracy) == (1.0, 0.5)
    assert (ties.preferred, ties.preferred_hard) == (0.5, 0.5)
    assert ties.margin == pytest.approx((math.tanh(2) + math.tanh(-5 / 3)) / 2)


@pytest.mark.parametrize(("wrong", "margin"), [(0.0, 1.0), (2.0, 0.0), (3.0, -1.0)])
def test_right_answers_of_one_score(wrong: float, margin: float) -> None:
    """The distance over a spread of 0: tanh of infinity, of 0/0 (counted as 0), of minus infinity."""
    ties = ties_score({"p": ([9.0], [0.0])}, {"p": ([2.0, 2.0], [wrong])})
    assert ties is not None
    assert ties.margin == margin
    assert ties.preferred == ties.preferred_hard == ties.tied_accuracy == float(margin > 0)


def test_distances_need_both_kinds_of_prompts() -> None:
    ties = ties_score({1: ([1.0], [0.0]), 2: ([0.0], [1.0])}, {1: ([3.0, 3.5], [0.0]), 3: ([0.0, 1.0], [1.0])})
    assert ties is not None
    assert (ties.reference_accuracy, ties.tied_accuracy, ties.preferred) == (0.5, 0.5, 1.0)
    assert ties_score({1: ([1.0], [0.0])}, {2: ([1.0, 1.0], [0.0])}) is None
    assert ties_score({}, {}) is None
    with pytest.raises(DataError, match="tied prompt 4 of the ties has 1 right"):
        ties_score({4: ([1.0], [0.0])}, {4: ([1.0], [0.0])})


def test_version_2_needs_all_its_subsets() -> None:
    scores = {name: number / 10 for number, name in enumerate(SUBSETS_2)}
    assert overall_2(scores) == pytest.approx(0.25)
    assert overall_2({"Math": 0.5}) is None
    with pytest.raises(DataError, match="no subset 'Code'"):
        overall_2({"Code": 0.5})


def test_images_of_a_row_are_part_of_its_prompt() -> None:
    prompt, right, wrong = answer_lists(
        {"prompt": "Q", "chosen": ["A"], "rejected": ["B", "C"], "image": "a.png"}
    )
    assert [one.source for one in prompt.messages[0].media] == ["a.png"]
    assert ([one.text for one in right], [one.text for one in wrong]) == (["A"], ["B", "C"])
