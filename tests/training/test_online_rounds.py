"""Single steps of an online round by hand: prices, what later rounds know of it, whose weights learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from function_reward import FunctionReward
from loops import LORA, online, recorded, weights_of
from tiny import prompts_of
from torch import Tensor

from gnomon.algorithms.ppo import PPO
from gnomon.algorithms.rloo import RLOO
from gnomon.core.batches import StepTotals, TokenGroups
from gnomon.core.experience import Experience, KLPenalty, Rollout
from gnomon.core.types import Completion
from gnomon.models.scalar_head import new_head
from gnomon.models.settings import HeadSettings, Trainable
from gnomon.training.settings import KLSettings, OnlineValidation, Replay

UPPER, WHOLE = Trainable(rank=4, layers=1), Trainable(adapter="none")
FREE = KLSettings(coef=0.0, target=None)
JUNK = 50.0  # stands where the mask is false; no number may know of it
PROMPTS = prompts_of("a", "b")


def experience(**changes: Any) -> Experience:
    """Two prompts' completions of 3 and 2 tokens; the second token of the first is a tool's."""
    tokens = TokenGroups.build([[1], [2]], [[3, 4, 5], [6, 7]], [0, 1], [[True, False, True], [True, True]])
    default = Experience(
        tokens=tokens,
        old_logprobs=torch.tensor([[-1.0, JUNK, -2.0], [-0.5, -3.0, JUNK]]),
        scores=torch.tensor([3.0, -1.0]),
        finished=torch.tensor([True, True]),
        totals=StepTotals(2, 4),
        reference_logprobs=torch.tensor([[-1.5, -JUNK, -1.0], [-0.5, -1.0, JUNK]]),
    )
    return replace(default, **changes)


def rollouts(off_policy: Sequence[bool] = (False, False)) -> list[Rollout]:
    return [
        Rollout(prompt, (1,), Completion("c", "x", token_ids=(3, 4)), (-1.0, -1.0), "end", off_policy=other)
        for prompt, other in zip(PROMPTS, off_policy, strict=True)
    ]


# Prices. Log-ratios to the reference are 0.5 and −1 in the first row, 0 and −2 in the second.


@pytest.mark.parametrize(
    ("settings", "bonus", "expected"),
    [
        ({"estimator": "k1"}, 0.0, [[-0.1, 0.0, 3.2], [0.0, -0.6, 0.0]]),
        ({"estimator": "k2"}, 0.0, [[-0.025, 0.0, 2.9], [0.0, -1.4, 0.0]]),
        ({"estimator": "k1"}, 0.1, [[0.0, 0.0, 3.4], [0.05, -0.3, 0.0]]),
        ({"placement": "loss", "estimator": "k3"}, 0.1, [[0.1, 0.0, 3.2], [0.05, -0.7, 0.0]]),
    ],
    ids=["k1", "k2", "bonus", "loss"],
)
def test_rewards_with_their_prices_by_hand(
    settings: dict[str, Any], bonus: float, expected: list[list[float]], tmp_path: Path, words: Any
) -> None:
    """At 0.2 a nat, and 0.1 for each nat of −log π; a price in the loss is none in the reward."""
    loop = online(tmp_path, words, kl=KLSettings(coef=0.2, **settings), entropy_bonus=bonus)
    priced = loop.set_rewards(experience())
    assert priced.rewards is not None
    torch.testing.assert_close(priced.rewards, torch.tensor(expected))
    assert (priced.penalty is not None) == ("placement" in settings)


@pytest.mark.parametrize("exact", [True, False])
def test_a_price_in_the_loss_is_handed_to_it_and_a_price_of_nothing_is_none(
    exact: bool, tmp_path: Path, words: Any
) -> None:
    kl = KLSettings(coef=0.2, placement="loss", estimator="k3", unbiased_gradient=exact)
    assert online(tmp_path, words, kl=kl).set_rewards(experience()).penalty == KLPenalty(0.2, "k3", exact)
    free = kl.model_copy(update={"coef": 0.0, "measure": "sampled"})
    assert online(tmp_path, words, kl=free).set_rewards(experience()).penalty is None


# What later rounds know of a round.


def test_the_price_follows_the_policys_own_completions_alone(tmp_path: Path, words: Any) -> None:
    """Own KL 0.04 where 0.05 is the target: error −0.2, one sample of a horizon of 20: 0.15 · (1 − 0.01)."""
    loop = online(tmp_path, words)
    ratios = torch.tensor([[0.01, JUNK, 0.03], [4.0, 5.0, JUNK]])
    drawn = experience(reference_logprobs=experience().old_logprobs - ratios, rewards=ratios, advantages=ratios)
    loop.update_kl_coef(drawn, rollouts(off_policy=(False, True)))
    assert loop.kl_coef == pytest.approx(0.15 * 0.99)


def test_returns_of_former_rounds_are_those_of_tokens_that_count(tmp_path: Path, words: Any) -> None:
    """Returns 3 and 1: mean 2, deviation 1; then 7 and 1: 0.9 · 2 + 0.1 · 4, and √(0.9 · 1² + 0.1 · 3²)."""
    loop = online(tmp_path, words, kl=FREE)
    for first in (1.0, 5.0):
        rewards = torch.tensor([[first, JUNK, 2.0], [0.5, 0.5, JUNK]])
        loop.update_return_stats(experience(rewards=rewards))
    assert (loop.return_stats.mean, loop.return_stats.std) == pytest.approx((2.2, math.sqrt(1.8)))
    assert loop.return_stats.rounds == 2


def test_groups_are_remembered_by_the_size_of_a_tokens_advantage(tmp_path: Path, words: Any) -> None:
    """(|1| + |−3|)/2 and (|−0.5| + |0.5|)/2: neither sign nor length counts, nor a tool's tokens."""
    loop = online(tmp_path, words, kl=FREE, replay=Replay())
    advantages = torch.tensor([[1.0, JUNK, -3.0], [-0.5, 0.5, JUNK]])
    drawn = experience(advantages=advantages)
    loop.update_replay_buffer(drawn, rollouts(), drawn.scores)
    assert loop.replay_buffer is not None
    assert [group.priority for group in loop.replay_buffer.groups] == [2.0, 0.5]
    assert [group.scores for group in loop.replay_buffer.groups] == [(3.0,), (-1.0,)]


