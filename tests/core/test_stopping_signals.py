"""A stop ends a program with its sentence and status, whatever code it interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gnomon

PROGRAM = """
import os, signal
from gnomon.core.stopping import ending_in_order

with ending_in_order():
    {inner}
"""
KILL = "os.kill(os.getpid(), signal.{name}); [None for _ in range(10**6)]"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("inner", [KILL, f'exec("import os, signal; {KILL}")'], ids=["plain", "within exec"])
def test_a_stop_ends_with_its_sentence_and_status(tmp_path: Path, name: str, inner: str) -> None:
    """Python ends `python -m` by SIGINT after a KeyboardInterrupt within exec, also one that was caught."""
    (tmp_path / "program.py").write_text(PROGRAM.format(inner=inner.format(name=name)), encoding="utf-8")
    command = [sys.executable, "-m", "program"]
    paths = {**os.environ, "PYTHONPATH": str(Path(gnomon.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, timeout=60)
    assert done.stderr == "stopped; run the same command again.\n"
    assert done.returncode == 128 + signal.SIGINT
