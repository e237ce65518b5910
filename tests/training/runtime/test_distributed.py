"""One process and two: the same numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import recorded
from pairs import in_two
from safetensors.torch import load_file

from gnomon.core.errors import RunError
from gnomon.training.runtime import watchdog
from gnomon.training.runtime.distributed import Processes

HERE = Path(__file__).parent


def launch(folder: Path, count: int) -> None:
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    completed = subprocess.run(
        [*command, str(HERE / "in_processes.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-3000:]


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
    assert (processes.rank, processes.count, processes.main, processes.first_on_host) == (0, 1, True, True)
    assert processes.shard([1, 2, 3]) == [1, 2, 3]
    assert processes.unshard([1, 2, 3], 3) == [1, 2, 3]
    assert processes.all_gather("a") == ["a"]
    assert processes.broadcast("a") == "a"


def shares(processes: Processes) -> Any:
    """Five things shared out and put together, one each collected, one told, in both of two processes."""
    shard = processes.shard(["a", "b", "c", "d", "e"])
    whole = processes.unshard([text.upper() for text in shard], 5)
    return [
        [processes.main, processes.first_on_host],
        shard,
        whole,
        processes.all_gather(shard[0]),
        processes.broadcast(f"of {processes.rank}"),
    ]


def gradients(processes: Processes) -> Any:
    """One weight has a gradient in both, one in the first, one in none."""
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
    weights[0].grad = torch.tensor([1.0, 2.0]) * (processes.rank + 1)
    if processes.main:
        weights[1].grad = torch.tensor([5.0, 7.0])
    processes.all_reduce_gradients(weights)
    return [weight.grad.tolist() for weight in weights if weight.grad is not None]


def waits(processes: Processes) -> Any:
    """The first comes half a second late; how long each was at the meeting."""
    processes.barrier()
    if processes.main:
        time.sleep(0.5)
    begun = time.monotonic()
    processes.barrier()
    return time.monotonic() - begun


def everything(processes: Processes) -> Any:
    return [shares(processes), gradients(processes), waits(processes)]


def test_two_processes_by_hand(tmp_path: Path) -> None:
    """Every second item each; whole lists in their order in both; gradients are sums, none counts as zeros."""
    one, other = in_two(everything, tmp_path)
    assert (one.code, other.code) == (0, 0), one.error + other.error
    whole, first = ["A", "B", "C", "D", "E"], ["a", "b"]
    assert one.result[0] == [[True, True], ["a", "c", "e"], whole, first, "of 0"]
    assert other.result[0] == [[False, False], ["b", "d"], whole, first, "of 0"]
    assert one.result[1] == other.result[1] == [[3.0, 6.0], [5.0, 7.0], [0.0, 0.0]]
    assert other.result[2] > 0.4 > one.result[2]


def one_fails(processes: Processes) -> Any:
    if processes.rank == 1:
        raise RunError("the reward 'brief' failed on every completion.")
    return processes.all_gather("mine")


def test_one_that_fails_ends_the_other_with_its_sentence(tmp_path: Path) -> None:
    """Both look at one store, so that the failure is read long before a silence would be noticed."""
    one, other = in_two(one_fails, tmp_path, silence=20.0)
    assert (one.code, other.code) == (2, 2), one.error + other.error
    assert "error: process 1 stopped: the reward 'brief' failed on every completion." in one.error
    assert other.error == "error: the reward 'brief' failed on every completion.\n"


def one_is_killed(processes: Processes) -> Any:
    if processes.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return processes.all_gather("mine")


def test_one_that_is_killed_ends_the_other_within_its_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meeting breaks off with an error that names nobody; who broke it is found out at the meeting."""
    monkeypatch.setattr(watchdog, "FAREWELL", 0.1)
    one, other = in_two(one_is_killed, tmp_path, silence=1.0)
    assert (one.code, other.code) == (2, -signal.SIGKILL), one.error
    assert one.error == "error: process 1 has sent no heartbeat for 1 s; see its log.\n"


def test_alone_nobody_is_watched() -> None:
    threads = threading.active_count()
    processes = Processes()
    with processes.watching():
        assert threading.active_count() == threads
        processes.barrier()
