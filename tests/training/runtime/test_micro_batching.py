"""A device whose memory runs out: smaller micro-batches, the same numbers, and a sentence where nothing fits."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import offline, online, recorded, weights_of
from tiny import prompts_of, tiny_policy, word_tokenizer
from torch import Tensor

from gnomon.algorithms.bco import BCO
from gnomon.algorithms.dpo import DPO
from gnomon.algorithms.sft import SFT
from gnomon.core.errors import RunError
from gnomon.data.encoding import Example
from gnomon.models.roles import Model
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.runtime.distributed import Processes
from gnomon.training.runtime.micro_batching import TokenBudget
from gnomon.training.runtime.sft_mix import AuxiliarySFT


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Passes over more tokens than this raise what PyTorch raises on a GPU, every second one on its way back."""

    def limited(most: int) -> list[int]:
        refused: list[int] = []
        states = Model._states

        def short(model: Model, tokens: Any, at: Any) -> Tensor:
            hidden = states(model, tokens, at)
            if tokens.cost <= most:
                return hidden
            refused.append(tokens.cost)
            if len(refused) % 2 and hidden.requires_grad:
                return Explodes.apply(hidden)  # type: ignore[no-any-return, no-untyped-call]
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(Model, "_states", short)
        return refused

    return limited


class Explodes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor) -> Tensor:
        return states.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


def close(one: list[Any], other: list[Any]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("algorithm", [SFT(), DPO(), BCO()], ids=["sft", "dpo", "bco"])
def test_stored_data(
    algorithm: Any, memory: Callable[[int], list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = offline(tmp_path / "whole", algorithm=algorithm)
    refused = memory(25)
    models_after_retries = offline(tmp_path / "cut", algorithm=algorithm, micro_batch_tokens=64)
    assert refused
    close(weights_of(models_after_retries), weights_of(expected))
    for row, whole_row in zip(recorded(tmp_path / "cut"), recorded(tmp_path / "whole"), strict=True):
        assert row == pytest.approx(whole_row, rel=1e-3, abs=1e-5)
    err = " ".join(capsys.readouterr().err.split())
    assert "the device's memory ran out; continuing with micro-batches of 32 tokens" in err


def test_rounds_with_a_critic_and_demonstrations(memory: Callable[[int], list[int]], tmp_path: Path) -> None:
    def run(name: str, **settings: Any) -> tuple[list[Tensor], list[dict[str, Any]]]:
        shown = [Example(f"d{i}", (5, 6 + i % 2), ((7, 5, 6, 0)[i % 3 :],)) for i in range(7)]
        sft_mix = AuxiliarySFT(shown, weight=0.5, batch_size=5, seed=0)
        loop = replace(online(tmp_path / name, word_tokenizer(), steps=3, **settings), sft_mix=sft_mix)
        loop.run()
        return weights_of(loop.models), recorded(tmp_path / name)

    weights, metrics = run("whole")
    refused = memory(30)
    cut_weights, cut_metrics = run("cut", micro_batch_tokens=160)
    assert refused
    close(cut_weights, weights)
    for row, other in zip(cut_metrics, metrics, strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_a_prompt_that_never_fits_is_said(memory: Callable[[int], list[int]], tmp_path: Path) -> None:
    memory(1)
    with pytest.raises(RunError, match="does not hold a micro-batch of one prompt; set gradient_checkpointing"):
        offline(tmp_path, algorithm=SFT(), micro_batch_tokens=64)


def test_other_errors_are_not_about_memory() -> None:
    token_budget = TokenBudget(64)
    attempt = next(token_budget.attempts())
    with pytest.raises(RuntimeError, match="another"), attempt:
        raise RuntimeError("another")
    assert not attempt.ran_out
    assert token_budget.tokens == token_budget.initial_tokens


def test_attempts_halve_the_budget_until_one_succeeds() -> None:
    token_budget, budgets = TokenBudget(64), list[int]()
    for attempt in token_budget.attempts():
        with attempt:
            budgets.append(token_budget.tokens)
            if token_budget.tokens > 16:
                raise torch.OutOfMemoryError
    assert budgets == [64, 32, 16]
    assert (token_budget.tokens, token_budget.initial_tokens) == (16, 64)


def test_the_tensors_of_a_failed_attempt_are_freed_before_the_next() -> None:
    """The frames that the error passed through hold them, and no traceback holds the frames."""
    alive = list[weakref.ref[Tensor]]()

    def work() -> None:
        tensor = torch.zeros(3)
        alive.append(weakref.ref(tensor))
        if len(alive) == 1:
            raise torch.OutOfMemoryError
        assert alive[0]() is None

    for attempt in TokenBudget(64).attempts():
        with attempt:
            work()
    assert len(alive) == 2


def test_rows_are_split_by_their_own_costs_and_shared_out() -> None:
    """Rows 1, 3, 4, 6 cost 5, 9, 2, 4: of 10 tokens {3}, {1, 6}, {4}; then of 5 tokens {1} and {6} apart."""

    class Second(Processes):
        def shard(self, items: Any) -> Any:
            return list(items[1::2])

    token_budget, costs = TokenBudget(10), [0, 5, 0, 9, 2, 0, 4]
    assert token_budget.micro_batches([1, 3, 4, 6], costs, Processes()) == [[3], [1, 6], [4]]
    assert token_budget.micro_batches([1, 3, 4, 6], costs, Second()) == [[1, 6]]
    token_budget.tokens = 5
    assert token_budget.micro_batches([1, 3, 4, 6], costs, Processes()) == [[3], [1], [6], [4]]


def test_sampling_goes_on_with_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The completions are the same: each draws from a stream of its own."""
    words = word_tokenizer()
    sampler = NativeSampler(tiny_policy(words))
    sampling = Sampling(completions=3, max_tokens=6)
    prompts = prompts_of("a", "b b", "c")
    expected = [r.token_ids for r in sampler.sample(prompts, sampling, seed=1)]
    complete = NativeSampler._complete
    tried: list[int] = []

    def short(self: NativeSampler, requests: Any, settings: Sampling) -> None:
        tried.append(settings.batch)
        complete(self, requests, settings)
        if settings.batch > least:
            raise torch.OutOfMemoryError

    monkeypatch.setattr(NativeSampler, "_complete", short)
    least = 24
    assert [r.token_ids for r in sampler.sample(prompts, sampling, seed=1)] == expected
    assert [r.token_ids for r in sampler.sample(prompts, sampling, seed=1)] == expected
    assert tried == [96, 48, 24, 24]
    least = 0
    with pytest.raises(RunError, match="does not hold one completion being drawn"):
        sampler.sample(prompts, sampling, seed=1)
