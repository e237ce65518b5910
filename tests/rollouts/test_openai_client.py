"""A chat model behind a real server: what is sent, what passes, what does not, and what nobody may read."""

from __future__ import annotations

import json
import logging
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from chat_server import Answer, ChatServer, chat, chat_server
from tiny import prompts_of

from gnomon.core.errors import ConfigError, DataError, GnomonError, ModelError
from gnomon.core.types import Message, Prompt
from gnomon.rollouts import openai_client
from gnomon.rollouts.http_endpoint import retry_seconds
from gnomon.rollouts.openai_client import ChatEndpoint, Reply

KEY = "sk-very-secret"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("no_proxy", "*")
    with chat_server() as running:
        yield running


def endpoint(
    server: ChatServer, *, timeout: float = 5.0, retries: int = 2, key: str | None = KEY
) -> ChatEndpoint:
    return ChatEndpoint(server.url, "little", key=key, timeout=timeout, retries=retries, first_wait=0.01)


def request_reply(client: ChatEndpoint, prompt: Prompt | None = None) -> Reply:
    (plain,) = prompts_of("Hi")
    return client.complete(prompt or plain, temperature=0.5, top_p=0.9, max_tokens=7, seed=11)


def script(server: ChatServer, *answers: Answer) -> None:
    """These answers in turn, and the last for ever."""
    server.reply = lambda number, body: answers[min(number, len(answers) - 1)]


def test_a_conversation_goes_out_and_a_text_comes_back(server: ChatServer) -> None:
    script(server, chat("你好", "length", model="little-2", system_fingerprint="fp_1"))
    conversation = Prompt("p", (Message("system", "Be kind."), Message("user", "Hi")))
    result = request_reply(endpoint(server), conversation)
    assert result == Reply("你好", False, {"model": "little-2", "system_fingerprint": "fp_1"})
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "little",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 11,
    }


def test_tools_calls_and_results_go_out_in_the_layout_of_the_api(server: ChatServer) -> None:
    """Arguments of calls are JSON texts there; reasoning is not sent."""
    call = '{"id": "c1", "type": "function", "function": {"name": "tide", "arguments": {"port": "Brest"}}}'
    turns = (
        Message("user", "Hi"),
        Message("assistant", "", "hm", tool_calls=(call,)),
        Message("tool", "4 m", name="tide", tool_call_id="c1"),
    )
    tool = '{"type": "function", "function": {"name": "tide", "description": "Tide."}}'
    request_reply(
        endpoint(server), Prompt("p", turns, tools=(tool,), chat_template_kwargs='{"enable_thinking": false}')
    )
    body = server.requests[0].body
    function = {"name": "tide", "arguments": '{"port": "Brest"}'}
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "4 m", "name": "tide", "tool_call_id": "c1"},
    ]
    assert body["tools"] == [json.loads(tool)]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_text_that_is_no_valid_unicode_is_escaped(server: ChatServer) -> None:
    result = request_reply(endpoint(server), Prompt("p", (Message("user", "half \ud83d é"),)))
    assert result.text == "answer 0"
    assert server.requests[0].body["messages"][0]["content"] == "half \ud83d é"


def test_requests_share_a_connection_until_it_is_closed() -> None:
    with chat_server(keep_alive=True) as server:
        result = endpoint(server)
        request_reply(result)
        request_reply(result)
        result.close()
        assert len({request.port for request in server.requests}) == 1


def test_no_cookie_comes_back(server: ChatServer) -> None:
    script(server, Answer(chat("there").body, headers={"Set-Cookie": "who=7; Path=/"}))
    result = endpoint(server)
    request_reply(result)
    request_reply(result)
    assert not any("Cookie" in request.headers for request in server.requests)


def test_a_reply_without_end_is_not_read_to_it(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_client, "LARGEST", 1 << 20)
    script(server, chat("x" * (2 << 20)))
    with pytest.raises(DataError, match="'p0': the reply is longer than 1 MiB; lower max_tokens"):
        request_reply(endpoint(server))
    assert len(server.requests) == 1


def test_a_certificate_that_nobody_signed_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    monkeypatch.setenv("no_proxy", "*")
    paths = [str(tmp_path / name) for name in ("certificate.pem", "key.pem")]
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=127.0.0.1 -out {} -keyout {}"
    subprocess.run(command.format(*paths).split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    with chat_server(context=context) as server:
        with pytest.raises(ModelError, match=r"the certificate of https://.* is not valid \(self.signed"):
            request_reply(endpoint(server))
        assert server.requests == []


@pytest.mark.parametrize("proxy", ["socks5://u:hunter2@host:1", "hunter2://host", "http://host:hunter2"])
def test_a_proxy_that_cannot_be_used(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError, match="no address of an HTTP proxy") as caught:
        ChatEndpoint("http://host/v1", "m")
    assert "hunter2" not in str(caught.value)


def test_without_a_key_none_is_sent(server: ChatServer) -> None:
    request_reply(endpoint(server, key=None))
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    "first",
    [
        Answer({"error": {"message": "slow down"}}, 429, {"Retry-After": "0"}),
        Answer(b"<html>bad gateway</html>", 502),
        Answer(b"no JSON at all"),
        Answer({"choices": []}),
        Answer({"choices": [{"message": None}]}),
        Answer([1, 2]),
        Answer({"error": {"message": "overloaded"}}),
        Answer(chat("x" * 999).body, cut=True),
        Answer({}, after=1.0),
    ],
    ids=["429", "502", "text", "no choice", "no message", "a list", "an error as 200", "cut", "late"],
)
def test_what_passes_is_tried_again(server: ChatServer, first: Answer) -> None:
    script(server, first, chat("there"))
    assert request_reply(endpoint(server, timeout=0.4)).text == "there"
    assert len(server.requests) == 2


