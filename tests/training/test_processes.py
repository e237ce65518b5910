"""One process and two: the same numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loops import recorded
from safetensors.torch import load_file

from gnomon.training.processes import Processes

HERE = Path(__file__).parent


def launch(folder: Path, count: int) -> None:
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [*command, str(HERE / "in_processes.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]


@pytest.mark.long
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """Micro-batches, prompts and rows are shared out; gradients are sums, so nothing but rounding differs.

    Nor does it in what is known of the whole step alone: the baseline of KTO's survey, the groups of GRPO;
    nor in the masks of dropout.
    """
    launch(tmp_path / "one", 1)
    launch(tmp_path / "two", 2)
    alone = load_file(tmp_path / "one" / "weights-0.safetensors")
    for rank in (0, 1):
        together = load_file(tmp_path / "two" / f"weights-{rank}.safetensors")
        assert alone.keys() == together.keys()
        for name, weight in alone.items():
            torch.testing.assert_close(together[name], weight, atol=1e-5, rtol=1e-4, msg=name)
    assert all(row["baseline"] > 0 for row in recorded(tmp_path / "one" / "kto")[-2:])
    assert all(row["kl_loss"] > 0 for row in recorded(tmp_path / "one" / "grpo")[1:])
    for stage in ("sft", "dropout", "ppo", "kto", "grpo"):
        for one, two in zip(recorded(tmp_path / "one" / stage), recorded(tmp_path / "two" / stage), strict=True):
            assert one == pytest.approx(two, rel=1e-3, abs=1e-5)


def test_alone_a_process_shares_with_nobody() -> None:
    processes = Processes()
    assert (processes.rank, processes.count, processes.main) == (0, 1, True)
    assert processes.share([1, 2, 3]) == [1, 2, 3]
    assert processes.gather([1, 2, 3], 3) == [1, 2, 3]
    assert processes.collect("a") == ["a"]
    assert processes.tell("a") == "a"
