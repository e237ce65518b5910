"""The sampler draws from the model's distribution, and reports the true log-probability of each token."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from tiny import prompts_of, rows_of, tiny_policy
from transformers import AutoModelForCausalLM, OPTConfig

from gnomon.core.batches import TokenGroups
from gnomon.core.errors import ConfigError, DataError
from gnomon.core.experience import Rollout
from gnomon.core.types import Prompt
from gnomon.data.templates.rendering import render_prompt
from gnomon.models.engine.device import Compute
from gnomon.models.roles import Policy
from gnomon.models.settings import Trainable
from gnomon.rollouts import choice
from gnomon.rollouts.choice import decoder_for
from gnomon.rollouts.decoding import PaddedDecoder, SlotDecoder
from gnomon.rollouts.experience import token_groups_of
from gnomon.rollouts.sampler import NativeSampler, occurrence_index
from gnomon.rollouts.sampling_params import Sampling

PROMPTS = prompts_of("a", "b a c a b a c", "c c", "a b")


@pytest.fixture(params=["slots", "unpadded", "recomputing"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The laws hold for every way of drawing; padded rows and rows alone differ from the unpadded in little."""
    monkeypatch.setattr(choice, "_chosen", lambda _: request.param)


def sample(policy: Policy, *, seed: int = 0, **sampling: Any) -> list[Rollout]:
    return NativeSampler(policy).sample(PROMPTS, Sampling(**sampling), seed=seed)


@pytest.mark.parametrize("batch", [100, 8])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_logprobs_are_those_that_the_trainer_computes(
    dtype: torch.dtype, near: float, kind: str, batch: int, words: Any
) -> None:
    window: dict[str, Any] = {"sliding_window": 6} if kind == "mistral" else {}
    policy = tiny_policy(words, kind=kind, **window)
    policy.compute = Compute(policy.device, dtype)
    rollouts = sample(policy, completions=4, max_tokens=9, temperature=1.7, batch=batch)
    groups = token_groups_of(rollouts)
    assert len({len(r.token_ids) for r in rollouts}) > 1
    assert [len(p) for p in groups.prompts] != [len(groups.prompts[0])] * 4
    with torch.no_grad():
        result = rows_of(policy.logprobs(groups, temperature=1.7), groups)
    for rollout, row in zip(rollouts, result, strict=True):
        torch.testing.assert_close(torch.tensor(rollout.logprobs), row, atol=near, rtol=0)


def test_the_adapter_takes_part(words: Any) -> None:
    policy = tiny_policy(words, Trainable(rank=4))
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(torch.randn_like(parameter))
    rollouts = sample(policy, completions=2, max_tokens=4)
    groups = token_groups_of(rollouts)
    with torch.no_grad():
        result = rows_of(policy.logprobs(groups), groups)
    assert (policy.reference_logprobs(groups) - policy.logprobs(groups)).abs().max() > 0.1
    for rollout, row in zip(rollouts, result, strict=True):
        torch.testing.assert_close(torch.tensor(rollout.logprobs), row, atol=1e-4, rtol=0)


def greedy(policy: Policy, ids: list[int], limit: int) -> list[int]:
    """The likeliest token, again and again, without a cache."""
    end: int = policy.tokenizer.eos_token_id
    result: list[int] = []
    while len(result) < limit and (not result or result[-1] != end):
        with torch.no_grad():
            result.append(int(policy.network(torch.tensor([ids + result])).logits[0, -1].argmax()))
    return result


@pytest.mark.usefixtures("way")
def test_top_k_1_is_greedy_decoding(words: Any) -> None:
    policy = tiny_policy(words, seed=4)
    rollouts = sample(policy, top_k=1, max_tokens=9)
    expected = [greedy(policy, render_prompt(words, p), 9) for p in PROMPTS]
    assert [list(r.token_ids) for r in rollouts] == expected
    assert [r.logprobs for r in rollouts] == [(0.0,) * len(ids) for ids in expected]


