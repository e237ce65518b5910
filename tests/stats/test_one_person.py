"""What one person chose beside what the others chose, by hand."""

from __future__ import annotations

from gnomon.stats.one_person import LeftOut, from_ratings, from_votes


def test_votes_by_hand() -> None:
    """Of 1, 1, 0 the others of both ones are tied; the zero disagrees with both others."""
    assert from_votes([1, 1, 0]) == (LeftOut(0, 1),)
    assert from_votes([1, 1, 1]) == (LeftOut(1, 1),) * 3
    assert from_votes([0, 0.5]) == (LeftOut(0.5, -1),)  # of the tie's other; the other's other is tied
    assert from_votes([1]) == ()


def test_agreement_of_persons_and_judges() -> None:
    assert [LeftOut(vote, -1).person for vote in (0, 0.5, 1)] == [1, 0.5, 0]
    assert [LeftOut(0, 1).agreement(gap) for gap in (2.5, 0, -0.1)] == [1, 0.5, 0]


def test_ratings_of_named_raters_are_compared_with_their_own() -> None:
    """Ada: 5 against 1, the rest 2 against 4. Bo: 2 against 4, the rest 5 against 1. Cy rated one text."""
    left_out = from_ratings([5, 2], [1, 4], (("ada", "bo"), ("ada", "bo")))
    assert left_out == (LeftOut(1, -1), LeftOut(0, 1))
    assert from_ratings([5, 2], [1, 4], (("ada", "bo"), ("ada", "cy"))) == (LeftOut(1, -1),)


def test_ratings_without_names_are_combined_in_all_ways() -> None:
    """5 or 2 against 1 or 4, and what is left of each: (2, 4), (2, 1), (5, 4), (5, 1)."""
    assert from_ratings([5, 2], [1, 4]) == (LeftOut(1, -1), LeftOut(1, 1), LeftOut(1, 1), LeftOut(0, 1))
    assert from_ratings([5], [1, 4]) == ()
    assert from_ratings([3, 3], [3, 3]) == ()
