"""Reward servers as rewards: Gnomon's and OpenRLHF's, unreachable ones, refusals, a token."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
from chat_server import Answer, chat_server
from serving_rewards import serving_reward
from tiny import prompts_of, tiny_reward_model

from gnomon.api.score import reward_named
from gnomon.core.errors import ConfigError, RunError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.rewards import remote_reward
from gnomon.rewards.composite import RewardPart
from gnomon.rewards.remote_reward import TOKEN, RemoteReward
from gnomon.rewards.reward import LearnedReward, Scores
from gnomon.stages.references import is_not_a_model

TURNS = (Message("user", "hi"), Message("assistant", "good"), Message("user", "why"))
PROMPTS = [*prompts_of("review a film", "is it good"), Prompt("long", TURNS, answer="good")]
COMPLETIONS = [Completion("a", "a very good film"), Completion("b", "no"), Completion("c", "good")]
FAST: dict[str, Any] = {"first_wait": 0.0}


@pytest.fixture
def judge(chat_tokenizer: Any) -> LearnedReward:
    return LearnedReward(tiny_reward_model(chat_tokenizer), "judge")


@pytest.mark.parametrize("rows", [256, 2])
@pytest.mark.parametrize("path", ["", "/", "/v1/score", "/get_reward"])
def test_scores_are_those_of_the_served_model(
    path: str, rows: int, judge: LearnedReward, chat_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_reward, "ROWS", rows)
    reports: list[int] = []
    with serving_reward(judge) as client:
        reward = RemoteReward(client.address + path, chat_tokenizer)
        reward.report = reports.append
        scores = reward.score(PROMPTS, COMPLETIONS)
    assert isinstance(scores, Scores)
    assert scores.values.tolist() == pytest.approx(judge.score(PROMPTS, COMPLETIONS).values.tolist(), abs=1e-5)
    assert reports == ([3] if rows == 256 else [2, 3])


def test_openrlhf_gets_texts_prompts_and_labels(chat_tokenizer: Any) -> None:
    with chat_server() as server:
        server.reply = lambda number, body: Answer({"rewards": [[1.0], 2, math.nan]})
        reward = RemoteReward(server.url.removesuffix("/v1") + "/get_reward", chat_tokenizer, **FAST)
        values, reasons = reward.numbers(PROMPTS, COMPLETIONS)
    body = server.requests[0].body
    assert body["query"][0] == body["prompts"][0] + "a very good film<|im_end|>"
    assert body["prompts"][0] == "<|im_start|>user\nreview a film<|im_end|>\n<|im_start|>assistant\n"
    assert body["labels"] == [None, None, "good"]
    assert values[:2] == [1.0, 2.0]
    assert math.isnan(values[2])
    assert reasons == [(2, "its score is not a finite number")]


@pytest.mark.parametrize("rows", [256, 1])
def test_a_row_that_the_server_cannot_score_fails_alone(
    rows: int, judge: LearnedReward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_reward, "ROWS", rows)
    completions = [COMPLETIONS[0], Completion("long", "film " * 2_000), COMPLETIONS[2]]
    with serving_reward(judge) as client:
        values, reasons = RemoteReward(client.address).numbers(PROMPTS, completions)
    assert [math.isnan(value) for value in values] == [False, True, False]
    [(row, reason)] = reasons
    assert row == 1
    assert "more than the reward model's context" in reason


def test_transient_failures_are_retried() -> None:
    good = Answer({"results": [{"score": 1.5, "parts": {}}] * 3})
    replies = [Answer("busy", 503), Answer({"results": []}), Answer(b"no json"), good]
    with chat_server() as server:
        server.reply = lambda number, body: replies[number]
        values, reasons = RemoteReward(server.url, **FAST).numbers(PROMPTS, COMPLETIONS)
    assert (values, reasons) == ([1.5] * 3, [])
    assert len(server.requests) == 4
    assert server.requests[0].path == "/v1/v1/score"


def test_rows_fail_when_the_server_stays_away() -> None:
    reward = RemoteReward("http://127.0.0.1:9", retries=2, first_wait=0.0)
    values, reasons = reward.numbers(PROMPTS, COMPLETIONS)
    assert all(map(math.isnan, values))
    assert [row for row, _ in reasons] == [0, 1, 2]
    assert reasons[0][1].startswith("the reward server cannot be reached (")
    assert reasons[0][1].endswith("tried 3 times")


def test_a_refused_request_is_not_sent_again() -> None:
    with chat_server() as server:
        server.reply = lambda number, body: Answer({"detail": "too long"}, 422)
        _, reasons = RemoteReward(server.url, **FAST).numbers(PROMPTS, COMPLETIONS)
        assert reasons[0][1] == "the reward server returned status 422 (too long)"
        assert len(server.requests) == 1
        for status, words in ((401, TOKEN), (404, "is its address right"), (307, "is its address right")):
            refused = Answer({"detail": "no"}, status)
            server.reply = partial(lambda answer, number, body: answer, refused)
            with pytest.raises(RunError, match=words):
                RemoteReward(server.url, **FAST).numbers(PROMPTS, COMPLETIONS)


def test_the_token_is_sent_and_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "tok-3f9d1c2b7a6e5f40")
    with chat_server() as server:
        server.reply = lambda number, body: Answer({"detail": "bad key tok-3f9d1c2b7a6e5f40"}, 401)
        with pytest.raises(RunError) as refusal:
            RemoteReward(server.url, **FAST).numbers(PROMPTS, COMPLETIONS)
    headers = {name.lower(): value for name, value in server.requests[0].headers.items()}
    assert headers["authorization"] == "Bearer tok-3f9d1c2b7a6e5f40"
    assert "3f9d1c2b" not in str(refusal.value)


def test_addresses() -> None:
    for url, words in (
        ("http://any:secret@host:8000", "holds a password"),
        ("http://", "no address of a server"),
        ("http://host:x", "no address of a server"),
        ("http://host/get_reward", "takes texts by a policy's chat template"),
    ):
        with pytest.raises(ConfigError, match=words) as refusal:
            reward_named(url)
        assert "secret" not in str(refusal.value)
    assert is_not_a_model("http://host:8000")
    assert not is_not_a_model("org/model")
    assert RewardPart(of="https://host/get_reward", timeout=5).title == "https://host/get_reward"


def test_a_server_is_a_judge_on_the_command_line(judge: LearnedReward) -> None:
    with serving_reward(judge) as client:
        scores = reward_named(client.address).score(PROMPTS, COMPLETIONS)
    assert scores.values.tolist() == pytest.approx(judge.score(PROMPTS, COMPLETIONS).values.tolist(), abs=1e-5)
