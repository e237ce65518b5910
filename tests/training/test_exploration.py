"""Where completions come from besides the plain policy, and which prompts are asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from function_reward import FunctionReward
from loops import online, recorded, weights_of
from tiny import prompts_of
from torch import Tensor

from gnomon.algorithms.rloo import RLOO
from gnomon.core.batches import StepTotals, TokenGroups
from gnomon.core.experience import Experience, Rollout
from gnomon.core.types import Completion
from gnomon.rollouts.experience import sequence_kl, soft_overlong
from gnomon.training.online.loop import OnlineLoop
from gnomon.training.online.policy_update import minibatches, rows_with_signal
from gnomon.training.online.prompt_stream import PromptStream
from gnomon.training.online.replay_buffer import ReplayBuffer, ReplayGroup
from gnomon.training.online.round_metrics import describe, zero_variance_groups
from gnomon.training.runtime.distributed import Processes
from gnomon.training.settings import Curriculum, Exploration, KLSettings, Replay

PROMPTS = prompts_of("a", "b", "c", "d")


# Prompts.


def test_pools_are_drawn_by_weight_and_each_is_walked_whole() -> None:
    easy, hard = PROMPTS[:2], PROMPTS[2:]
    stream = PromptStream([(easy, 3.0), (hard, 1.0)], seed=1)
    counts = Counter(p.id for p in stream.take(400))
    assert counts["p0"] + counts["p1"] == pytest.approx(300, abs=30)
    assert abs(counts["p0"] - counts["p1"]) <= 1
    assert abs(counts["p2"] - counts["p3"]) <= 1


def test_a_stream_goes_on_where_it_was() -> None:
    pools = [(PROMPTS[:3], 1.0), (PROMPTS[3:], 0.5)]
    whole = PromptStream(pools, seed=4, curriculum=Curriculum())
    first = whole.take(5)
    whole.update_success_rates({"p1": [1.0, 1.0], "p2": [-1.0, 1.0]})
    other = PromptStream(pools, seed=4, curriculum=Curriculum())
    other.restore(whole.state())
    assert first
    assert [p.id for p in other.take(9)] == [p.id for p in whole.take(9)]


def test_a_curriculum_prefers_prompts_of_medium_success() -> None:
    """Weights after rates 0, ½, 1 and one untried: exp(−2), 1, exp(−2), 1 with the default width of ¼."""
    stream = PromptStream([(PROMPTS, 1.0)], seed=0, curriculum=Curriculum())
    stream.update_success_rates({"p0": [-1.0, -1.0], "p1": [-1.0, 1.0], "p2": [1.0, 1.0]})
    counts = Counter(stream.take(1)[0].id for _ in range(2000))
    share = 1 / (2 + 2 * 0.1353)
    assert counts["p1"] / 2000 == pytest.approx(share, abs=0.04)
    assert counts["p0"] / 2000 == pytest.approx(share * 0.1353, abs=0.02)


def test_success_is_remembered_half_and_half() -> None:
    stream = PromptStream([(PROMPTS, 1.0)], seed=0, curriculum=Curriculum(memory=0.5))
    stream.update_success_rates({"p0": [1.0, 1.0]})
    stream.update_success_rates({"p0": [-1.0, -1.0]})
    assert stream.rates["p0"] == 0.5


# Groups.


def rollout(prompt: int, policy_version: int = 0) -> Rollout:
    completion = Completion("c", "x", token_ids=(1, 2))
    return Rollout(PROMPTS[prompt], (5,), completion, (-1.0, -1.0), "end", policy_version)


def experience(group: list[int], advantages: list[float], scores: list[float] | None = None) -> Experience:
    n = len(group)
    tokens = TokenGroups.build([[1]] * (max(group) + 1), [[2, 3]] * n, group)
    flat = torch.zeros(n, 2)
    return Experience(
        tokens=tokens,
        old_logprobs=flat,
        scores=torch.tensor(scores or [0.0] * n),
        finished=torch.ones(n, dtype=torch.bool),
        totals=StepTotals(n, 2 * n),
        reference_logprobs=flat,
        rewards=flat,
        advantages=torch.tensor(advantages)[:, None].expand(n, 2),
    )


def test_alike_groups_by_hand() -> None:
    rows = [rollout(0), rollout(0), rollout(1), rollout(1)]
    assert zero_variance_groups(rows, torch.tensor([1.0, 1.0, 0.0, 1.0])) == {"p0"}


def test_the_share_of_alike_groups_is_what_theory_says() -> None:
    """q^K + (1 − q)^K = 0.663 at success rate q = 0.05 and K = 8."""
    generator = torch.Generator().manual_seed(0)
    scores = (torch.rand(3000 * 8, generator=generator) < 0.05).float()
    drawn = experience([g for g in range(3000) for _ in range(8)], [0.0] * 24000, scores.tolist())
    metrics = describe(drawn, range(24000))
    assert metrics["frac_zero_std_groups"] == pytest.approx(0.05**8 + 0.95**8, abs=0.03)
    assert pytest.approx(0.663, abs=1e-3) == 0.05**8 + 0.95**8


def test_minibatches_keep_groups_whole_and_cover_everything() -> None:
    batches = minibatches(experience([0, 1, 2, 0, 1, 3, 4], [1.0] * 7), 2, seed=3, epoch=0)
    assert sorted(r for rows in batches for r in rows) == list(range(7))
    assert len(batches) == 2
    assert any({0, 3} <= set(rows) for rows in batches)
    assert any({1, 4} <= set(rows) for rows in batches)
    assert batches != minibatches(experience([0, 1, 2, 0, 1, 3, 4], [1.0] * 7), 2, seed=3, epoch=1)


def test_rows_without_an_advantage_are_left_out() -> None:
    assert rows_with_signal(experience([0, 0, 1], [0.0, -2.0, 0.5]), [2, 0, 1]) == [2, 1]


def test_soft_overlong_by_hand() -> None:
    """Limit 10, buffer 4: 0 up to 6 tokens, −¼ a token after that."""
    penalties = soft_overlong(torch.tensor([3, 6, 7, 9, 10]), 10, 4)
    assert penalties.tolist() == [0.0, 0.0, -0.25, -0.75, -1.0]
    assert soft_overlong(torch.tensor([10]), 10, 0).tolist() == [0.0]


# Memory.


def test_a_memory_forgets_the_oldest_and_prefers_what_taught_most() -> None:
    memory = ReplayBuffer(Replay(share=1.0, capacity=3, priority=1.0), seed=0)
    memory.add([ReplayGroup((rollout(i % 4, i),), (0.0,), p) for i, p in enumerate((5.0, 0.0, 1.0, 9.0))])
    assert [g.rollouts[0].policy_version for g in memory.groups] == [1, 2, 3]
    first = Counter(memory.draw(1, step)[0].rollouts[0].policy_version for step in range(600))
    assert first[3] / 600 == pytest.approx(9.01 / 10.03, abs=0.05)
    assert first[1] / 600 < 0.02
    assert len(memory.draw(9, 0)) == 3


def test_a_memory_survives_a_checkpoint() -> None:
    memory = ReplayBuffer(Replay(), seed=0)
    memory.add([ReplayGroup((rollout(0, 2), rollout(0, 2)), (1.0, -1.0), 0.5)])
    import json

    from gnomon.core.storage.files import to_json

    again = ReplayBuffer(Replay(), seed=0)
    again.restore(json.loads(json.dumps(to_json(memory.state()))))
    assert again.groups == memory.groups
    assert [row["version"] for row in memory.state()[0]["rollouts"]] == [2, 2]  # the stored key


# In the loop.


def test_replayed_groups_join_the_round_with_their_own_weights(tmp_path: Path, words: Any) -> None:
    loop = online(tmp_path, words, replay=Replay(share=1.0), steps=2)
    loop.run()
    rollouts, scores, _ = loop.score(loop.sample(3))
    assembled = loop.assemble_experience(3, rollouts, scores)
    assert len(assembled.tokens) > len(rollouts)
    recomputed = loop.evaluator.add_policy_logprobs(assembled)
    assert recomputed.sampler_logprobs is not None
    fresh = recomputed.tokens.mask[: len(rollouts)]
    gap = (recomputed.old_logprobs - recomputed.sampler_logprobs).abs()
    assert gap[: len(rollouts)][fresh].max() < 1e-4
    assert gap[len(rollouts) :].max() > 1e-3


def test_temperatures_and_the_reference_fill_a_group(tmp_path: Path, words: Any) -> None:
    exploring = Exploration(temperatures=(0.5, 1.5), reference_share=0.25)
    loop = online(tmp_path, words, exploration=exploring, sampling={"completions": 8})
    with torch.no_grad():
        for parameter in loop.models.policy.trainable().values():
            parameter.add_(0.2)
    rollouts = loop.sample(1)
    assert Counter(r.prompt.id for r in rollouts).most_common(1)[0][1] == 8
    scored = loop.score(rollouts)
    recomputed = loop.evaluator.add_policy_logprobs(loop.assemble_experience(1, scored[0], scored[1]))
    assert recomputed.sampler_logprobs is not None
    reference_logprobs = loop.models.policy.reference_logprobs(recomputed.tokens, temperature=0.9)
    mask = recomputed.tokens.mask
    distance = (reference_logprobs - recomputed.sampler_logprobs).masked_fill(~mask, 0.0).abs().sum(1)
    assert (distance < 1e-3).sum() >= 2 * 3  # two of each prompt's eight are the reference's
    loop.run()
    assert all(row["loss"] == row["loss"] for row in recorded(tmp_path))


def test_weights_can_be_left_out_and_recomputed_log_probs_asked_for(tmp_path: Path, words: Any) -> None:
    """The trainer's own are `logprobs` in all cases; the sampler's travel beside them only where they weigh."""

    def recomputed(**settings: Any) -> tuple[Experience, Experience, Tensor]:
        loop = online(tmp_path, words, **settings)
        rollouts, scores, _ = loop.score(loop.sample(1))
        drawn = loop.assemble_experience(1, rollouts, scores)
        with torch.no_grad():
            for parameter in loop.models.policy.trainable().values():
                parameter.add_(0.2)
            now = loop.models.policy.logprobs(drawn.tokens, temperature=0.9)
        return drawn, loop.evaluator.add_policy_logprobs(drawn), now.masked_fill(~drawn.tokens.mask, 0.0)

    drawn, plain, now = recomputed()
    assert plain.sampler_logprobs is None
    assert plain.old_logprobs is drawn.old_logprobs
    assert (now - drawn.old_logprobs).abs().max() > 0.01
    drawn, again, now = recomputed(recompute_logprobs=True)
    assert again.sampler_logprobs is drawn.old_logprobs
    torch.testing.assert_close(again.old_logprobs, now, atol=1e-5, rtol=0)
    hot = Exploration(temperatures=(0.5, 1.5))
    assert recomputed(exploration=hot)[1].sampler_logprobs is not None
    _, unweighted, now = recomputed(exploration=hot.model_copy(update={"weighted": False}))
    assert unweighted.sampler_logprobs is None
    torch.testing.assert_close(unweighted.old_logprobs, now, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("cap", "recompute"), [(0.0, True), (2.0, True), (0.0, False)])
def test_the_cap_of_weights_bounds_what_is_learned(
    tmp_path: Path, words: Any, cap: float, recompute: bool
) -> None:
    """A cap of 0 leaves nothing to learn, where there are weights at all."""
    algorithm = RLOO(tis_cap=cap)
    kl = KLSettings(coef=0.0, target=None)
    online(tmp_path, words, algorithm=algorithm, recompute_logprobs=recompute, steps=2, kl=kl).run()
    lengths = [row["grad_norm"] for row in recorded(tmp_path)]
    assert all((length == 0.0) == (cap == 0.0 and recompute) for length in lengths), lengths


def test_groups_that_are_all_alike_are_replaced(tmp_path: Path, words: Any) -> None:
    """Prompt p0 always scores 1; the others by their letters."""
    only = FunctionReward(lambda prompt, text: 1.0 if prompt.id == "p0" else float(len(text) % 3), "r")
    loop = online(
        tmp_path,
        words,
        reward=only,
        dynamic_sampling_rounds=4,
        sampling={"completions": 6},
        truncation_score=None,
    )
    rollouts, scores, reward_metrics = loop.score(loop.sample(1))
    while not any(r.prompt.id == "p0" for r in rollouts):
        rollouts, scores, reward_metrics = loop.score(loop.sample(1))
    resampled, new_scores, _ = loop.resample(1, rollouts, scores, reward_metrics)
    assert "p0" not in {r.prompt.id for r in resampled}
    assert len(resampled) == len(new_scores)
    assert not zero_variance_groups(resampled, new_scores)


class Draws:
    """Rounds from a list, in place of a sampler and a reward: for each, prompts with their scores."""

    def __init__(self, loop: OnlineLoop, *rounds: dict[int, tuple[float, float]]):
        self.loop, self.rounds, self.calls = loop, list(rounds), 0
        loop.sample = self.sample  # type: ignore[method-assign]
        loop.score = self.score  # type: ignore[method-assign]

    def sample(self, step: int, attempt: int = 0) -> list[Rollout]:
        self.calls, self.now = self.calls + 1, self.rounds.pop(0)
        return [rollout(prompt) for prompt in self.now for _ in range(2)]

    def score(self, rollouts: list[Rollout]) -> tuple[list[Rollout], Tensor, dict[str, float]]:
        return rollouts, torch.tensor([s for pair in self.now.values() for s in pair]), {"reward_failures": 1.0}

    def resampled(self) -> tuple[dict[str, list[float]], float]:
        rollouts, scores, reward_metrics = self.loop.resample(1, *self.loop.score(self.loop.sample(1)))
        scores_by_prompt: dict[str, list[float]] = {}
        for drawn, score in zip(rollouts, scores.tolist(), strict=True):
            scores_by_prompt.setdefault(drawn.prompt.id, []).append(score)
        return scores_by_prompt, reward_metrics["reward_failures"]


def test_others_completions_say_nothing_of_the_policy(tmp_path: Path, words: Any) -> None:
    """Half of each group is the reference's: the KL is that of the other half, which is what a target holds."""
    kl, half = KLSettings(target=0.05, controller="simple"), Exploration(reference_share=0.5)
    loop = online(tmp_path, words, exploration=half, kl=kl, sampling={"completions": 8})
    with torch.no_grad():
        for parameter in loop.models.policy.trainable().values():
            parameter.add_(0.2)
    rollouts = loop.sample(1)
    own = [i for i, r in enumerate(rollouts) if not r.off_policy]
    assert len(own) == len(rollouts) / 2 == 12
    scores = torch.arange(24.0)
    drawn = loop.evaluator.add_reference_logprobs(
        loop.evaluator.add_policy_logprobs(loop.assemble_experience(1, rollouts, scores)), None
    )
    drawn = replace(drawn, rewards=drawn.old_logprobs, advantages=drawn.old_logprobs)
    kls = sequence_kl(drawn)
    metrics = describe(drawn, own)
    assert metrics["kl"] == pytest.approx(float(kls[own].mean()), rel=1e-5)
    assert metrics["kl"] > 0.5 > float(kls.mean())
    assert metrics["score_mean"] == pytest.approx(float(scores[own].mean()))
    assert describe(drawn, [])["kl"] == pytest.approx(float(kls.mean()), rel=1e-5)
    far = drawn.old_logprobs.clone()
    far[[i for i in range(24) if i not in own]] = -100.0
    loop.update_kl_coef(replace(drawn, old_logprobs=far), rollouts)
    assert loop.kl_coef == pytest.approx(0.15 * 1.5)
    strangers = [replace(r, off_policy=True) for r in rollouts]
    loop.update_kl_coef(drawn, strangers)
    assert loop.kl_coef == pytest.approx(0.15 * 1.5)


