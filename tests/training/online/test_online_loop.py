"""The online loop: what a round records, what a failing reward does, and that it learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from function_reward import FunctionReward
from loops import LORA, letters_a, online, recorded, weights_of
from tiny import prompts_of

from gnomon.algorithms.ppo import PPO
from gnomon.algorithms.reinforce import Reinforce
from gnomon.algorithms.rloo import RLOO
from gnomon.core.batches import Metrics
from gnomon.core.errors import ConfigError, Interrupted, ModelError, RunError
from gnomon.core.experience import Experience
from gnomon.core.progress import StopSignal
from gnomon.core.types import Prompt
from gnomon.losses.kl import adapt_coefficient
from gnomon.models.roles import Policy
from gnomon.models.settings import Trainable
from gnomon.rollouts.sampler import NativeSampler
from gnomon.training.online.reward_failures import FILE, failures_in
from gnomon.training.outcome import outcome
from gnomon.training.settings import KLSettings


def test_a_round_is_recorded_whole(tmp_path: Path, words: Any) -> None:
    online(tmp_path, words).run()
    rows = recorded(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["sampler_trainer_kl"] == pytest.approx(0.0, abs=1e-6)  # sampler and trainer agree: ratio 1
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-5)  # nothing learned yet: policy and reference agree
    assert abs(rows[-1]["kl"]) > 1e-3
    for row in rows:
        assert abs(row["sampler_trainer_kl"]) < 1e-6
        assert row["reward_failures"] == 0
        assert 1 <= row["length_mean"] <= 5
        assert 0 <= row["frac_truncated"] <= 1
        assert row["learning_rate"] > 0


def test_the_price_of_a_nat_follows_the_measured_kl(tmp_path: Path, words: Any) -> None:
    """Round by round, the next price is Ziegler's rule of this one: target 0.05, horizon 20, six samples."""
    online(tmp_path, words).run()
    rows = recorded(tmp_path)
    assert rows[0]["kl_coef"] == 0.15
    for now, following in pairwise(rows):
        expected = adapt_coefficient(now["kl_coef"], now["kl"], 6, target=0.05, horizon=20)
        assert following["kl_coef"] == pytest.approx(expected)
    (tmp_path / "metrics.jsonl").unlink()
    online(tmp_path, words, kl=KLSettings(target=None)).run()
    assert {row["kl_coef"] for row in recorded(tmp_path)} == {0.15}


@pytest.mark.parametrize("often", [{"epochs": 2, "minibatches": 1}, {"epochs": 1, "minibatches": 2}])
def test_reinforce_takes_one_step_a_round(tmp_path: Path, words: Any, often: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="has no importance ratio"):
        online(tmp_path, words, algorithm=Reinforce(), **often)
    online(tmp_path, words, algorithm=PPO(), **often)


def test_reinforce_with_a_critic_learns_its_values_in_the_loop(tmp_path: Path, words: Any) -> None:
    loop = online(tmp_path, words, algorithm=Reinforce(baseline="critic"), epochs=1, minibatches=1)
    before = [p.detach().clone() for p in loop.models.critic.trainable().values()]
    loop.run()
    assert all(row["value_loss"] > 0 for row in recorded(tmp_path))
    after = list(loop.models.critic.trainable().values())
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_prompts_take_turns(tmp_path: Path, words: Any) -> None:
    """Three of four a round: after four rounds each was asked three times, K = 2."""
    loop = online(tmp_path, words)
    drawn = [[r.prompt.id for r in loop.sample(step)] for step in range(1, 5)]
    prompts = [prompt for round_ in drawn for prompt in round_]
    assert {p: prompts.count(p) for p in set(prompts)} == {"p0": 6, "p1": 6, "p2": 6, "p3": 6}
    assert all(len(set(round_)) == 3 for round_ in drawn[:1])


def test_the_size_of_micro_batches_means_nothing(tmp_path: Path, words: Any) -> None:
    online(tmp_path / "whole", words, steps=2).run()
    online(tmp_path / "cut", words, steps=2, micro_batch_tokens=12).run()
    for one, other in zip(recorded(tmp_path / "whole"), recorded(tmp_path / "cut"), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)


