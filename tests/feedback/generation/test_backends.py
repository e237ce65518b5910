"""Authors of answers: a model in this process, and one behind a real server."""

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
    with chat_server() as found:
        yield found


def orders(*seeds: int, temperature: float = 1.0, text: str = "Hi") -> list[GenerationRequest]:
    (prompt,) = prompts_of(text)
    return [GenerationRequest(prompt, temperature, 1.0, 8, seed) for seed in seeds]


class Kept:
    def __init__(self) -> None:
        self.drafts: dict[int, GeneratedText] = {}

    def __call__(self, order: GenerationRequest, draft: GeneratedText) -> None:
        self.drafts[order.seed] = draft


def test_a_local_model_answers_by_the_orders_seed_alone(tiny_model: Path) -> None:
    """Not by what is drawn beside it, nor by the prompt's id."""
    author, kept = LocalGenerator(str(tiny_model)), Kept()
    mixed = [*orders(1, 2), *orders(3, temperature=0.5), *orders(4)]
    found = list(author.write(mixed, kept))
    assert [kept.drafts[order.seed] for order in mixed] == found
    assert len({draft.text for draft in found if isinstance(draft, GeneratedText)}) == 4
    renamed = GenerationRequest(Prompt("other", mixed[1].prompt.messages), 1.0, 1.0, 8, 2)
    assert list(author.write([renamed], kept)) == [found[1]]
    assert list(LocalGenerator(str(tiny_model)).write(mixed[::-1], kept)) == found[::-1]
    author.close()


def test_a_prompt_too_long_for_a_local_model_leaves_the_others(tiny_model: Path) -> None:
    long = GenerationRequest(Prompt("long", (Message("user", "x" * 5000),)), 1.0, 1.0, 8, 9)
    first, refused, last = LocalGenerator(str(tiny_model)).write([*orders(1), long, *orders(2)], Kept())
    assert isinstance(first, GeneratedText)
    assert isinstance(last, GeneratedText)
    assert isinstance(refused, Refusal)
    assert "prompt 'long' has" in refused.reason


def test_another_state_of_a_model_is_another_author(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    before = LocalGenerator(str(copy)).identity
    assert LocalGenerator(str(copy)).identity == before
    config = copy / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert LocalGenerator(str(copy)).identity != before


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        open_generator(str(tmp_path / "none"), {})


def test_an_endpoint_answers_in_order_several_at_a_time(server: ChatServer) -> None:
    def reply(number: int, body: dict[str, Any]) -> Answer:
        return Answer(chat(f" to {body['seed']} ", model="m-2").body, after=0.2 if body["seed"] % 2 else 0.05)

    server.reply = reply
    author, kept = open_generator(f"{server.url}#m", {}, parallel=3), Kept()
    found = list(author.write(orders(*range(9)), kept))
    assert found == [GeneratedText(f"to {seed}", True, {"model": "m-2"}) for seed in range(9)]
    assert sorted(kept.drafts) == list(range(9))
    assert 2 <= server.most_at_once <= 3


def test_what_an_endpoint_refuses_is_a_refusal(server: ChatServer) -> None:
    server.reply = lambda number, body: chat("" if body["seed"] == 1 else "yes")
    first, second = open_generator(f"{server.url}#m", {}).write(orders(1, 2), Kept())
    assert first == Refusal("m answered with no text (stop).")
    assert second == GeneratedText("yes", True, {})


def test_who_stops_asking_loses_nothing_that_was_on_its_way(server: ChatServer, tmp_path: Path) -> None:
    """Requests that wait are given up at once, those that were sent are kept, and no other begins."""
    release = threading.Event()

    def reply(number: int, body: dict[str, Any]) -> Answer:
        if body["seed"] == 2:
            release.wait(5)
            return chat("late")
        return Answer({}, 429, {"Retry-After": "60"}) if body["seed"] == 3 else chat("at once")

    server.reply = reply
    author, cache = open_generator(f"{server.url}#m", {}, parallel=3), GenerationCache(tmp_path)
    assert isinstance(author, EndpointGenerator)
    asked = orders(1, 2, 3, *range(4, 40))
    stream = author.write(asked, lambda order, draft: cache.save(author, order, draft))
    assert next(stream) == GeneratedText("at once", True, {})
    while not any(one.body["seed"] == 3 for one in list(server.asked)):
        time.sleep(0.01)
    threading.Timer(0.3, release.set).start()
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5
    assert cache.find(author, asked[1]) == GeneratedText("late", True, {})
    came = len(server.asked)
    time.sleep(0.2)
    assert len(server.asked) == came < 39


def test_keys_go_to_their_host_alone(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-2")
    one = open_generator(f"{server.url}#m", read_keys(["127.0.0.1=MY_KEY"]))
    other = open_generator(f"{server.url}#m", read_keys(["elsewhere=MY_KEY"]))
    for author in (one, other):
        list(author.write(orders(1), Kept()))
    sent = [asked.headers.get("Authorization") for asked in server.asked]
    assert sent == ["Bearer secret-1", None]
    assert "secret" not in str(one.identity) + one.name


def test_sources_and_keys_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
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