@pytest.mark.parametrize("decoder", ["slots", "unpadded"])
def test_frequencies_are_the_models_probabilities(decoder: Any, words: Any) -> None:
    """All 8 + 7·8 completions of at most two tokens are enumerated; χ² over 6,000 draws at a fixed seed."""
    policy, end, count = tiny_policy(words), words.eos_token_id, 6000
    policy.decoder = decoder
    every = [(end,)] + [(a, b) for a, b in itertools.product(range(8), range(8)) if a != end]
    prompt = render_prompt(words, PROMPTS[1])
    with torch.no_grad():
        groups = TokenGroups.build([prompt], every, [0] * len(every))
        exact = policy.logprobs(groups, temperature=1.3).sum(1).exp().double()
    assert exact.sum().item() == pytest.approx(1.0, abs=1e-5)
    sampling = Sampling(completions=count, max_tokens=2, temperature=1.3, batch=count)
    drawn = [r.token_ids for r in NativeSampler(policy).sample([PROMPTS[1]], sampling, seed=1)]
    often = torch.tensor([drawn.count(ids) for ids in every], dtype=torch.float64)
    assert often.sum() == count
    expected = exact / exact.sum() * count
    assert expected.min() > 5
    assert chisquare(often.numpy(), expected.numpy()).pvalue > 0.001


@pytest.mark.usefixtures("way")
def test_an_end_is_the_last_token_of_a_completion(words: Any) -> None:
    rollouts = sample(tiny_policy(words), completions=8, max_tokens=5)
    end = words.eos_token_id
    assert {r.finished for r in rollouts} == {True, False}
    for rollout in rollouts:
        assert len(rollout.logprobs) == len(rollout.token_ids)
        assert end not in rollout.token_ids[:-1]
        assert rollout.finished == (rollout.token_ids[-1] == end)
        assert rollout.finished or len(rollout.token_ids) == 5
        assert "<end>" not in rollout.completion.text


@pytest.mark.usefixtures("way")
def test_k_completions_for_each_prompt_in_order(words: Any) -> None:
    policy = tiny_policy(words)
    rollouts = NativeSampler(policy).sample(PROMPTS, Sampling(completions=3, batch=6), seed=0, policy_version=7)
    assert [r.prompt.id for r in rollouts] == [p.id for p in PROMPTS for _ in range(3)]
    assert len({r.completion.id for r in rollouts}) == 12
    assert {r.policy_version for r in rollouts} == {7}
    assert all(r.prompt_ids == tuple(render_prompt(words, r.prompt)) for r in rollouts)


