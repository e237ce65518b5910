"""Memory and time of sampling, estimated from two short samples of any model that can be sampled from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import prompts_of, tiny_policy

from gnomon.core.types import Prompt
from gnomon.models.verify_forward import verified
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling
from gnomon.training.runtime import sampling_memory
from gnomon.training.runtime.memory_profile import Shape, peak_bytes
from gnomon.training.runtime.sampling_memory import forward_tokens_per_second, profile_sampling


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("kind", "settings"), [("llama", {}), ("falcon_mamba", {"state_size": 4})], ids=str)
def test_a_model_without_heads_is_tried_too(kind: str, settings: dict[str, Any], words: Any) -> None:
    policy = verified(tiny_policy(words, kind=kind, **settings))
    cost = profile_sampling(policy, prompts_of("a", "b c"), Sampling(completions=2, max_tokens=40), [policy])
    assert cost.bytes > 0
    assert cost.seconds > 0


class Draws:
    """Draws of 500 and 900 bytes, on a clock on which a draw takes 3 s and 0.5 s a token."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 0.0
        self.drawn: list[tuple[int, Sampling]] = []
        self.known: list[int] = []
        monkeypatch.setattr(sampling_memory, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(NativeSampler, "sample", self.sample)
        monkeypatch.setattr(sampling_memory, "peak_bytes", self.peak)

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, *, seed: int) -> None:
        self.drawn.append((len(prompts), sampling))
        self.now += 3 + 0.5 * sampling.max_tokens

    def peak(self, work: Callable[[], None], known: Sequence[torch.Tensor], device: torch.device) -> int:
        work()
        self.known = [id(tensor) for tensor in known]
        return 500 if len(self.drawn) == 1 else 900


PROMPTS = prompts_of("a", "b", "c", "a b", "b c")
PLAIN = {"top_p": 0.9, "repetition_penalty": 1.1}  # settings of the choice of tokens, which a trial keeps


@pytest.mark.parametrize(
    ("batch", "prompts", "seconds", "size"), [(7, 3, 53 * 15 / 7, 233_860), (96, 5, 53.0, 500_100)]
)
def test_memory_and_time_by_hand(
    batch: int, prompts: int, seconds: float, size: int, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of 2 and of 10 tokens take 4 and 8 s, so 100 tokens take 4 + 98 · 0.5 = 53 s.

    That is for a batch; 15 rows in batches of 7 take 15/7 of it. A row's token takes 2 (key, value) · 2 layers ·
    2 heads with keys · 16 wide · 4 bytes = 512. A row has memory for 65 tokens at first, which the longer trial
    has too, and for 130 from the 66th on: 65 · 512 bytes more a row.
    """
    policy, draws = tiny_policy(words, head_dim=16), Draws(monkeypatch)
    sampling = Sampling(completions=3, max_tokens=100, batch=batch, stop=("a",), stop_ids=(5,), **PLAIN)
    cost = profile_sampling(policy, PROMPTS, sampling, [policy])
    assert cost.seconds == pytest.approx(seconds)
    assert cost.bytes == size
    short = [
        Sampling(completions=3, max_tokens=tokens, min_tokens=tokens, batch=batch, **PLAIN) for tokens in (2, 10)
    ]
    assert draws.drawn == [(prompts, one) for one in short]
    weights = [*policy.network.parameters(), *policy.network.buffers()]
    assert len(weights) > len(list(policy.network.parameters()))
    assert {id(weight) for weight in weights} <= set(draws.known)


def test_memory_of_other_caches_grows_by_each_token(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache without slots has memory for its tokens: 90 beyond the longer trial's, of 512 bytes."""
    policy = tiny_policy(words, head_dim=16)
    policy.decoder = "padded"
    Draws(monkeypatch)
    assert profile_sampling(policy, PROMPTS[:1], Sampling(max_tokens=100), [policy]).bytes == 900 + 90 * 512


@pytest.mark.parametrize("tokens", [8, 60, 70, 120, 200, 240])
def test_estimated_memory_is_what_a_sample_takes(tokens: int, words: Any) -> None:
    policy, prompts = tiny_policy(words), prompts_of(*["a", "b c", "c"] * 8)
    sampling = Sampling(completions=2, max_tokens=tokens, min_tokens=tokens)
    estimate = profile_sampling(policy, prompts, sampling, [policy])
    known = [*policy.network.parameters(), *policy.network.buffers()]
    sampler = NativeSampler(policy)

    def sample() -> None:
        sampler.sample(prompts, sampling, seed=0)

    measured = peak_bytes(sample, known, policy.device)
    assert estimate.bytes == pytest.approx(measured, rel=0.15)


def test_without_heads_a_state_is_as_long_as_ever(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Draws(monkeypatch)
    policy = tiny_policy(words, kind="falcon_mamba", state_size=4)
    for name in ("num_attention_heads", "num_key_value_heads"):  # which the test's own sizes gave it
        delattr(policy.network.config, name)
    assert profile_sampling(policy, PROMPTS, Sampling(completions=3, max_tokens=40), [policy]).bytes == 900


def test_completions_shorter_than_a_trial_cost_no_less_than_it(
    words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Draws(monkeypatch)
    cost = profile_sampling(tiny_policy(words), PROMPTS[:1], Sampling(max_tokens=1), [])
    assert (cost.bytes, cost.seconds) == (900, 4.0)


def test_the_pace_of_reading_by_hand(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """512 // (10 + 2 · 6) = 23 groups of 22 tokens in 2 s; no gradient is kept."""
    policy, now, graded = tiny_policy(words), [0.0], list[bool]()

    def logprobs(groups: Any) -> None:
        graded.append(torch.is_grad_enabled())
        now[0] += 2.0

    monkeypatch.setattr(policy, "logprobs", logprobs)
    monkeypatch.setattr(sampling_memory, "time", SimpleNamespace(monotonic=lambda: now[0]))
    assert forward_tokens_per_second(policy, Shape(prompt=10, completion=6, together=2)) == 23 * 22 / 2
    assert graded == [False]