def test_other_temperatures_are_others(tmp_path: Path, words: Any) -> None:
    loop = online(tmp_path, words, exploration=Exploration(temperatures=(0.9, 1.5)), sampling={"completions": 4})
    assert [r.off_policy for r in loop.sample(1)] == [False, False, True, True] * 3


DULL, GOOD = (1.0, 1.0), (0.0, 1.0)


def test_more_is_drawn_until_the_round_is_full(tmp_path: Path, words: Any) -> None:
    """Three groups are wanted: p0; then p1; then p2, and p3 has no room. A fourth draw is not needed."""
    loop = online(tmp_path, words, dynamic_sampling_rounds=9)
    draws = Draws(
        loop, {0: GOOD, 1: DULL, 2: DULL}, {0: (5.0, 6.0), 1: GOOD, 3: DULL}, {1: DULL, 2: GOOD, 3: GOOD}
    )
    scores, failed = draws.resampled()
    assert scores == {"p0": [0.0, 1.0], "p1": [0.0, 1.0], "p2": [0.0, 1.0]}
    assert (draws.calls, failed) == (3, 3.0)


def test_one_attempt_draws_although_all_are_alike(tmp_path: Path, words: Any) -> None:
    draws = Draws(
        online(tmp_path, words, dynamic_sampling_rounds=1), {0: DULL, 1: DULL, 2: DULL}, {3: GOOD, 0: DULL}
    )
    assert draws.resampled()[0] == {"p3": [0.0, 1.0]}


