"""Agreement of raters on preferences and on a file of ratings."""

from __future__ import annotations

from pathlib import Path

import pytest
from quality_rows import cleaned, pair

from gnomon.core.errors import DataError


def test_a_preference_is_agreed_on_whichever_side_most_raters_prefer(tmp_path: Path) -> None:
    shares = [1.0, 0.7, 0.69, 0.5, 0.3, 0.31]
    rows = [pair(f"Question number {n}", probability=share) for n, share in enumerate(shares)]
    result = cleaned(tmp_path, rows, {"agreement": "drop", "near_duplicates": "off"})
    assert result.why("agreement") == {
        "line 3": "69% of raters agree, fewer than 70%",
        "line 4": "50% of raters agree, fewer than 70%",
        "line 6": "69% of raters agree, fewer than 70%",
    }
    assert [row["probability"] for row in result.clean] == [1.0, 0.7, 0.3]


def ratings(several: list[list[float]]) -> list[dict[str, object]]:
    return [{"id": f"t{n}", "text": f"Text number {n}", "ratings": own} for n, own in enumerate(several)]


def test_ratings_that_agree_by_chance_are_refused_as_a_whole(tmp_path: Path) -> None:
    opposed = ratings([[1, 5], [5, 1], [1, 5], [5, 1]])
    with pytest.raises(DataError, match=r"alpha of the ratings is -0\.\d+, below min_alpha 0.2"):
        cleaned(tmp_path, opposed, {"agreement": "drop", "near_duplicates": "off"})
    reported = cleaned(tmp_path, opposed, {"near_duplicates": "off"})
    alpha = reported.report.filters["agreement"].figures["krippendorff_alpha"]
    assert isinstance(alpha, float)
    assert alpha < 0
    agreed = ratings([[1, 1], [5, 5], [2, 2], [4, 4]])
    assert len(cleaned(tmp_path, agreed, {"agreement": "drop", "near_duplicates": "off"}).clean) == 4
