"""The scoring server over real HTTP: scores, OpenRLHF's protocol, concurrent callers, bad requests, access."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import torch
from function_reward import FunctionReward
from serving_rewards import ScoringClient, serving_reward
from tiny import prompts_of, tiny_reward_model

from gnomon.core.types import Completion, Message, Prompt, Role
from gnomon.data.templates.chat_template import render_text
from gnomon.models.settings import Combination
from gnomon.rewards.ensemble import EnsembleReward
from gnomon.rewards.reward import LearnedReward, Reward, Scores
from gnomon.serving.guard import MAX_BYTES
from gnomon.serving.payloads import MAX_CHARS, MAX_ROWS

QUESTION = "review a film"
ANSWERS = ["good", "a very good film", "一部好电影", "good film " * 9, ""]


@pytest.fixture(scope="module")
def judge(chat_tokenizer: Any) -> LearnedReward:
    return LearnedReward(tiny_reward_model(chat_tokenizer), "judge")


@pytest.fixture(scope="module")
def client(judge: LearnedReward) -> Iterator[ScoringClient]:
    with serving_reward(judge) as client:
        yield client


def direct(judge: Reward, answers: list[str] = ANSWERS) -> list[float]:
    prompts = prompts_of(QUESTION) * len(answers)
    completions = [Completion(str(n), text) for n, text in enumerate(answers)]
    scores: list[float] = judge.score(prompts, completions).values.tolist()
    return scores


def test_scores_are_those_of_the_model(client: ScoringClient, judge: LearnedReward) -> None:
    results = client.score([QUESTION] * 5, list(ANSWERS))
    assert [row["score"] for row in results] == pytest.approx(direct(judge), abs=1e-5)
    assert [row["parts"] for row in results] == [{"judge": row["score"]} for row in results]


def test_the_path_of_a_model_is_in_no_response(chat_tokenizer: Any) -> None:
    for head in ("", "#helpfulness"):
        reward = LearnedReward(tiny_reward_model(chat_tokenizer), f"/home/ann/runs/rm{head}")
        with serving_reward(reward, f"rm{head}") as client:
            response = client.post("/v1/score", {"prompts": [QUESTION], "completions": ["good"]})
        assert "/home" not in response.text
        assert response.json()["results"][0]["parts"].keys() == {f"rm{head}"}


def test_the_scores_differ(judge: LearnedReward) -> None:
    assert max(direct(judge)) - min(direct(judge)) > 0.1


def test_any_character_that_a_policy_writes_is_scored(client: ScoringClient, judge: LearnedReward) -> None:
    answer = "good\0film\x1b\ufffd\u2028"
    assert client.score([QUESTION], [answer])[0]["score"] == pytest.approx(direct(judge, [answer])[0], abs=1e-5)


def test_an_id_of_a_caller_names_no_prompt_of_others(client: ScoringClient) -> None:
    texts = (QUESTION, "is it good")
    alone = [client.score([text], ["good"])[0]["score"] for text in texts]
    prompts = [{"id": "x", "messages": [{"role": "user", "content": text}]} for text in texts]
    assert [row["score"] for row in client.score(prompts, ["good", "good"])] == pytest.approx(alone, abs=1e-5)
    assert abs(alone[0] - alone[1]) > 1e-3


def test_messages_are_scored_as_conversations(client: ScoringClient, judge: LearnedReward) -> None:
    roles: tuple[Role, ...] = ("system", "user", "assistant", "user")
    turns = [Message(role, text) for role, text in zip(roles, ("be brief", "hi", "hi", "film?"), strict=True)]
    sent = [{"role": turn.role, "content": turn.content} for turn in turns]
    expected = judge.score([Prompt("p", tuple(turns))], [Completion("c", "good")]).values.tolist()
    for answer in ("good", [{"role": "assistant", "content": "good"}]):
        assert client.score([sent], [answer])[0]["score"] == pytest.approx(expected[0], abs=1e-5)


def test_a_row_with_an_image_has_no_score_and_says_why(client: ScoringClient) -> None:
    """Whatever the reward: one that reads texts alone would score what it does not see."""
    drawn = [
        {"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "film?"}]}
    ]
    answer = [{"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "b.png"}}]}]
    results = client.score([drawn, QUESTION, QUESTION], ["good", answer, "good"])
    assert [row["score"] is None for row in results] == [True, True, False]
    assert [row["reason"] for row in results[:2]] == ["it has 1 image, which no model here reads"] * 2
    with serving_reward(FunctionReward(lambda prompt, text: 1.0, "one")) as other:
        assert [row["score"] for row in other.score([drawn, QUESTION], ["good", "good"])] == [None, 1.0]


@pytest.mark.parametrize("with_prompts", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_openrlhf_sends_rendered_texts(with_prompts: bool, whole: bool, judge: LearnedReward) -> None:
    """As its trainer does: whole texts with the end of turn, their prompts, labels; unknown keys are ignored."""
    tokenizer = judge.model.tokenizer
    asked = [Message("user", QUESTION)]
    start = render_text(tokenizer, asked, "", answer=True)
    texts = [
        start + answer + end
        for answer, end in zip(ANSWERS, ("<|im_end|>", "", "<|im_end|>\n", "", ""), strict=True)
    ]
    body: dict[str, Any] = {"query": texts, "labels": [None] * 5, "more": 1}
    if with_prompts:
        body["prompts"] = [start] * 5
    judge.model.whole_conversation = whole
    try:
        with serving_reward(judge) as client:
            response = client.post("/get_reward", body).json()
        expected = direct(judge)
    finally:
        judge.model.whole_conversation = False
    assert response["rewards"] == pytest.approx(expected, abs=1e-5)
    assert response["scores"] == response["rewards"] == response["extra_logs"]["score"]


def test_an_ensemble_reads_rendered_texts(chat_tokenizer: Any) -> None:
    """Of models with another scale each; the pessimistic rule, on one scale."""
    judges = [LearnedReward(tiny_reward_model(chat_tokenizer, seed=seed), f"judge {seed}") for seed in (1, 2)]
    rule = Combination(rule="minimum")
    reward = EnsembleReward("both", judges, ["a", "b"], rule, zeros_and_scales=((0.1, -0.2), (1.0, 3.0)))
    start = render_text(chat_tokenizer, [Message("user", QUESTION)], "", answer=True)
    with serving_reward(reward) as client:
        texts = [start + answer for answer in ANSWERS]
        rewards = client.post("/get_reward", {"query": texts, "prompts": [start] * 5}).json()["rewards"]
    assert rewards == pytest.approx(direct(reward), abs=1e-5)
    assert max(rewards) - min(rewards) > 0.05


def test_rendered_texts_of_a_pooled_head_need_their_prompts(chat_tokenizer: Any) -> None:
    from gnomon.models.library_patches import set_score_head
    from gnomon.models.scalar_head import new_head
    from gnomon.models.settings import HeadSettings

    model = tiny_reward_model(chat_tokenizer)
    set_score_head(model.network, new_head(32, HeadSettings(pooling="mean"), 0))
    reward = LearnedReward(model, "pooled")
    start = render_text(chat_tokenizer, [Message("user", QUESTION)], "", answer=True)
    with serving_reward(reward) as client:
        given = client.post("/get_reward", {"query": [start + "good"], "prompts": [start]}).json()["rewards"]
        refused = client.post("/get_reward", {"query": [start + "good"]})
    assert given == pytest.approx(direct(reward, ["good"]), abs=1e-5)
    assert refused.status_code == 422
    assert "query[0] has no score: the model reads all of an answer" in refused.json()["detail"]


def test_concurrent_callers_get_the_scores_of_one_batch(client: ScoringClient, judge: LearnedReward) -> None:
    expected = direct(judge)

    def call(number: int) -> list[float]:
        rows = [(number + shift) % 5 for shift in range(3)]
        results = client.score([QUESTION] * 3, [ANSWERS[row] for row in rows])
        return [abs(result["score"] - expected[row]) for result, row in zip(results, rows, strict=True)]

    with ThreadPoolExecutor(16) as pool:
        gaps = [gap for gaps in pool.map(call, range(40)) for gap in gaps]
    assert max(gaps) < 1e-5


def test_requests_that_wait_are_scored_together() -> None:
    """The first request holds the reward until three others wait; these are one call."""
    sizes: list[int] = []
    entered, gate = threading.Event(), threading.Event()

    class Slow:
        name = "slow"

        def score(self, prompts: Any, completions: Any) -> Scores:
            sizes.append(len(completions))
            entered.set()
            assert gate.wait(30)
            return Scores(torch.tensor([float(len(c.text)) for c in completions]))

    with serving_reward(Slow()) as client, ThreadPoolExecutor(4) as pool:
        first = pool.submit(client.score, ["q"], ["a"])
        assert entered.wait(30)
        others = [pool.submit(client.score, ["q"] * n, ["a" * n] * n) for n in (2, 3, 4)]
        queue = client.app.state.served.queue
        while queue._waiting < 10:
            pass
        gate.set()
        assert [row["score"] for row in first.result()] == [1.0]
        for n, other in zip((2, 3, 4), others, strict=True):
            assert [row["score"] for row in other.result()] == [float(n)] * n
    assert sizes == [1, 9]


def test_a_failing_caller_does_not_fail_the_others() -> None:
    entered, gate = threading.Event(), threading.Event()

    class Fragile:
        name = "fragile"

        def score(self, prompts: Any, completions: Any) -> Scores:
            entered.set()
            assert gate.wait(30)
            if any("bad" in c.text for c in completions):
                raise ValueError("secret text of a user")
            return Scores(torch.ones(len(completions)))

    with serving_reward(Fragile()) as client, ThreadPoolExecutor(3) as pool:
        first = pool.submit(client.score, ["q"], ["a"])
        assert entered.wait(30)
        both = [
            pool.submit(client.post, "/v1/score", {"prompts": ["q"], "completions": [text]})
            for text in ("bad", "b")
        ]
        while client.app.state.served.queue._waiting < 3:
            pass
        gate.set()
        assert first.result()[0]["score"] == 1.0
        assert [one.result().status_code for one in both] == [500, 200]


def test_rows_without_a_score_have_a_reason(client: ScoringClient) -> None:
    prompts: list[Any] = [QUESTION, "", QUESTION, [{"role": "assistant", "content": "hi"}], *[QUESTION] * 3]
    completions: list[Any] = ["good", "good", "a film " * 400, "good", "x" * (MAX_CHARS + 1), [{"role": "cook"}]]
    completions.append("\ud800")
    results = client.score(prompts, completions)
    assert isinstance(results[0]["score"], float)
    reasons = [row["reason"] for row in results[1:]]
    assert all(row["score"] is None and row.keys() == {"score", "reason"} for row in results[1:])
    for reason, words in zip(
        reasons,
        ("the prompt is empty", "more than the reward model's context", "ends with the assistant's turn",
         "characters, more than 200,000", "role 'cook'", "half of a surrogate pair"),
        strict=True,
    ):  # fmt: skip
        assert words in reason


def test_a_function_is_served_without_probabilities() -> None:
    with serving_reward(FunctionReward(lambda prompt, text: len(text), "length")) as client:
        assert client.score(["q"], ["abc"])[0]["score"] == 3.0
        decision = client.post("/v1/decisions", {"prompt": "q", "choices": ["a", "abc"]}).json()
        assert decision["choice"] == 1
        assert decision["probabilities"] is None
        assert decision["calibrated"] is False
        for path, body in (("/get_reward", {"query": ["x"]}), ("/v1/systemone", {"question": "q"})):
            refused = client.post(path, body)
            assert refused.status_code == 422
            assert refused.json()["detail"].count(".") == 1


SCORE = {"prompts": ["a"], "completions": ["b"]}
BAD: dict[str, tuple[str, Any, str]] = {
    "no json": ("/v1/score", b"{", "is not JSON"),
    "not utf-8": ("/v1/score", b'{"prompts": ["\xff"]}', "is not JSON"),
    "a list": ("/v1/score", [1], "but no object"),
    "deep": ("/v1/score", b"[" * 100_000, "is not JSON"),
    "NaN": ("/v1/score", b'{"prompts": [NaN], "completions": ["a"]}', "NaN is no number"),
    "missing": ("/v1/score", {"prompts": ["a"]}, "completions"),
    "unknown": ("/v1/score", SCORE | {"prompt": 1}, "unknown key 'prompt'"),
    "a number": ("/v1/score", SCORE | {"prompts": 3}, "prompts"),
    "numbers": ("/v1/score", SCORE | {"completions": [3]}, "completions"),
    "empty": ("/v1/score", {"prompts": [], "completions": []}, "at least 1 item"),
    "unequal": ("/v1/score", SCORE | {"completions": ["b", "c"]}, "1 prompts and 2 completions"),
    "too many": ("/v1/score", {"prompts": ["a"] * (MAX_ROWS + 1), "completions": ["a"]}, "at most 1024 items"),
    "half a pair": ("/get_reward", b'{"query": ["\\ud800"]}', "half of a surrogate pair"),
    "half a pair in a question": ("/v1/systemone", b'{"question": "\\ud800"}', "valid string"),
    "no query": ("/get_reward", {"prompts": ["a"]}, "query"),
    "null query": ("/get_reward", {"query": None}, "query"),
    "numbers as query": ("/get_reward", {"query": [1]}, "query"),
    "unequal prompts": ("/get_reward", {"query": ["a"], "prompts": ["a", "b"]}, "1 query and 2 prompts"),
    "an empty query": ("/get_reward", {"query": [""]}, "the text is empty"),
    "one choice": ("/v1/decisions", {"prompt": "a", "choices": ["b"]}, "at least 2 items"),
    "a bad choice": ("/v1/decisions", {"prompt": "a", "choices": ["b", []]}, "choices[1] has no score"),
    "no question": ("/v1/systemone", {"choices": ["a", "b"]}, "question"),
    "the same twice": ("/v1/systemone", {"question": "a", "choices": ["b", "b"]}, "same text twice"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused_in_one_sentence(name: str, client: ScoringClient) -> None:
    path, body, words = BAD[name]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = requests.post(client.address + path, data=raw, timeout=60)
    assert response.status_code == 422
    detail = response.json()["detail"]
    assert words in detail
    assert detail.endswith((".", "?"))
    assert "\n" not in detail


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_that_is_too_large_is_refused(chunked: bool, client: ScoringClient) -> None:
    piece = b" " * (1 << 20)
    data: Any = (piece for _ in range(50)) if chunked else piece * 50
    response = requests.post(client.address + "/v1/score", data=data, timeout=60)
    assert response.status_code == 413
    assert response.json() == {"detail": "the request has more than 8 MiB; send fewer rows at a time."}
    assert MAX_BYTES == 8 << 20
    assert client.score([QUESTION], ["good"])[0]["score"] is not None


def test_other_addresses_and_methods_are_refused(client: ScoringClient) -> None:
    assert requests.get(client.address + "/docs", timeout=60).status_code == 404
    assert requests.get(client.address + "/v1/score", timeout=60).status_code == 405
    assert requests.get(client.address + "/health", timeout=60).json() == {"status": "ok"}
    listed = requests.get(client.address + "/v1/models", timeout=60).json()
    assert listed["data"] == [{"id": "judge", "object": "model", "owned_by": "gnomon", "calibrated": False}]


def test_web_pages_are_refused(client: ScoringClient) -> None:
    response = client.post("/v1/score", SCORE, Origin="https://example.com")
    assert response.status_code == 403


def test_a_token_is_required(judge: LearnedReward) -> None:
    token = "tok-3f9d1c2b7a6e5f40"
    with serving_reward(judge, token=token) as client:
        assert requests.get(client.address + "/health", timeout=60).status_code == 200
        assert requests.get(client.address + "/v1/models", timeout=60).status_code == 401
        for header in ("", "Bearer", "Bearer tok", f"Bearer {token}x", "Basic !!", f"Token {token}"):
            response = client.post("/v1/score", SCORE, Authorization=header)
            assert response.status_code == 401
            assert token not in response.text
        assert client.post("/v1/score", SCORE, Authorization=f"Bearer {token}").status_code == 200
        with_password = client.address.replace("://", f"://any:{token}@")
        assert requests.post(with_password + "/v1/score", json=SCORE, timeout=60).status_code == 200
