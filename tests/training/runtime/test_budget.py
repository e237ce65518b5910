from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import demonstrations, offline, online, recorded, weights_of

from gnomon.core.errors import Interrupted
from gnomon.core.progress import StopSignal
from gnomon.training.offline.loop import batches
from gnomon.training.runtime.budget import Budget
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.sft_mix import AuxiliarySFT
from gnomon.training.settings import LoopSettings, OfflineSettings


def budget(**settings: Any) -> Budget:
    return Budget(LoopSettings(**settings), Processes())


# --- The budget itself ---------------------------------------------------------------------------------------


def test_the_plan_follows_the_pace() -> None:
    """100 of 400 tokens in 5 steps: 15 more at that pace. The bound is kept."""
    limited = budget(budget_tokens=400)
    limited.start()
    assert limited.planned_steps(0, 1000) == 1000
    limited.tokens = 100
    assert (limited.planned_steps(5, 1000), limited.planned_steps(5, 12)) == (20, 12)
    limited.tokens = 399
    assert limited.planned_steps(19, 1000) == 20
    assert not limited.exhausted
    limited.tokens = 400
    assert limited.exhausted
    assert limited.progress(20, 1000) == (100, 100)


def test_what_came_before_the_first_step_is_no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 s for the reference's answers, then 2 steps of 10 s: of 100 s there are 40 left, for 4 steps more."""
    clock = [1000.0]
    monkeypatch.setattr("gnomon.training.runtime.budget.time.monotonic", lambda: clock[0])
    limited = budget(budget_seconds=100)
    clock[0] += 40
    limited.start()
    clock[0] += 20
    limited.update()
    assert limited.seconds == 60
    assert limited.planned_steps(2, 1000) == 6
    again = budget(budget_seconds=100)
    clock[0] += 500  # between the two starts
    again.restore(limited.state())
    clock[0] += 10
    again.update()
    assert again.seconds == 70
    assert again.planned_steps(3, 1000) == 6


def test_the_sooner_of_two_ends_it() -> None:
    limited = budget(budget_tokens=100, budget_seconds=1e9)
    limited.tokens = 100
    assert limited.exhausted
    assert not budget().exhausted
    assert budget().progress(3, 7) == (3, 7)
    assert budget().planned_steps(3, 7) == 7


# --- In the loops --------------------------------------------------------------------------------------------


def test_offline_counts_prompts_and_completions(tmp_path: Path) -> None:
    offline(tmp_path)
    settings = OfflineSettings(epochs=2.6, batch_size=4)
    expected, counted = 0, []
    examples = demonstrations()
    for batch in batches(len(examples), settings, 3):
        expected += sum(len(examples[i].prompt) + len(examples[i].completions[0]) for i in batch)
        counted.append(float(expected))
    assert [row["tokens_seen"] for row in recorded(tmp_path)] == counted


def test_a_side_task_counts_too() -> None:
    examples = demonstrations()
    sft_mix = AuxiliarySFT(examples, weight=1.0, batch_size=10, seed=0)
    assert sft_mix.tokens(1) == sft_mix.tokens(2) == sum(len(e.prompt) + len(e.completions[0]) for e in examples)


def test_offline_stops_after_the_step_that_passes_it(tmp_path: Path) -> None:
    offline(tmp_path / "whole")
    seen = [row["tokens_seen"] for row in recorded(tmp_path / "whole")]
    offline(tmp_path / "three", budget_tokens=int(seen[2]), epochs=1000)
    assert [row["tokens_seen"] for row in recorded(tmp_path / "three")] == seen[:3]
    offline(tmp_path / "four", budget_tokens=int(seen[2]) + 1, epochs=1000)
    assert len(recorded(tmp_path / "four")) == 4
    offline(tmp_path / "one", budget_seconds=1e-9, epochs=1000)
    assert len(recorded(tmp_path / "one")) == 1  # it was spent before, but a stage learns something


def test_the_learning_rate_ends_with_the_budget(tmp_path: Path) -> None:
    offline(tmp_path, budget_tokens=400, epochs=1000, warmup=0, schedule="linear", learning_rate=0.01)
    rates = [row["learning_rate"] for row in recorded(tmp_path)]
    assert rates[0] == 0.01
    assert rates[-1] < 0.2 * 0.01
    assert all(after < before for before, after in pairwise(rates[1:]))


def test_online_counts_samples_and_passes(tmp_path: Path, words: Any) -> None:
    """Each round's samples: drawn once, then two passes; a prompt once for its two completions."""
    loop = online(tmp_path, words)
    drawn = []
    sample = loop.sample

    def spied(step: int, attempt: int = 0) -> Any:
        rollouts = sample(step, attempt)
        drawn.append(
            sum(len(r.token_ids) for r in rollouts)
            + sum({r.prompt.id: len(r.prompt_ids) for r in rollouts}.values())
        )
        return rollouts

    loop.sample = spied  # type: ignore[method-assign]
    loop.run()
    expected = [3.0 * sum(drawn[: n + 1]) for n in range(4)]
    assert [row["tokens_seen"] for row in recorded(tmp_path)] == expected


def test_online_stops_after_the_round_that_passes_it(tmp_path: Path, words: Any) -> None:
    online(tmp_path / "whole", words).run()
    first = recorded(tmp_path / "whole")[0]["tokens_seen"]
    for budget_tokens, rounds in [(first, 1), (first + 1, 2)]:
        folder = tmp_path / str(rounds)
        last = online(folder, words, steps=1000, budget_tokens=int(budget_tokens)).run()
        seen = [row["tokens_seen"] for row in recorded(folder)]
        assert len(seen) == rounds
        assert seen[0] == first
        assert seen[-1] == last["tokens_seen"] >= budget_tokens


@pytest.mark.parametrize("kind", ["offline", "online"])
def test_a_budget_survives_a_stop(kind: str, tmp_path: Path, words: Any) -> None:
    def run(folder: Path, **more: Any) -> list[torch.Tensor]:
        if kind == "offline":
            return weights_of(offline(folder, epochs=1000, budget_tokens=300, **more))
        loop = online(folder, words, steps=1000, budget_tokens=900, **more)
        loop.run()
        return weights_of(loop.models)

    expected, stop = run(tmp_path / "whole"), StopSignal()

    def request_stop(call: int) -> None:
        stop.requested = stop.requested or call == 5

    with pytest.raises(Interrupted):
        run(tmp_path / "cut", before=request_stop, stop=stop)
    resumed = run(tmp_path / "cut")
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    assert len(recorded(tmp_path / "whole")) > 3
    assert all(torch.equal(a, b) for a, b in zip(resumed, expected, strict=True))