def test_the_wait_that_a_server_asks_for_is_kept(server: ChatServer) -> None:
    script(server, Answer({}, 429, {"Retry-After": "0.6"}), chat("there"))
    started = time.monotonic()
    request_reply(endpoint(server))
    assert 0.55 < time.monotonic() - started < 5


def test_retry_after_in_its_two_forms() -> None:
    assert retry_seconds("1.5") == 1.5
    assert retry_seconds("-3") == 0.0
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_seconds(later) == pytest.approx(30, abs=3)
    assert [retry_seconds(header) for header in (None, "", "soon", "nan", "inf")] == [None] * 5


def test_a_wait_too_long_is_no_wait(server: ChatServer) -> None:
    script(server, Answer({}, 429, {"Retry-After": "3600"}))
    started = time.monotonic()
    with pytest.raises(ModelError, match="a Retry-After of 3600 seconds; tried 1 times"):
        request_reply(endpoint(server))
    assert time.monotonic() - started < 5


def test_what_goes_on_failing_is_said_with_the_number_of_tries(server: ChatServer) -> None:
    script(server, Answer({"error": {"message": "no GPU is free"}}, 503))
    with pytest.raises(ModelError, match=r"little at .* returned status 503 \(no GPU is free\); tried 3 times"):
        request_reply(endpoint(server))
    assert len(server.requests) == 3


def test_a_server_that_says_nothing(server: ChatServer) -> None:
    script(server, Answer({}, after=0.5))
    with pytest.raises(ModelError, match=r"sent nothing for 0\.1 seconds; tried 2 times"):
        request_reply(endpoint(server, timeout=0.1, retries=1))


def test_nobody_there() -> None:
    with pytest.raises(ModelError, match=r"cannot be reached \(.*refused\); tried 2 times"):
        request_reply(ChatEndpoint("http://127.0.0.1:9/v1", "little", retries=1, first_wait=0.01))


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (401, ModelError, "refuses the key"),
        (403, ModelError, "refuses the key"),
        (404, ModelError, "'little' a model there"),
        (400, DataError, "prompt 'p0': little returned status 400"),
        (413, DataError, "prompt 'p0': little returned status 413"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    server: ChatServer, status: int, kind: type[GnomonError], sentence: str
) -> None:
    script(server, Answer({"error": {"message": f"wrong key {KEY}!"}}, status))
    with pytest.raises(kind, match=sentence) as caught:
        request_reply(endpoint(server))
    assert len(server.requests) == 1
    assert "wrong key …!" in str(caught.value)


def test_a_key_is_nowhere_to_be_read(server: ChatServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    result = endpoint(server)
    script(server, Answer(f"Bearer {KEY}".encode()))
    with pytest.raises(ModelError) as caught:
        request_reply(result)
    assert "Bearer …" in str(caught.value)
    assert KEY not in str(caught.value) + repr(result) + caplog.text
    assert "HTTP Request" in caplog.text  # what the library logs was looked at


def test_a_key_does_not_follow_a_redirect(server: ChatServer) -> None:
    with chat_server() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            script(server, Answer({}, status, {"Location": f"{elsewhere.url}/chat/completions"}))
            with pytest.raises(ModelError, match="give the address that it redirects to"):
                request_reply(endpoint(server))
        assert elsewhere.requests == []


@pytest.mark.parametrize("text", ["", "  \n", None, 5, ["a"]])
def test_no_text_is_no_answer(server: ChatServer, text: object) -> None:
    script(server, chat(text, "content_filter"))
    with pytest.raises(DataError, match=r"no text \(content_filter\)"):
        request_reply(endpoint(server))


def test_a_server_with_other_names_for_a_setting(server: ChatServer) -> None:
    """Newer models of OpenAI rename the limit; some servers know no seed. Learnt once, then kept."""

    def reply(number: int, body: dict[str, object]) -> Answer:
        if "max_tokens" in body:
            return Answer({"error": {"message": "use 'max_completion_tokens' instead"}}, 400)
        if "seed" in body:
            return Answer({"detail": "extra field: seed"}, 422)
        return chat("there")

    server.reply = reply
    result = endpoint(server)
    assert request_reply(result).text == request_reply(result).text == "there"
    assert len(server.requests) == 4
    assert server.requests[-1].body["max_completion_tokens"] == 7


def test_a_wait_ends_when_it_is_stopped(server: ChatServer) -> None:
    script(server, Answer({}, 429, {"Retry-After": "60"}))
    result = endpoint(server)
    result.stopped.set()
    started = time.monotonic()
    with pytest.raises(ModelError, match="tried 1 times"):
        request_reply(result)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "host/v1", "http:///v1", "http://a:b@host/v1", "http://h/v1?k=1"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="no address of a server") as caught:
        ChatEndpoint(url, "m")
    assert not any(secret in str(caught.value) for secret in ("a:b", "k=1"))


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_sent(key: str) -> None:
    with pytest.raises(ConfigError, match="characters that no key has") as caught:
        ChatEndpoint("http://host/v1", "m", key=key)
    assert not key or key not in str(caught.value)


def test_a_whole_address_is_taken_as_it_is() -> None:
    assert ChatEndpoint("http://h/v1/chat/completions", "m").url == "http://h/v1/chat/completions"
    assert ChatEndpoint("http://h/v1/", "m").url == "http://h/v1/chat/completions"
