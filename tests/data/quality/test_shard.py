"""Checks of rows as a function over shards, alone and in worker processes of another engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import write_rows
from quality_rows import lines, pair

from gnomon.core.errors import DataError
from gnomon.core.types import Preference
from gnomon.data.quality.registry import build_filters
from gnomon.data.quality.shard import RowChecks

DOCS = Path(__file__).parents[3] / "docs"


def test_a_shard_gives_a_row_for_each_row_with_the_first_filter_that_drops_it() -> None:
    filters = {"refusals": "drop", "personal_data": "mask", "length": {"max_characters": 40}}
    checks = RowChecks(Preference, build_filters(filters))
    rows: list[tuple[str, dict[str, Any] | DataError]] = [
        ("a", pair("Mail ann@example.org")),
        ("b", pair(chosen="I'm sorry, I can't do that." + "x" * 40)),
        ("c", DataError("cut")),
        ("d", {"prompt": "Why?"}),
    ]
    masked, refused, cut, missing = checks(rows)
    assert masked.rejected is None
    assert b"[EMAIL]" in masked.line
    assert masked.findings == (("personal_data", "prompt holds an e-mail address"),)
    assert refused.rejected is not None
    assert refused.rejected.filter == "length"
    assert cut.rejected is not None
    assert (cut.rejected.reason, cut.line) == ("cut", b"null")
    assert missing.rejected is not None
    assert "no 'chosen' in it" in missing.rejected.reason


@pytest.mark.slow
def test_the_example_of_the_docs_runs_with_two_workers(tmp_path: Path) -> None:
    rows = [pair(f"Question {n}", "I cannot assist you." if n % 3 == 0 else f"Answer {n}.") for n in range(60)]
    write_rows(tmp_path / "pairs-1.jsonl", rows[:30])
    write_rows(tmp_path / "pairs-2.jsonl", rows[30:])
    section = (DOCS / "data.md").read_text("utf-8").partition("## Large data")[2]
    script = section.partition("```python\n")[2].partition("```")[0]
    assert "num_proc=2" in script
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    assert len(lines(tmp_path / "checked.jsonl")) == 40
