"""Episodes computed by hand, masks of a tool's turns, and a classic learner that reaches the optimum."""

from __future__ import annotations

import importlib
import itertools
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from function_reward import FunctionReward
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from tiny import prompts_of, tiny_policy, word_tokenizer

import gnomon.rollouts
from gnomon.core.errors import ConfigError, DataError, RunError
from gnomon.core.types import Prompt
from gnomon.rollouts.experience import apply_kl_penalty, build_experience
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.text_env import TextEnv, Transcript, token_groups_of_transcripts

LETTERS, END = 3, 3


def count_ones(transcript: Transcript) -> float:
    return float(transcript.token_ids.count(1))


def small(**changes: Any) -> TextEnv:
    settings: dict[str, Any] = {"max_tokens": 3, "vocabulary": LETTERS + 1, "end": END, **changes}
    return TextEnv(settings.pop("prompts", [[0, 2], [1]]), settings.pop("reward", count_ones), **settings)


def walk(env: TextEnv, actions: Sequence[int], prompt: int = 0) -> list[tuple[list[int], float, bool, bool]]:
    """What each step answers."""
    env.reset(options={"prompt": prompt})
    return [(o.tolist(), r, end, cut) for o, r, end, cut, _ in (env.step(a) for a in actions)]


def calculator(transcript: Transcript) -> Sequence[int] | None:
    """Answers the first turn with two tokens, and no other."""
    return [2, 0] if transcript.token_ids.count(END) == 1 else None


def now(env: TextEnv) -> Transcript:
    assert env._now is not None
    return env._now


@pytest.mark.parametrize("changes", [{}, {"window": 2}, {"tool": calculator, "every_token": True}])
def test_gymnasiums_own_checks(changes: dict[str, Any]) -> None:
    check_env(small(**changes), skip_render_check=True)


def test_an_episode_that_ends_by_itself() -> None:
    """Five places: the longest prompt and three tokens; 4 stands where nothing is yet; the score comes last."""
    env = small()
    start, info = env.reset(options={"prompt": 0})
    assert start.tolist() == [4, 4, 4, 0, 2]
    assert info["transcript"] == Transcript(Prompt("0", ()), (0, 2))
    assert walk(env, [1, END]) == [
        ([4, 4, 0, 2, 1], 0.0, False, False),
        ([4, 0, 2, 1, END], 1.0, True, False),
    ]
    assert now(env).rewards == (0.0, 1.0)
    assert now(env).completion_mask == (True, True)
    assert now(env).finished
    assert now(env).score == 1


def test_the_length_limit_truncates_unless_an_end_comes_with_it() -> None:
    env = small()
    assert [step[1:] for step in walk(env, [1, 0, 1])] == [(0, False, False), (0, False, False), (2, False, True)]
    assert now(env).truncated
    assert not now(env).finished
    assert walk(env, [1, 0, END])[-1][1:] == (1.0, True, False)
    env = small(limit_terminates=True)
    assert walk(env, [1, 0, 1])[-1][1:] == (2.0, True, False)
    assert now(env).truncated
    assert not now(env).finished


def test_a_reward_for_every_token_sees_the_text_so_far() -> None:
    assert [r for _, r, _, _ in walk(small(every_token=True), [1, 0, 1])] == [1, 1, 2]


def test_a_window_shows_the_last_tokens() -> None:
    assert [o for o, _, _, _ in walk(small(window=2), [1, 0, 1])] == [[2, 1], [1, 0], [0, 1]]


def test_a_tools_output_is_observed_and_masked_and_costs_no_action() -> None:
    """END calls the tool, which adds 2, 0; the second END ends the episode; the limit counts own tokens only."""
    env = small(tool=calculator, max_tokens=4, window=7)
    assert walk(env, [1, END, 1, END]) == [
        ([4, 4, 4, 4, 0, 2, 1], 0.0, False, False),
        ([4, 0, 2, 1, END, 2, 0], 0.0, False, False),
        ([0, 2, 1, END, 2, 0, 1], 0.0, False, False),
        ([2, 1, END, 2, 0, 1, END], 2.0, True, False),
    ]
    assert now(env).token_ids == (1, END, 2, 0, 1, END)
    assert now(env).completion_mask == (True, True, False, False, True, True)
    assert now(env).rewards == (0, 0, 0, 0, 0, 2)
    rollout = now(env).rollout([-0.1, -0.2, -0.3, -0.4], policy_version=7)
    assert rollout.logprobs == (-0.1, -0.2, 0, 0, -0.3, -0.4)
    assert (rollout.finished, rollout.policy_version, rollout.prompt_ids) == (True, 7, (0, 2))
    experience = build_experience([rollout], torch.tensor([5.0]))
    assert experience.totals.tokens == 4
    priced = apply_kl_penalty(replace(experience, reference_logprobs=experience.old_logprobs), 0.1)
    assert priced.rewards is not None
    assert priced.rewards.tolist() == [[0, 0, 0, 0, 0, 5]]