def test_a_round_draws_as_many_groups_as_are_new_and_others_each_time(tmp_path: Path, words: Any) -> None:
    """Three groups of two: with a share of 1 three more, and not the same of six in each round."""
    loop = online(tmp_path, words, replay=Replay(share=1.0, priority=0.0), steps=2)
    loop.run()
    drawn, scores, _ = loop.score(loop.sample(3))
    replayed = set()
    for step in range(3, 7):
        assembled = loop.assemble_experience(step, drawn, scores)
        assert len(assembled.tokens) == 6 + 6
        assert len(assembled.tokens.prompts) == 3 + 3
        assert assembled.totals.limit == 5
        replayed.add(tuple(tuple(row.tolist()) for row in assembled.tokens.completions[6:]))
    assert len(replayed) > 1


def test_metrics_and_what_is_learned_of_a_round_leave_replayed_groups_out(
    tmp_path: Path, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = online(tmp_path, words, replay=Replay(share=1.0), steps=2)
    update, sizes = loop.update_replay_buffer, list[int]()

    def recording(drawn: Experience, fresh: list[Rollout], scores: Tensor) -> None:
        sizes.append(len(drawn.tokens))
        assert drawn.scores.tolist() == scores.tolist()
        update(drawn, fresh, scores)

    monkeypatch.setattr(loop, "update_replay_buffer", recording)
    loop.run()
    assert sizes == [6, 6]


def test_completions_bear_the_policys_version_and_every_draw_differs(tmp_path: Path, words: Any) -> None:
    """Four optimizer steps a round; other rounds and other attempts of a round have other random numbers."""
    loop = online(tmp_path, words, steps=2)
    assert {r.policy_version for r in loop.sample(1)} == {0}
    loop.run()
    assert {r.policy_version for r in loop.sample(3)} == {8}

    def ids(step: int, attempt: int) -> list[tuple[int, ...]]:
        loop.stream.taken = [0]
        return [r.token_ids for r in loop.sample(step, attempt)]

    draws = [ids(1, 0), ids(1, 1), ids(2, 0)]
    assert ids(1, 0) == draws[0]
    assert all(one != other for one, other in [*pairwise(draws), (draws[0], draws[2])])


def test_looks_at_held_out_prompts_differ_by_the_policy_alone(tmp_path: Path, words: Any) -> None:
    """After more steps too the same weights give the same answers, and leave nothing behind."""
    held = OnlineValidation(share=0.5, completions=6)
    loop = online(tmp_path, words, validation=held, trainable=UPPER, activation_cache_gb=1.0)
    metrics = loop.evaluate()
    loop.optimizer.step_count += 7
    assert loop.evaluate() == metrics
    with loop.models.activation_cache(1.0) as loop.activation_caches:
        loop.models.policy.logprobs(experience().tokens)
        assert [cache.size > 0 for cache in loop.activation_caches] == [True]
        loop.evaluate()
        assert [cache.size for cache in loop.activation_caches] == [0]


def test_a_round_leaves_no_states_of_its_completions_behind(tmp_path: Path, words: Any) -> None:
    loop = online(tmp_path, words, trainable=UPPER, activation_cache_gb=1.0)
    with loop.models.activation_cache(1.0) as loop.activation_caches:
        sizes = list[int]()
        update = loop.updater.__class__.update

        def recording(*args: Any, **settings: Any) -> dict[str, float]:
            metrics = update(*args, **settings)
            sizes.extend(cache.size for cache in loop.activation_caches)
            return metrics

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop.updater.__class__, "update", recording)
            loop.step(1)
        assert sizes
        assert min(sizes) > 0
        assert [cache.size for cache in loop.activation_caches] == [0] * len(sizes)