@pytest.mark.usefixtures("way")
def test_the_seed_decides(words: Any) -> None:
    policy = tiny_policy(words)
    first, again, other = ([r.token_ids for r in sample(policy, completions=4, seed=seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def tokens_of(rollouts: Sequence[Rollout]) -> list[tuple[int, ...]]:
    return [r.token_ids for r in rollouts]


def assert_same(result: Sequence[Rollout], expected: Sequence[Rollout], atol: float = 1e-5) -> None:
    assert tokens_of(result) == tokens_of(expected)
    for one, other in zip(result, expected, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=atol)
        assert (one.completion.id, one.finish_reason) == (other.completion.id, other.finish_reason)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "mistral"])
@pytest.mark.parametrize("batch", [1, 3, 5, 50])
def test_completions_do_not_depend_on_the_batch(kind: str, batch: int, words: Any) -> None:
    """Batches in which rows wait, enter beside longer ones and leave, against a prompt and a row at a time."""
    window: dict[str, Any] = {"sliding_window": 6} if kind == "mistral" else {}
    policy = tiny_policy(words, kind=kind, **window)
    sampling = Sampling(completions=4, max_tokens=12, batch=1)
    alone = [r for p in PROMPTS for r in NativeSampler(policy).sample([p], sampling, seed=3)]
    assert len({len(r.token_ids) for r in alone}) > 3
    together = sampling.model_copy(update={"batch": batch})
    assert_same(NativeSampler(policy).sample(PROMPTS, together, seed=3), alone)
    turned = NativeSampler(policy).sample(PROMPTS[::-1], together, seed=3)
    assert_same([r for p in PROMPTS for r in turned if r.prompt == p], alone)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_every_decoder_draws_the_same(kind: str, words: Any) -> None:
    policy = tiny_policy(words, kind=kind)
    assert isinstance(decoder_for(policy), SlotDecoder)
    result = sample(policy, completions=5, max_tokens=12, batch=7)
    for policy.decoder in set(choice.DECODERS) - {"slots"}:
        assert_same(result, sample(policy, completions=5, max_tokens=12, batch=7))


def test_windows_and_attention_without_our_mask_get_the_cache_of_transformers(words: Any) -> None:
    assert isinstance(decoder_for(tiny_policy(words, kind="mistral", sliding_window=6)), PaddedDecoder)
    eager = tiny_policy(words)
    eager.network.config._attn_implementation = "eager"
    assert isinstance(decoder_for(eager), PaddedDecoder)
    assert isinstance(decoder_for(tiny_policy(words, kind="stablelm")), PaddedDecoder)  # has attention of its own


@pytest.mark.usefixtures("way")
def test_a_repeated_prompt_continues_its_numbers(words: Any) -> None:
    policy = tiny_policy(words)
    twice = NativeSampler(policy).sample([PROMPTS[0]] * 2, Sampling(completions=2, max_tokens=8), seed=0)
    once = NativeSampler(policy).sample(PROMPTS[:1], Sampling(completions=4, max_tokens=8), seed=0)
    assert_same(twice, once)
    assert len(set(tokens_of(once))) > 2


@pytest.mark.usefixtures("way")
def test_a_helping_may_be_drawn_elsewhere(words: Any) -> None:
    sampler, sampling = NativeSampler(tiny_policy(words)), Sampling(completions=2, max_tokens=8)
    twice = sampler.sample([PROMPTS[0], PROMPTS[1], PROMPTS[0]], sampling, seed=0)
    assert occurrence_index([PROMPTS[0], PROMPTS[1], PROMPTS[0]]) == [0, 0, 1]
    assert_same(twice[4:], sampler.sample(PROMPTS[:1], sampling, seed=0, first_indices=[2]))
    assert twice[4].completion.id == "p0/2"


def test_a_trunk_that_ends_in_a_projection_draws_in_bfloat16(words: Any) -> None:
    """OPT with word embeddings narrower than its layers: under autocast its states are bfloat16."""
    shape: dict[str, Any] = {"hidden_size": 32, "word_embed_proj_dim": 16, "ffn_dim": 48, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 4, "max_position_embeddings": 32, "init_std": 0.2, "dropout": 0.0}
    torch.manual_seed(0)
    config = OPTConfig(vocab_size=len(words), bos_token_id=0, eos_token_id=0, pad_token_id=0, **shape)
    network = AutoModelForCausalLM.from_config(config).eval()
    policy = Policy(network, words, Compute(torch.device("cpu"), torch.bfloat16))
    rollouts = sample(policy, completions=2, max_tokens=4)
    groups = token_groups_of(rollouts)
    with torch.no_grad():
        result = rows_of(policy.logprobs(groups), groups)
    for rollout, row in zip(rollouts, result, strict=True):
        torch.testing.assert_close(torch.tensor(rollout.logprobs), row, atol=0.05, rtol=0)


@pytest.mark.usefixtures("way")
def test_seeds_of_the_prompts_own(words: Any) -> None:
    """They take the place of ids: the same seed and text draw the same, and another seed something else."""
    sampler, sampling = NativeSampler(tiny_policy(words)), Sampling(completions=2, max_tokens=8)
    alike = [Prompt(name, PROMPTS[0].messages) for name in "xyz"]
    result = tokens_of(sampler.sample(alike, sampling, seed=0, seeds=[4, 5, 4]))
    assert result[:2] == result[4:] != result[2:4]
    assert tokens_of(sampler.sample(alike[1:], sampling, seed=0, seeds=[5, 4])) == result[2:]
    assert tokens_of(sampler.sample(alike, sampling, seed=1, seeds=[4, 5, 4])) != result


@pytest.mark.usefixtures("way")
def test_temperature_0_is_greedy_with_the_plain_logprobs(words: Any) -> None:
    policy = tiny_policy(words, seed=4)
    rollouts = sample(policy, temperature=0, max_tokens=9)
    assert [list(r.token_ids) for r in rollouts] == [greedy(policy, list(r.prompt_ids), 9) for r in rollouts]
    groups = token_groups_of(rollouts)
    with torch.no_grad():
        for rollout, row in zip(rollouts, rows_of(policy.logprobs(groups), groups), strict=True):
            assert rollout.logprobs == pytest.approx(row.tolist(), abs=1e-4)


@pytest.mark.usefixtures("way")
def test_min_tokens_and_no_repeated_ngrams_hold(words: Any) -> None:
    policy, end = tiny_policy(words), words.eos_token_id
    rollouts = sample(policy, completions=6, max_tokens=9, min_tokens=4, no_repeat_ngram=2)
    for rollout in rollouts:
        ids = [*rollout.prompt_ids, *rollout.token_ids]
        assert end not in rollout.token_ids[:4]
        pairs = list(itertools.pairwise(ids))
        before = len(rollout.prompt_ids) - 1
        new = [pair for pair in pairs[before:] if pair[1] != end]
        assert len(set(new)) == len(new)
        assert not set(new) & set(pairs[:before])
    assert any(end in r.token_ids for r in rollouts)


@pytest.mark.usefixtures("way")
def test_ids_that_end_a_completion(words: Any) -> None:
    end, b = words.eos_token_id, words.convert_tokens_to_ids("b")
    rollouts = sample(tiny_policy(words), completions=8, max_tokens=6, stop_ids=[b])
    assert {r.finish_reason for r in rollouts} == {"end", "stop", "length"}
    for rollout in rollouts:
        last = {"end": end, "stop": b}.get(rollout.finish_reason, rollout.token_ids[-1])
        assert rollout.token_ids[-1] == last
        assert not {end, b} & set(rollout.token_ids[:-1])
        assert "b" not in rollout.completion.text
        assert rollout.finished == (rollout.finish_reason != "length")


@pytest.mark.usefixtures("way")
def test_a_text_that_ends_a_completion(words: Any) -> None:
    """`c a` comes from two tokens; both stay among the tokens, and the text ends before them."""
    rollouts = sample(tiny_policy(words), completions=12, max_tokens=9, stop=["c a", "b b"])
    stopped = [r for r in rollouts if r.finish_reason == "stop"]
    assert len(stopped) > 5
    assert any(r.completion.text for r in stopped)
    for rollout in rollouts:
        decoded = words.decode(list(rollout.token_ids), skip_special_tokens=True)
        assert (rollout.finish_reason == "stop") == decoded.endswith(("c a", "b b"))
        assert "c a" not in rollout.completion.text
        if rollout.finish_reason == "stop":
            assert rollout.completion.text == decoded[:-3].strip()
            assert len(rollout.logprobs) == len(rollout.token_ids)


def test_a_merged_adapter_draws_the_same_tokens(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy(words, Trainable(rank=4))
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    before = {name: p.clone() for name, p in policy.network.named_parameters()}
    result = sample(policy, completions=3, max_tokens=8)
    after = dict(policy.network.named_parameters())
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    monkeypatch.setattr("gnomon.rollouts.sampler.merged", lambda _: nullcontext())
    assert_same(result, sample(policy, completions=3, max_tokens=8), atol=1e-4)


def test_a_prompt_that_leaves_no_room_is_refused_before_anything_is_drawn(words: Any) -> None:
    policy = tiny_policy(words, max_position_embeddings=20)
    reports: list[int] = []
    sampler = NativeSampler(policy, reports.append)
    sampler.sample(PROMPTS, Sampling(max_tokens=9), seed=0)
    reports.clear()
    with pytest.raises(DataError, match=r"prompt 'p1' has 11 tokens.*max_tokens 10.*context of 20; shorten it"):
        sampler.sample(PROMPTS, Sampling(max_tokens=10), seed=0)
    assert not reports


@pytest.mark.usefixtures("way")
def test_progress_counts_drawn_completions(words: Any) -> None:
    reports: list[int] = []
    sampler = NativeSampler(tiny_policy(words), reports.append)
    sampler.sample(PROMPTS, Sampling(completions=3, batch=5, max_tokens=6), seed=0)
    assert reports == sorted(set(reports))
    assert reports[-1] == 12


def test_a_stop_id_beyond_the_vocabulary_is_refused(words: Any) -> None:
    with pytest.raises(ConfigError, match="stop_ids: 8 is not in the model's vocabulary of 8"):
        sample(tiny_policy(words), stop_ids=[7, 8])
