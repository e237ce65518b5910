"""Scores of a judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quality_rows import cleaned, pair

from gnomon.core.types import Completion, Prompt
from gnomon.data.quality.contract import Tools


def by_number(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    """The number that a completion is, NaN for other texts."""
    assert len(prompts) == len(completions)
    return [float(one.text) if one.text.lstrip("-").isdigit() else math.nan for one in completions]


def judged(folder: Path, **settings: Any) -> Any:
    rows = [pair("p", "5", "1"), pair("q", "-3", "-9"), pair("r", "1", "4"), pair("s", "none", "2")]
    filters = {"judge": {"judge": "made-up", **settings}, "near_duplicates": "off"}
    return cleaned(folder, rows, filters, Tools(score=by_number))


def test_a_low_score_of_the_chosen_side_is_found_and_a_missing_score_is_counted(tmp_path: Path) -> None:
    result = judged(tmp_path, min_score=0)
    assert result.why("judge") == {"line 2": "made-up scores it -3, below 0"}
    assert result.report.filters["judge"].figures == {"mean_score": 1.0, "not_scored": 1}


def test_a_judge_that_prefers_the_rejected_side_is_found(tmp_path: Path) -> None:
    assert judged(tmp_path, min_gap=0).why("judge") == {"line 3": "made-up scores chosen 1 and rejected 4"}