def test_only_a_first_round_is_compared_with_the_sampler_before_it_learns(
    tmp_path: Path, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later gap is no reason to stop; the first round of a loop that goes on is a first one again."""
    loop, first = online(tmp_path, words, steps=2), list[bool]()
    update = loop.updater.__class__.update

    def recording(
        self: Any, experience: Any, step: int, mismatch: Any = None, first_update: bool = False
    ) -> dict[str, float]:
        first.append(first_update)
        return update(self, experience, step, mismatch, first_update)

    monkeypatch.setattr(loop.updater.__class__, "update", recording)
    loop.run()
    assert first == [True, False]


def test_seconds_of_a_round_are_what_passed(tmp_path: Path, words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on by 1 s in sampling, 2 s in scoring and 4 s in learning."""
    loop, now = online(tmp_path, words), [10.0]
    monkeypatch.setattr("gnomon.training.online.loop.time.monotonic", lambda: now[0])

    def late(by: float, method: Any) -> Any:
        def call(*args: Any, **settings: Any) -> Any:
            now[0] += by
            return method(*args, **settings)

        return call

    monkeypatch.setattr(loop, "sample", late(1.0, loop.sample))
    monkeypatch.setattr(loop, "score", late(2.0, loop.score))
    monkeypatch.setattr(loop.updater.__class__, "update", late(4.0, loop.updater.__class__.update))
    metrics = loop.step(1)
    parts = ("sampling_seconds", "experience_seconds", "update_seconds")
    assert [metrics[name] for name in parts] == [1.0, 2.0, 4.0]


def test_the_tokens_of_a_round_are_its_prompts_and_completions(tmp_path: Path, words: Any) -> None:
    """A prompt that several completions answer counts once."""
    loop = online(tmp_path, words)
    drawn = loop.sample(1)
    prompts = {r.prompt.id: len(r.prompt_ids) for r in drawn}
    assert loop.budget.tokens == sum(prompts.values()) + sum(len(r.token_ids) for r in drawn)
    assert len(prompts) == 3 < len(drawn)


def test_failures_and_abstentions_of_further_draws_are_counted(tmp_path: Path, words: Any) -> None:
    """Two attempts, as nothing ever differs: three draws of 6 completions, a third of which has no score."""
    calls = [0]

    def picky(_: Any, text: str) -> float | None:
        calls[0] += 1
        if calls[0] % 6 == 1:
            raise ValueError("no such unit")
        return None if calls[0] % 6 == 2 else 1.0

    loop = online(
        tmp_path, words, dynamic_sampling_rounds=2, reward=FunctionReward(picky, "picky"), truncation_score=None
    )
    _, _, judged = loop.resample(1, *loop.score(loop.sample(1)))
    assert (judged["reward_failures"], judged["abstained_rows"]) == (3.0, 3.0)


# Whose weights learn, and what they are compared with.


@pytest.mark.parametrize("rate", [1e-12, None])
def test_the_critic_has_a_rate_of_its_own(rate: float | None, tmp_path: Path, words: Any) -> None:
    loop = online(tmp_path, words, critic_learning_rate=rate, steps=1)
    before = weights_of(loop.models)
    loop.run()
    moved = [float((a - b).abs().max()) for a, b in zip(weights_of(loop.models), before, strict=True)]
    learned = len(loop.models.policy.trainable())
    assert max(moved[:learned]) > 1e-3
    assert (max(moved[learned:]) > 1e-3) == (rate is None)


def test_a_loop_without_a_critic_learns_what_one_with_an_idle_one_learns(tmp_path: Path, words: Any) -> None:
    """RLOO asks no critic: the same weights, bit for bit; a checkpoint has the policy's alone."""
    idle = online(tmp_path / "idle", words, algorithm=RLOO(), steps=2)
    idle.run()
    alone = online(tmp_path / "alone", words, algorithm=RLOO(), steps=2, critic=None, checkpoint_seconds=0.0)
    assert {name.partition(".")[0] for name in alone.optimizer.parameters} == {"policy"}
    alone.run()
    learned = alone.models.policy.trainable().values()
    assert all(torch.equal(p, q) for p, q in zip(learned, idle.models.policy.trainable().values(), strict=True))


def test_the_values_of_a_critic_do_not_depend_on_whether_its_trunk_learns(tmp_path: Path, words: Any) -> None:
    """Made with its states or from them they are alike, and 0 where the mask is false, a tool's tokens too.

    The head has a hidden layer, and so says something even of states that are not there.
    """
    values_by_trunk = []
    for name, trainable in (("frozen", Trainable(layers=0, adapter="none")), ("learning", LORA)):
        loop = online(tmp_path / name, words, critic=trainable)
        head = new_head(32, HeadSettings(head="mlp"), seed=1)
        torch.nn.init.constant_(head.get_parameter("hidden.bias"), 0.5)
        loop.models.critic.network.score = head
        assert loop.models.critic.frozen_trunk == (name == "frozen")
        assert head(torch.zeros(1, 32)).abs().item() > 1e-3
        values = loop.evaluator.add_critic_values(experience()).values
        assert values is not None
        values_by_trunk.append(values)
    mask = experience().tokens.mask
    torch.testing.assert_close(values_by_trunk[0], values_by_trunk[1], atol=1e-5, rtol=0)
    for values in values_by_trunk:
        assert (values[mask].abs() > 1e-3).all()
        assert (values[~mask] == 0).all()


def test_a_reference_that_is_given_stays(tmp_path: Path, words: Any) -> None:
    weights = {"any": torch.zeros(1)}
    assert online(tmp_path, words, trainable=WHOLE, reference_weights=weights).reference_weights is weights
    assert online(tmp_path, words, trainable=LORA).reference_weights is None


@pytest.mark.parametrize("read", [True, False])
def test_a_reference_is_refreshed_after_every_so_many_rounds_if_anything_reads_it(
    read: bool, tmp_path: Path, words: Any
) -> None:
    """After round 2 of 3: the KL is 0 in rounds 1 and 3, as policy and reference are one there."""
    kl = KLSettings(coef=0.1, target=None) if read else FREE
    loop = online(tmp_path, words, algorithm=RLOO(), steps=3, ref_update_interval=2, kl=kl)
    loop.run()
    assert (loop.reference_weights is not None) == read
    if read:
        kls = [abs(row["kl"]) for row in recorded(tmp_path)]
        assert [value < 1e-5 for value in kls] == [True, False, True]


def test_former_rounds_are_known_to_an_algorithm_that_asks_for_them(tmp_path: Path, words: Any) -> None:
    """`compute_advantages` gets the return statistics as of the end of the round before."""
    seen, known = list[Any](), list[Any]()

    class Noting(PPO):
        def compute_advantages(self, experience: Experience) -> Experience:
            seen.append(experience.return_stats)
            return super().compute_advantages(experience)

    def callback(step: int, _: Any) -> bool:
        known.append(loop.return_stats)
        return False

    loop = online(tmp_path, words, algorithm=Noting(), callback=callback, steps=3)
    loop.run()
    assert seen[1:] == known[:-1]
    assert [return_stats.rounds for return_stats in seen] == [0, 1, 2]