def test_a_tools_output_after_the_last_action() -> None:
    """The episode is cut off, its score on the policy's last token and not on the tool's."""
    env = small(tool=calculator, max_tokens=2)
    assert walk(env, [1, END])[-1] == ([2, 1, END, 2, 0][-4:], 1.0, False, True)
    assert now(env).rewards == (0, 1, 0, 0)


def test_episodes_become_groups_by_prompt_with_their_masks() -> None:
    result = []
    env = small(tool=calculator, max_tokens=4)
    for actions, prompt in (([1, END, END], 0), ([0, 0, 0, 0], 1), ([END, 1, END], 0)):
        walk(env, actions, prompt)
        result.append(now(env))
    groups = token_groups_of_transcripts(result)
    assert groups.group.tolist() == [0, 1, 0]
    assert [p.tolist() for p in groups.prompts] == [[0, 2], [1]]
    assert [m.tolist() for m in groups.masks] == [
        [True, True, False, False, True],
        [True] * 4,
        [True, False, False, True, True],
    ]
    with pytest.raises(DataError, match=r"3 tokens of the policy and 1 log-probabilities"):
        result[0].rollout([-0.5])


def test_the_seed_decides_the_prompts() -> None:
    def drawn(env: TextEnv, seed: int) -> list[str]:
        first = env.reset(seed=seed)[1]["transcript"].prompt.id
        return [first, *(env.reset()[1]["transcript"].prompt.id for _ in range(12))]

    assert drawn(small(), 5) == drawn(small(), 5)
    assert len({tuple(drawn(small(), seed)) for seed in range(4)}) > 1
    assert set(drawn(small(), 5)) == {"0", "1"}