def test_where_nothing_differs_the_round_stays(tmp_path: Path, words: Any) -> None:
    draws = Draws(online(tmp_path, words, dynamic_sampling_rounds=2), {0: DULL}, {1: DULL}, {2: DULL})
    assert draws.resampled() == ({"p0": [1.0, 1.0]}, 3.0)
    alike = FunctionReward(lambda prompt, text: 1.0, "flat")
    online(tmp_path, words, reward=alike, dynamic_sampling_rounds=2, truncation_score=None).run()
    assert recorded(tmp_path)[0]["frac_zero_std_groups"] == 1.0


def test_a_prompt_that_comes_twice_is_one_group(tmp_path: Path, words: Any) -> None:
    """Four prompts and eight a round: four groups are all there can be."""
    draws = Draws(
        online(tmp_path, words, dynamic_sampling_rounds=2, prompts_per_step=8), dict.fromkeys(range(4), GOOD)
    )
    assert len(draws.resampled()[0]) == 4


def test_shares_drawn_apart_are_the_round_drawn_at_once(tmp_path: Path, words: Any) -> None:
    """Nine prompts of four, K = 2: no two completions from one stream, whichever process draws them."""

    def share(rank: int, count: int) -> list[Rollout]:
        one = Processes()
        one.rank, one.count = rank, count
        one.unshard = lambda results, total: list(results)  # type: ignore[method-assign]
        exploring = Exploration(temperatures=(0.9, 2.0))
        return online(
            tmp_path, words, processes=one, prompts_per_step=9, exploration=exploring, sampling={"max_tokens": 9}
        ).sample(1)

    def sign(rollouts: list[Rollout]) -> list[tuple[Any, ...]]:
        return sorted((r.prompt.id, r.completion.id, r.off_policy, r.token_ids) for r in rollouts)

    whole = share(0, 1)
    assert sign(whole) == sign([r for rank in (0, 1) for r in share(rank, 2)])
    assert len({(r.completion.id, r.off_policy) for r in whole}) == 18


