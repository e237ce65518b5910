"""Generators: a model in this process, and one behind a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, ChatServer, chat, chat_server
from tiny import prompts_of

from gnomon.core.errors import ConfigError, ModelError
from gnomon.core.types import Message, Prompt
from gnomon.feedback.generation.backends import EndpointGenerator, LocalGenerator, open_generator, read_keys
from gnomon.feedback.generation.generators import GeneratedText, GenerationCache, GenerationRequest, Refusal


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("no_proxy", "*")
    with chat_server() as chat:
        yield chat


def requests_of(*seeds: int, temperature: float = 1.0, text: str = "Hi") -> list[GenerationRequest]:
    (prompt,) = prompts_of(text)
    return [GenerationRequest(prompt, temperature, 1.0, 8, seed) for seed in seeds]


class SavedTexts:
    def __init__(self) -> None:
        self.drafts: dict[int, GeneratedText] = {}

    def __call__(self, request: GenerationRequest, text: GeneratedText) -> None:
        self.drafts[request.seed] = text


def test_a_local_model_samples_by_the_requests_seed_only(tiny_model: Path) -> None:
    """Not by other requests of the batch, nor by the prompt's id."""
    generator, saved = LocalGenerator(str(tiny_model)), SavedTexts()
    mixed = [*requests_of(1, 2), *requests_of(3, temperature=0.5), *requests_of(4)]
    texts = list(generator.write(mixed, saved))
    assert [saved.drafts[request.seed] for request in mixed] == texts
    assert len({text.text for text in texts if isinstance(text, GeneratedText)}) == 4
    renamed = GenerationRequest(Prompt("other", mixed[1].prompt.messages), 1.0, 1.0, 8, 2)
    assert list(generator.write([renamed], saved)) == [texts[1]]
    assert list(LocalGenerator(str(tiny_model)).write(mixed[::-1], saved)) == texts[::-1]
    generator.close()


def test_a_prompt_too_long_is_refused_alone(tiny_model: Path) -> None:
    long = GenerationRequest(Prompt("long", (Message("user", "x" * 5000),)), 1.0, 1.0, 8, 9)
    first, refused, last = LocalGenerator(str(tiny_model)).write(
        [*requests_of(1), long, *requests_of(2)], SavedTexts()
    )
    assert isinstance(first, GeneratedText)
    assert isinstance(last, GeneratedText)
    assert isinstance(refused, Refusal)
    assert "prompt 'long' has" in refused.reason


def test_changed_weights_are_another_generator(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    before = LocalGenerator(str(copy)).identity
    assert LocalGenerator(str(copy)).identity == before
    config = copy / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert LocalGenerator(str(copy)).identity != before


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        open_generator(str(tmp_path / "none"), {})


def test_an_endpoint_generates_concurrently_in_order(server: ChatServer) -> None:
    def reply(number: int, body: dict[str, Any]) -> Answer:
        return Answer(chat(f" to {body['seed']} ", model="m-2").body, after=0.2 if body["seed"] % 2 else 0.05)

    server.reply = reply
    generator, saved = open_generator(f"{server.url}#m", {}, parallel=3), SavedTexts()
    texts = list(generator.write(requests_of(*range(9)), saved))
    assert texts == [GeneratedText(f"to {seed}", True, {"model": "m-2"}) for seed in range(9)]
    assert sorted(saved.drafts) == list(range(9))
    assert 2 <= server.most_at_once <= 3


def test_an_error_of_an_endpoint_is_a_refusal(server: ChatServer) -> None:
    server.reply = lambda number, body: chat("" if body["seed"] == 1 else "yes")
    first, second = open_generator(f"{server.url}#m", {}).write(requests_of(1, 2), SavedTexts())
    assert first == Refusal("m returned no text (stop).")
    assert second == GeneratedText("yes", True, {})


def test_texts_in_flight_at_a_stop_are_saved(server: ChatServer, tmp_path: Path) -> None:
    """At a stop, waiting requests are dropped, texts in flight are saved, and no request is started."""
    release = threading.Event()

    def reply(number: int, body: dict[str, Any]) -> Answer:
        if body["seed"] == 2:
            release.wait(5)
            return chat("late")
        return Answer({}, 429, {"Retry-After": "60"}) if body["seed"] == 3 else chat("at once")

    server.reply = reply
    generator, cache = open_generator(f"{server.url}#m", {}, parallel=3), GenerationCache(tmp_path)
    assert isinstance(generator, EndpointGenerator)
    requests = requests_of(1, 2, 3, *range(4, 40))
    stream = generator.write(requests, lambda request, text: cache.save(generator, request, text))
    assert next(stream) == GeneratedText("at once", True, {})
    while not any(one.body["seed"] == 3 for one in list(server.requests)):
        time.sleep(0.01)
    threading.Timer(0.3, release.set).start()
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5
    assert cache.find(generator, requests[1]) == GeneratedText("late", True, {})
    came = len(server.requests)
    time.sleep(0.2)
    assert len(server.requests) == came < 39


def test_keys_are_sent_to_their_host_only(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-2")
    one = open_generator(f"{server.url}#m", read_keys(["127.0.0.1=MY_KEY"]))
    other = open_generator(f"{server.url}#m", read_keys(["elsewhere=MY_KEY"]))
    for generator in (one, other):
        list(generator.write(requests_of(1), SavedTexts()))
    sent = [request.headers.get("Authorization") for request in server.requests]
    assert sent == ["Bearer secret-1", None]
    assert "secret" not in str(one.identity) + one.name


def test_invalid_sources_and_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="names no model"):
        open_generator("http://localhost:1/v1", {})
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY with the key for api\.openai\.com is not set"):
        open_generator("https://api.openai.com/v1#m", {})
    with pytest.raises(ConfigError, match="no address of a server"):
        open_generator("ftp://host/v1#m", {})
    with pytest.raises(ConfigError, match="--key number 2 is not HOST=VARIABLE") as caught:
        read_keys(["a=B", "sk-secret"])
    assert "sk-secret" not in str(caught.value)