def test_a_reward_that_fails_on_some_rows_drops_and_counts_them(tmp_path: Path, words: Any) -> None:
    def picky(prompt: Prompt, text: str) -> float:
        if prompt.id == "p1":
            raise TimeoutError("the judge slept")
        return float("nan") if prompt.id == "p2" else letters_a(prompt, text)

    loop = online(tmp_path, words, reward=FunctionReward(picky, "picky"), prompts_per_step=4)
    rollouts, scores, judged = loop.score(loop.sample(1))
    experience = loop.assemble_experience(1, rollouts, scores)
    assert judged["reward_failures"] == 4
    assert {r.prompt.id for r in rollouts} == {"p0", "p3"}
    assert len(experience.tokens) == len(experience.scores) == 4
    for rollout, row in zip(rollouts, range(4), strict=True):
        assert tuple(experience.tokens.completions[row].tolist()) == rollout.token_ids
    loop.run()
    assert [row["reward_failures"] for row in recorded(tmp_path)] == [4.0] * 4


def test_a_reward_that_fails_on_every_row_ends_the_run(tmp_path: Path, words: Any) -> None:
    def broken(prompt: Prompt, text: str) -> float:
        raise ValueError("no such judge")

    with pytest.raises(RunError, match=r"'broken' failed on every completion of a round: ValueError: no such"):
        online(tmp_path, words, reward=FunctionReward(broken, "broken")).run()


def test_what_is_not_finite_names_its_prompts(tmp_path: Path, words: Any) -> None:
    """A loss those of its micro-batch, a gradient those of its step."""

    class Spoiled(PPO):
        def loss(self, models: Any, batch: Experience) -> tuple[torch.Tensor, Metrics]:
            loss, metrics = super().loss(models, batch)
            return (loss * float("nan") if "p1" in batch.prompt_names else loss), metrics

    with pytest.raises(
        RunError, match=r"the loss of optimizer step \d is not finite \(prompts p1 …\); no checkpoint"
    ):
        online(tmp_path / "loss", words, algorithm=Spoiled(), micro_batch_tokens=1, minibatches=1).run()

    class Overflowing(PPO):
        def loss(self, models: Any, batch: Experience) -> tuple[torch.Tensor, Metrics]:
            loss, metrics = super().loss(models, batch)
            return loss + (loss - loss.detach()).abs().sqrt(), metrics  # its value is finite, its slope is not

    with pytest.raises(RunError, match=r"gradient of optimizer step 1 \(prompts p\d, p\d, p\d …\) is not finite"):
        online(tmp_path / "gradient", words, algorithm=Overflowing(), minibatches=1).run()


def test_a_completion_that_is_cut_off_scores_no_more_than_one_that_ended(tmp_path: Path, words: Any) -> None:
    loop = online(tmp_path, words, truncation_score=0.0, sampling={"completions": 8})
    rollouts, scores, _ = loop.score(loop.sample(1))
    assert {r.finished for r in rollouts} == {True, False}
    own = [letters_a(r.prompt, r.completion.text) for r in rollouts]
    least = min(score for score, r in zip(own, rollouts, strict=True) if r.finished)
    expected = [s if r.finished else min(s, 0.0, least) for s, r in zip(own, rollouts, strict=True)]
    assert scores.tolist() == pytest.approx(expected)
    assert expected != own


@pytest.mark.parametrize(
    "changed", [{"top_p": 0.9}, {"top_k": 5, "min_tokens": 2}, {"repetition_penalty": 1.2}, {"temperature": 0}]
)
def test_drawing_from_another_distribution_is_refused(
    changed: dict[str, Any], tmp_path: Path, words: Any
) -> None:
    with pytest.raises(ConfigError) as refusal:
        online(tmp_path, words, sampling=changed)
    assert all(key in str(refusal.value) for key in changed)


