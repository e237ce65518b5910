"""Stopped or killed at any step and started again: the same numbers, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import Killed, offline, online, recorded, weights_of
from torch import Tensor

from gnomon.core.errors import Interrupted, RunError
from gnomon.core.progress import StopSignal
from gnomon.training.runtime.model_bundle import TrainedModels

Run = Callable[..., TrainedModels]


@pytest.fixture(params=["offline", "online"])
def run(request: pytest.FixtureRequest, words: Any) -> Run:
    """Either loop, on fresh models, in one call; seven or sixteen losses."""
    if request.param == "offline":
        return offline

    def run_online(folder: Path, **settings: Any) -> TrainedModels:
        loop = online(folder, words, **settings)
        loop.run()
        return loop.models

    return run_online


def same(weights: list[Tensor], expected: list[Tensor]) -> None:
    assert len(weights) == len(expected) > 0
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))


def test_two_runs_are_the_same(run: Run, tmp_path: Path) -> None:
    one, other = run(tmp_path / "one"), run(tmp_path / "other")
    assert recorded(tmp_path / "one") == recorded(tmp_path / "other")
    same(weights_of(one), weights_of(other))


@pytest.mark.parametrize("call", [1, 3, 6])
def test_stopped_and_resumed(run: Run, tmp_path: Path, call: int) -> None:
    """Ctrl-C during any step: the step is finished and saved, and the next start goes on behind it."""
    expected = run(tmp_path / "whole")
    stop = StopSignal()

    def before(n: int) -> None:
        stop.requested = stop.requested or n == call

    with pytest.raises(Interrupted, match="saved; run the same command again"):
        run(tmp_path / "cut", before=before, stop=stop)
    done = len(recorded(tmp_path / "cut"))
    assert 0 < done < len(recorded(tmp_path / "whole"))
    resumed = run(tmp_path / "cut")
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    same(weights_of(resumed), weights_of(expected))


def test_killed_far_behind_a_checkpoint(run: Run, tmp_path: Path) -> None:
    """Steps that metrics.jsonl has and no checkpoint has are done again and stand there once."""
    expected = run(tmp_path / "whole")
    stop = StopSignal()

    def request_stop(n: int) -> None:
        stop.requested = True

    def kill(n: int) -> None:
        if n == 6:  # with four losses a round, in the round after next
            raise Killed

    with pytest.raises(Interrupted):
        run(tmp_path / "cut", before=request_stop, stop=stop)
    with pytest.raises(Killed):
        run(tmp_path / "cut", before=kill)
    ahead = len(recorded(tmp_path / "cut"))
    assert ahead > 1
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99, "lo')  # a line that the kill cut short
    resumed = run(tmp_path / "cut")
    assert [row["step"] for row in recorded(tmp_path / "cut")] == [
        r["step"] for r in recorded(tmp_path / "whole")
    ]
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    same(weights_of(resumed), weights_of(expected))


def test_killed_before_every_step_in_turn(run: Run, tmp_path: Path) -> None:
    """Saved after each step and killed in each: every start takes one step further."""
    expected = run(tmp_path / "whole", checkpoint_seconds=0)
    planned = len(recorded(tmp_path / "whole"))

    def kill_second_step(n: int) -> None:
        if n == (5 if planned == 4 else 2):
            raise Killed

    for start in range(planned - 1):
        with pytest.raises(Killed):
            run(tmp_path / "cut", before=kill_second_step, checkpoint_seconds=0)
        assert len(recorded(tmp_path / "cut")) == start + 1
    resumed = run(tmp_path / "cut", checkpoint_seconds=0)
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    same(weights_of(resumed), weights_of(expected))


def test_stopped_in_the_last_step(run: Run, tmp_path: Path) -> None:
    """What the message says was saved is saved: nothing is left to do, and nothing is done twice."""
    expected = run(tmp_path / "whole")
    stop, last = StopSignal(), 4 * 4 if len(recorded(tmp_path / "whole")) == 4 else 7

    def request_stop(n: int) -> None:
        stop.requested = n == last

    with pytest.raises(Interrupted):
        run(tmp_path / "cut", before=request_stop, stop=stop)

    def never(n: int) -> None:
        raise AssertionError("trained again")

    resumed = run(tmp_path / "cut", before=never)
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    same(weights_of(resumed), weights_of(expected))


def test_the_step_of_a_stop_reaches_the_watch_once(run: Run, tmp_path: Path) -> None:
    """Ctrl-C during a step: trackers have that step, and the next start sends the next one."""
    stop, seen = StopSignal(), list[int]()

    def before(n: int) -> None:
        stop.requested = stop.requested or n == 2

    def callback(step: int, _: Any) -> bool:
        seen.append(step)
        return False

    with pytest.raises(Interrupted):
        run(tmp_path, before=before, stop=stop, callback=callback)
    assert seen == [row["step"] for row in recorded(tmp_path)]
    run(tmp_path, callback=callback)
    assert seen == [row["step"] for row in recorded(tmp_path)]


def test_an_end_reached_in_the_step_of_a_stop_is_an_end(run: Run, tmp_path: Path) -> None:
    """Stopped in the very step that ends the loop: the next start trains no further."""

    def until(step: int, _: Any) -> bool:
        return step == 2

    expected = run(tmp_path / "whole", callback=until)
    assert len(recorded(tmp_path / "whole")) == 2
    stop = StopSignal()

    def callback(step: int, metrics: Any) -> bool:
        stop.requested = stop.requested or step == 2
        return until(step, metrics)

    with pytest.raises(Interrupted, match="stopped after step 2"):
        run(tmp_path / "cut", stop=stop, callback=callback)
    resumed = run(tmp_path / "cut", callback=until)
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    same(weights_of(resumed), weights_of(expected))


def test_samples_survive_a_stop(words: Any, tmp_path: Path) -> None:
    whole = online(tmp_path / "whole", words)
    whole.run()
    stop = StopSignal()

    def request_stop(n: int) -> None:
        stop.requested = True

    with pytest.raises(Interrupted):
        online(tmp_path / "cut", words, before=request_stop, stop=stop).run()
    again = online(tmp_path / "cut", words)
    again.run()
    samples = [(tmp_path / name / "samples.jsonl").read_text() for name in ("whole", "cut")]
    assert samples[0] == samples[1]
    assert samples[0].count("\n") == 4 * 6
    assert again.kl_coef == whole.kl_coef != 0.15


def test_another_models_checkpoint_is_refused(tmp_path: Path, words: Any) -> None:
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Interrupted):
        offline(tmp_path, stop=stop)
    with pytest.raises(RunError, match="another model or adapter"):
        online(tmp_path, words).run()