def test_a_refreshed_reference_brings_the_kl_back_to_nothing(tmp_path: Path, words: Any) -> None:
    online(tmp_path / "kept", words, steps=4).run()
    online(tmp_path / "new", words, steps=4, ref_update_interval=1).run()
    assert all(abs(row["kl"]) < 1e-4 for row in recorded(tmp_path / "new"))
    assert abs(recorded(tmp_path / "kept")[-1]["kl"]) > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"replay": Replay(share=1.0)},
        {"ref_update_interval": 2},
        {"curriculum": Curriculum()},
        {"exploration": Exploration(temperatures=(0.7, 1.2))},
    ],
    ids=lambda s: next(iter(s)),
)
def test_a_stopped_run_goes_on_to_the_same_numbers(settings: dict[str, Any], tmp_path: Path, words: Any) -> None:
    from loops import Killed

    whole = online(tmp_path / "whole", words, **settings)
    whole.run()

    def kill(call: int) -> None:
        if call == 14:
            raise Killed

    with pytest.raises(Killed):
        online(tmp_path / "cut", words, before=kill, checkpoint_seconds=0, **settings).run()
    again = online(tmp_path / "cut", words, checkpoint_seconds=0, **settings)
    again.run()
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(weights_of(again.models), weights_of(whole.models), strict=True))