def test_a_policy_without_adapter_is_compared_with_the_weights_it_began_with(tmp_path: Path, words: Any) -> None:
    whole = Trainable(adapter="none")
    loop = online(tmp_path, words, trainable=whole)
    before = [p.clone() for p in loop.models.policy.network.parameters()]
    loop.run()
    assert recorded(tmp_path)[0]["kl"] == pytest.approx(0.0, abs=1e-5)
    assert abs(recorded(tmp_path)[-1]["kl"]) > 1e-3
    with loop.models.policy.reference_mode(loop.reference_weights):
        now = [p.clone() for p in loop.models.policy.network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(now, before, strict=True))
    after = list(loop.models.policy.network.parameters())
    assert not all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    with pytest.raises(ModelError, match="no adapter to disable"), loop.models.policy.reference_mode():
        pass


def test_what_arrives_on_the_batch_belongs_to_its_rows(tmp_path: Path, words: Any) -> None:
    """Cut into micro-batches or not, reference and values are those of each row by itself."""
    loop = online(tmp_path, words, micro_batch_tokens=12, prompts_per_step=4)
    with torch.no_grad():
        for parameter in loop.models.policy.trainable().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    rollouts, scores, _ = loop.score(loop.sample(1))
    experience = loop.assemble_experience(1, rollouts, scores)
    experience = loop.evaluator.add_critic_values(
        loop.evaluator.add_reference_logprobs(experience, loop.reference_weights)
    )
    assert isinstance(experience, Experience)
    assert experience.reference_logprobs is not None
    assert experience.values is not None
    assert (experience.reference_logprobs - experience.old_logprobs).abs().max() > 0.01
    for row in range(len(experience.tokens)):
        alone, length = experience.tokens.select([row]), int(experience.tokens.lengths[row])
        reference = loop.models.policy.reference_logprobs(alone, temperature=0.9)[0]
        values = loop.models.critic.predict(alone).values[0]
        torch.testing.assert_close(experience.reference_logprobs[row, :length], reference, atol=1e-5, rtol=0)
        torch.testing.assert_close(experience.values[row, :length], values.detach(), atol=1e-5, rtol=0)


@pytest.mark.long
def test_ppo_learns_what_a_function_rewards(tmp_path: Path, words: Any) -> None:
    """A reward for ending at once: from about one completion in ten to more than eight in 25 rounds."""
    short = FunctionReward(lambda prompt, text: 1.0 if not text else 0.0, "short")
    loop = online(
        tmp_path,
        words,
        reward=short,
        steps=25,
        prompts_per_step=4,
        sampling={"completions": 8},
        truncation_score=None,
        kl=KLSettings(coef=0.01, target=None),
    )
    loop.run()
    scores = [row["score_mean"] for row in recorded(tmp_path)]
    assert scores[0] < 0.4
    assert scores[-1] > 0.8
    prompts = prompts_of("a", "b c", "c c c", "a b a")
    again = NativeSampler(loop.models.policy).sample(prompts, loop.sampling, seed=123)
    assert sum(not r.completion.text for r in again) / len(again) > 0.8


def flat(_: Any, text: str) -> float:
    return 0.5