def test_several_at_once() -> None:
    """Two environments side by side; the one that ended starts again and the other continues."""
    env = SyncVectorEnv([small, small], autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset(seed=[0, 1])
    env.step(np.array([1, 0]))
    _, rewards, ended, cut, info = env.step(np.array([END, 0]))
    assert rewards.tolist() == [1, 0]
    assert ended.tolist() == [True, False]
    assert not cut.any()
    assert info["final_info"]["transcript"][0].token_ids == (1, END)
    _, _, ended, cut, info = env.step(np.array([0, 0]))
    assert info["transcript"][0].token_ids == (0,)
    assert cut.tolist() == [False, True]


def test_a_reward_of_gnomon_reads_the_text(words: Any) -> None:
    prompts = prompts_of("a b")
    reward = FunctionReward(lambda prompt, text: float(text.split().count("b")), "counts b")
    env = TextEnv(prompts, reward, max_tokens=5, tokenizer=words)
    env.reset()
    b = words.convert_tokens_to_ids("b")
    answers = [env.step(a) for a in (b, b, words.eos_token_id)]
    assert [a[1] for a in answers] == [0, 0, 2]
    last = answers[-1][-1]["transcript"]
    assert (last.text, last.prompt, last.finished) == ("b b", prompts[0], True)
    assert env.vocabulary == len(words)


def test_a_turn_ends_as_in_ordinary_sampling() -> None:
    """By the template's end, the tokenizer's other eos, and what the model's generation settings list."""
    words = word_tokenizer()  # not the fixture's, which other tests use too
    words.chat_template = "{% for m in messages %}{{ m.content }}<turn>{% endfor %}"
    words.add_special_tokens({"additional_special_tokens": ["<turn>", "<call>"]})
    turn, call = words.convert_tokens_to_ids(["<turn>", "<call>"])
    policy = tiny_policy(words)
    policy.network.generation_config.eos_token_id = [call]
    env = TextEnv(prompts_of("a"), lambda t: 1.0, max_tokens=5, tokenizer=words, network=policy.network)
    assert env.end_ids == NativeSampler(policy).end_ids == (turn, call, words.eos_token_id)
    for end in env.end_ids:
        env.reset()
        assert env.step(end)[2], "terminated"
    assert TextEnv(prompts_of("a"), lambda t: 1.0, max_tokens=5, tokenizer=words).end_ids == (
        turn,
        words.eos_token_id,
    )
    assert [step[2] for step in walk(small(end=[2, END]), [1, 2])] == [False, True]


def failing(prompt: Prompt, text: str) -> float:
    raise ValueError("no words")


def test_invalid_settings_are_refused(words: Any) -> None:
    env = small()
    with pytest.raises(ConfigError, match="call reset"):
        env.step(0)
    walk(env, [END])
    with pytest.raises(ConfigError, match="call reset"):
        env.step(0)
    with pytest.raises(ConfigError, match="there is no prompt 2; there are 2"):
        env.reset(options={"prompt": 2})
    with pytest.raises(DataError, match="the action holds token 4"):
        walk(env, [4])
    with pytest.raises(DataError, match="the tool's output holds token 9"):
        walk(small(tool=lambda transcript: [9]), [END])
    with pytest.raises(RunError, match="not a finite number"):
        walk(small(reward=lambda transcript: float("nan")), [END])
    env = TextEnv(prompts_of("a"), FunctionReward(failing, "f"), max_tokens=1, tokenizer=words)
    env.reset()
    with pytest.raises(RunError, match="no words"):
        env.step(5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": None}, "or both vocabulary and end"),
        ({"end": 4}, "end is 4"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"prompts": []}, "at least one prompt"),
        ({"prompts": [[7]]}, "prompt '0' holds token 7"),
        ({"prompts": [[]]}, "prompt '0' has no tokens"),
        ({"prompts": prompts_of("a")}, "give TextEnv a tokenizer"),
        ({"reward": FunctionReward(failing, "f")}, "needs a tokenizer"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        small(**changes)


def test_without_gymnasium_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "gnomon.rollouts.text_env")
    monkeypatch.delattr(gnomon.rollouts, "text_env")
    with pytest.raises(ConfigError, match=r"pip install gymnasium"):
        importlib.import_module("gnomon.rollouts.text_env")


WANTED = {"0": (0, 1, END), "1": (2, END)}
EVERY = [
    *((*text, END) for n in range(3) for text in itertools.product(range(LETTERS), repeat=n)),
    *itertools.product(range(LETTERS), repeat=3),
]
NOISE = dict(zip(itertools.product(WANTED, EVERY), np.random.default_rng(0).random(80), strict=True))


def worth(prompt: str, text: tuple[int, ...]) -> float:
    """The share of positions that agree with the prompt's target, and a preference without a rule."""
    pairs = itertools.zip_longest(text, WANTED[prompt])
    agree = [a == b for a, b in pairs]
    return float(np.mean(agree) + 0.2 * NOISE[prompt, text])


def exact_value(policy: Any, make: Any) -> float:
    """The expected reward of a policy, all completions of both prompts enumerated."""
    total = 0.0
    for prompt, text in itertools.product(range(2), EVERY):
        env, logprob = make(), 0.0
        seen, _ = env.reset(options={"prompt": prompt})
        for action in text:
            with torch.no_grad():
                logprob += float(
                    policy.get_distribution(torch.tensor(seen)[None]).log_prob(torch.tensor([action]))
                )
            seen, reward, *_ = env.step(action)
        total += float(np.exp(logprob)) * reward / 2
    return total


@pytest.mark.long
def test_stable_baselines_ppo_finds_the_best_completion_of_every_prompt() -> None:
    """To 0.01 of the best expected reward there is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own, at import
        from stable_baselines3 import PPO
        from stable_baselines3.common.env_checker import check_env as check_env_for_ppo
        from stable_baselines3.common.vec_env import DummyVecEnv

    def make() -> gymnasium.Env[Any, Any]:
        def reward(transcript: Transcript) -> float:
            return worth(transcript.prompt.id, transcript.token_ids)

        return small(prompts=[[0], [1]], reward=reward, limit_terminates=True)

    check_env_for_ppo(make())
    best = float(np.mean([max(worth(prompt, text) for text in EVERY) for prompt in WANTED]))
    learner = PPO(
        "MlpPolicy",
        DummyVecEnv([make] * 16),
        n_steps=64,
        batch_size=256,
        n_epochs=5,
        learning_rate=3e-3,
        gamma=1.0,
        ent_coef=0.01,
        seed=0,
        device="cpu",
    )
    before = exact_value(learner.policy, make)
    learner.learn(16 * 64 * 16)
    assert before < 0.5 * best
    assert best - 0.01 < exact_value(learner.policy, make) <= best + 1e-5
