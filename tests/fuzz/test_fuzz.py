"""Thousands of bad inputs to the whole command line: no traceback, no hang, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[2]
SEED, CASES, SERVERS = "gnomon", 3200, 2


def test_bad_input_never_ends_in_a_traceback_a_hang_or_leftovers(tmp_path: Path) -> None:
    each = CASES // SERVERS
    folders = [tmp_path / str(number) for number in range(SERVERS)]
    for folder in (tmp_path, *folders):
        folder.mkdir(exist_ok=True)
    server = str(Path(__file__).with_name("fork_server.py"))
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT), os.environ.get("PYTHONPATH", "")])
    processes = [
        subprocess.Popen(
            [sys.executable, server, SEED, str(number * each), str(each), str(folder)],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        )
        for number, folder in enumerate(folders)
    ]
    rows: list[dict[str, Any]] = []
    for process in processes:
        rows += map(json.loads, process.communicate()[0].splitlines())
        assert process.returncode == 0
    kinds, statuses = Counter[str](), Counter[str]()
    for row in rows:
        kinds.update(row.get("kinds", {}))
        statuses.update(row.get("statuses", {}))
    slowest = max(row.get("slowest", 0.0) for row in rows)
    print(f"\n{kinds.total()} cases, {dict(kinds)}; statuses {dict(statuses)}; slowest {slowest} s")
    assert kinds.total() == CASES
    wrong = [row for row in rows if "fault" in row]
    assert not wrong, "\n".join(json.dumps(row, ensure_ascii=False) for row in wrong[:20])