def test_a_round_without_differences_is_announced_once_and_counted(
    tmp_path: Path, words: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores that are all alike: the console warns once, and the outcome is that nothing was learned."""
    reward = FunctionReward(flat, "flat")
    kl = KLSettings(coef=0.0, target=None)
    online(tmp_path, words, algorithm=RLOO(), reward=reward, kl=kl, truncation_score=None).run()
    err = " ".join(capsys.readouterr().err.split())
    assert err.count("round 1: the scores of no group differ") == 1
    assert "round 2" not in err
    rows = recorded(tmp_path)
    assert [row["frac_zero_std_groups"] for row in rows] == [1.0] * 4
    learned = outcome(rows, min_group_size=2)
    assert (learned.steps, learned.without_variance, learned.nothing) == (4, 4, "groups_alike")


def test_a_round_in_which_every_answer_is_cut_off_is_announced(
    tmp_path: Path, words: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    online(tmp_path, words, sampling={"max_tokens": 1}, steps=1).run()
    assert recorded(tmp_path)[0]["frac_truncated"] == 1
    assert "round 1: every answer was cut off at 1 tokens" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("trainable", [LORA, Trainable(adapter="none")], ids=["lora", "full"])
def test_without_a_price_no_reference_is_run_or_copied(tmp_path: Path, words: Any, trainable: Trainable) -> None:
    """The same weights, bit for bit, as with a reference that is only measured."""
    free = {"coef": 0.0, "target": None}
    reference_passes = list[int]()

    class Counted(Policy):
        @contextmanager
        def reference_mode(self, weights: Any = None) -> Iterator[None]:
            reference_passes.append(1)
            with super().reference_mode(weights):
                yield

    ends = []
    for name, kl in (("without", KLSettings(**free)), ("measured", KLSettings(**free, measure="sampled"))):
        reference_passes.clear()
        loop = online(tmp_path / name, words, algorithm=RLOO(), kl=kl, trainable=trainable)
        loop.models.policy.__class__ = Counted
        loop.run()
        ends.append(weights_of(loop.models))
        assert len(reference_passes) == (4 if name == "measured" else 0)
        assert (loop.reference_weights is None) == (name == "without" or trainable is LORA)
        assert ("kl" in recorded(tmp_path / name)[0]) == (name == "measured")
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_reasons_of_failures_stand_in_a_file_with_counts_and_once_on_the_console(
    tmp_path: Path, words: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped after two rounds and resumed, the file is that of a run that was not."""

    def picky(_: Any, text: str) -> float | None:
        if "a" in text:
            raise ValueError("no such unit")
        return None if "b" in text else float(len(text))

    stop = StopSignal()

    def stopping(n: int) -> None:
        stop.requested = stop.requested or n == 3

    reward = FunctionReward(picky, "picky")
    settings: dict[str, Any] = {"reward": reward, "prompts_per_step": 4, "sampling": {"completions": 6}}
    online(tmp_path / "whole", words, **settings).run()
    err = " ".join(capsys.readouterr().err.split())
    with pytest.raises(Interrupted):
        online(tmp_path / "cut", words, before=stopping, stop=stop, **settings).run()
    online(tmp_path / "cut", words, **settings).run()
    rows = recorded(tmp_path / "whole")
    assert sum(row["abstained_rows"] for row in rows) > 0 < sum(row["reward_failures"] for row in rows)
    total = int(sum(row["reward_failures"] for row in rows))
    assert failures_in(tmp_path / "whole") == [{"reason": "ValueError: no such unit", "count": total}]
    assert (tmp_path / "cut" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()
    assert err.count("ValueError: no such unit") == 1


def test_a_reward_that_abstains_on_a_whole_round_ends_in_a_sentence(tmp_path: Path, words: Any) -> None:
    reward = FunctionReward(lambda prompt, text: None, "shy")
    with pytest.raises(RunError, match="the reward 'shy' abstained on every completion of a round; give it"):
        online(tmp_path, words, reward=reward).run()


@pytest.mark.parametrize("trainable", [LORA, Trainable(adapter="none")], ids=["lora", "full"])
def test_the_kl_over_the_vocabulary_as_a_price_and_as_a_measure(
    tmp_path: Path, words: Any, trainable: Trainable
) -> None:
    """In the first round policy and reference agree: both are 0; later `kl_full` is near the sampled mean."""
    kl = KLSettings(coef=0.2, target=None, placement="loss", estimator="full", measure="full")
    loop = online(tmp_path, words, algorithm=RLOO(), kl=kl, trainable=trainable, sampling={"completions": 8})
    loop.run()
    rows = recorded(tmp_path)
    assert rows[0]["kl_full"] == pytest.approx(0.0, abs=1e-5)
    assert all(row["kl_full"] >= 0 for row in rows)
    assert rows[-1]["kl_full"] == pytest.approx(rows[-1]["kl"], rel=0.5)
    assert rows[-1]["kl_loss"] > 0


def test_a_price_over_the_vocabulary_belongs_in_the_loss() -> None:
    with pytest.raises(ValueError, match="estimator: full has a gradient of its own"):
        KLSettings(estimator="full")
