"""Held-out prompts in an online stage: never trained on, looked at in time, the best policy kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from function_reward import FunctionReward
from loops import online, recorded, weights_of
from tiny import prompts_of

from gnomon.algorithms.rloo import RLOO
from gnomon.core.errors import ConfigError, Interrupted
from gnomon.core.progress import StopSignal
from gnomon.core.types import Prompt
from gnomon.training.online.held_out import hold_out
from gnomon.training.settings import OnlineValidation

HALF = OnlineValidation(share=0.5, every=2, completions=3)


def test_whole_prompts_are_held_back_from_every_pool() -> None:
    """Ten texts, one of them in both pools under two ids: it is in one part only."""
    first = prompts_of(*(f"a {'b ' * i}" for i in range(6)))
    twin = Prompt("other id", first[0].messages)
    second = [twin, *(Prompt(f"q{i}", p.messages) for i, p in enumerate(prompts_of("c", "c c", "c c c", "b")))]
    remaining, held_out = hold_out([(first, 1.0), (second, 2.0)], OnlineValidation(share=0.3), seed=1)
    assert len(held_out) == 3
    texts = {p.messages for prompts, _ in remaining for p in prompts}
    assert len(texts) == 7
    assert not texts & {p.messages for p in held_out}
    assert [weight for _, weight in remaining] == [1.0, 2.0]
    assert hold_out([(first, 1.0)], None, seed=1) == ([(first, 1.0)], [])
    with pytest.raises(ConfigError, match="holds back 1 of 1 prompts and leaves none of a pool"):
        hold_out([(first[:1], 1.0)], OnlineValidation(), seed=1)


def test_prompts_that_differ_in_their_tools_are_two() -> None:
    (first,) = prompts_of("a")
    second = Prompt("q", first.messages, tools=('{"name": "tide", "description": "Tide."}',))
    ((kept, _),), held = hold_out([([first, second], 1.0)], OnlineValidation(share=0.5), seed=1)
    assert (len(kept), len(held)) == (1, 1)


def test_looks_come_in_time_and_the_best_policy_is_kept(tmp_path: Path, words: Any) -> None:
    """Looks after rounds 2, 4 and 5; the stage ends with the weights of the best one."""
    loop = online(tmp_path, words, steps=5, validation=HALF)
    drawn = set[str]()
    looks: list[tuple[float, list[torch.Tensor]]] = []
    evaluate = loop.evaluate

    def recording() -> dict[str, float]:
        metrics = evaluate()
        looks.append((metrics["score_mean"], weights_of(loop.models)))
        return metrics

    loop.evaluate = recording  # type: ignore[method-assign]
    held_out = {p.id for p in loop.held_out}
    take = loop.stream.take
    loop.stream.take = lambda count: [p for p in take(count) if not drawn.add(p.id)]  # type: ignore[method-assign, func-returns-value]
    loop.run()
    assert len(held_out) == 2
    assert not held_out & drawn
    rows = recorded(tmp_path)
    assert [row["step"] for row in rows if "validation_score_mean" in row] == [2, 4, 5]
    assert {"validation_score_std", "validation_length_mean", "validation_frac_truncated"} <= set(rows[1])
    best = max(looks, key=lambda look: look[0])[1]
    assert all(torch.equal(a, b) for a, b in zip(weights_of(loop.models), best, strict=True))


@pytest.mark.parametrize("call", [1, 9, 13])
def test_stopped_and_resumed_the_same_policy_is_best(tmp_path: Path, words: Any, call: int) -> None:
    settings: dict[str, Any] = {"validation": HALF, "ref_update_interval": 2}
    whole = online(tmp_path / "whole", words, **settings)
    whole.run()
    stop = StopSignal()

    def stopping(n: int) -> None:
        stop.requested = stop.requested or n == call

    with pytest.raises(Interrupted):
        online(tmp_path / "cut", words, before=stopping, stop=stop, **settings).run()
    cut = online(tmp_path / "cut", words, **settings)
    cut.run()
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    both = zip(weights_of(cut.models), weights_of(whole.models), strict=True)
    assert all(torch.equal(a, b) for a, b in both)


def test_patience_ends_a_stage_that_gets_no_better(tmp_path: Path, words: Any) -> None:
    """A flat score is never a new best: the first look is the best, and two more end it."""
    reward = FunctionReward(lambda prompt, text: 1.0, "flat")
    validation = OnlineValidation(share=0.5, every=1, patience=2)
    online(
        tmp_path, words, algorithm=RLOO(), reward=reward, steps=9, validation=validation, truncation_score=None
    ).run()
    assert [row["step"] for row in recorded(tmp_path)] == [1, 2, 3]
