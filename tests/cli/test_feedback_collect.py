"""`gnomon feedback collect`: from prompts to a number of valid preferences, with programs and with people."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from chat_server import Answer, ChatServer, chat, chat_server
from huggingface_hub import HfApi
from project import Ran, command, environment, write_rows

from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.store import Store

Ask = Callable[..., Ran]
WORDS = ("ember", "quartz", "violin", "harbour", "meadow", "syrup", "lantern", "glacier", "thimble", "orchid")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    films = [f"{one} {other}" for one in WORDS for other in WORDS if one < other]  # 45, none like another
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": film, "category": film[0]} for film in films])
    return tmp_path


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as state:
        state.reply = various
        yield state


def various(number: int, body: dict[str, Any]) -> Answer:
    """Another text for another seed, of another length."""
    return chat(" ".join(WORDS[int(digit)] for digit in str(body["seed"])))


def init(ask: Ask, votes: int = 1, *more: object) -> None:
    line = ("--project", "tone", "--title", "Kinder?", "--votes-per-item", votes, *more)
    code, _, err = ask("feedback", "init", "f.db", *line)
    assert code == 0, err


def collect(ask: Ask, until: int, *more: object) -> Ran:
    return ask("feedback", "collect", "f.db", "--until", until, "--cache", "cache", *more)


def count(query: str) -> int:
    with closing(sqlite3.connect("f.db")) as connection:
        return int(connection.execute(query).fetchone()[0])


def test_simulated_annotators_judge_a_tiny_model(ask: Ask, here: Path, tiny_model: Path) -> None:
    """Prompts, completions, judgements, and an export with exactly as many rows as were collected."""
    init(ask, 3)
    line = ["--from", tiny_model, "--max-tokens", 12, "--annotator", "simulated:careful", "--replicas", 3]
    code, out, err = collect(ask, 8, "--prompts", "prompts.jsonl", *line)
    assert code == 0, err
    assert out.splitlines() == [
        "8 valid preferences added in 1 round: 8 prompts, 16 completions, 8 items, 24 judgements",
        "8 of 8 valid preferences; the target is reached.",
        "next: gnomon feedback export f.db --valid-only --out FOLDER",
    ]
    assert "round 1: 8 prompts; 0 of 8 valid preferences" in err
    code, out, err = ask("feedback", "export", "f.db", "--valid-only", "--out", "data")
    assert (code, out.startswith("8 preferences from 24 judgements of 3 annotators in data")) == (0, True), err
    assert len(list(read_jsonl(Path("data/preferences.jsonl")))) == 8
    assert read_json(Path("data/manifest.json"))["valid_only"] is True
    code, out, err = collect(ask, 8, *line)
    assert (code, out.splitlines()[0]) == (
        0,
        "0 valid preferences added in 0 rounds: 0 prompts, 0 completions, 0 items, 0 judgements",
    ), err


def test_the_summary_as_json(ask: Ask, here: Path, server: ChatServer) -> None:
    """A judge finds lengths within 200 characters equal, so nothing is preferred: exit status 1, with advice."""
    init(ask)
    line = ["--prompts", "prompts.jsonl", "--from", f"{server.url}#m", "--annotator", "rule:longer", "--tie", 200]
    code, out, err = collect(ask, 30, *line, "--json", "--seed", 5)
    summary = json.loads(out)
    assert (code, summary["outcome"], summary["valid"], summary["missing"]) == (1, "no_yield", 0, 30), err
    assert (summary["judgements"], summary["unused_prompts"], summary["left_out"]) == (20, 25, {"tied_items": 20})
    assert summary["advice"].startswith("annotators see no difference")
    assert summary["next"].startswith("gnomon feedback collect f.db --until 30")


def test_the_options_of_the_target_are_those_of_the_next_export(ask: Ask, here: Path, server: ChatServer) -> None:
    """Texts with a word of the list are left out by both; the printed command exports what was collected."""
    init(ask)
    Path("words.txt").write_text("ember\n", encoding="utf-8")
    line = ["--prompts", "prompts.jsonl", "--from", f"{server.url}#m", "--annotator", "rule:longer"]
    line += ["--project", "tone", "--lexicon", "words.txt", "--aggregation", "bradley_terry"]
    code, out, err = collect(ask, 2, *line, "--min-margin", 0.1)
    valid = int(re.findall(r"^(\d+) of 2 valid", out, re.MULTILINE)[0])
    assert code == 0, err
    (following,) = re.findall(r"^next: gnomon (.+) --out FOLDER$", out, re.MULTILINE)
    assert following == (
        "feedback export f.db --project tone --valid-only --aggregation bradley_terry --min-margin 0.1 "
        "--lexicon words.txt"
    )
    code, out, err = ask(*shlex.split(following), "--out", "data")
    assert code == 0, err
    assert len(list(read_jsonl(Path("data/preferences.jsonl")))) == valid >= 2
    assert "rows dropped by the filter lexicon" in out


def test_a_budget_that_is_spent(ask: Ask, here: Path, server: ChatServer) -> None:
    init(ask)
    line = ["--from", f"{server.url}#m", "--annotator", "rule:longer", "--max-judgements", 6]
    code, out, err = collect(ask, 30, "--prompts", "prompts.jsonl", *line)
    assert code == 1, err
    assert "6 of 30 valid preferences; the budget of judgements is spent; missing: 24;" in out
    assert "advice: raise --max-judgements" in out
    assert count("SELECT count(*) FROM judgements") == 6
    assert collect(ask, 30, *line)[0] == 1
    assert count("SELECT count(*) FROM judgements") == 12


def test_a_generator_that_is_lost(ask: Ask, here: Path, server: ChatServer) -> None:
    """The judged completions of the other model are enough; the failure is reported."""
    init(ask)
    with chat_server() as lost:
        lost.reply = lambda number, body: Answer({"error": "bad key"}, 401)
        line = ["--from", f"{lost.url}#gone", "--from", f"{server.url}#m", "--annotator", "rule:longer"]
        code, out, err = collect(ask, 5, "--prompts", "prompts.jsonl", *line)
        assert code == 0, err
        assert f"generator {lost.url}#gone failed: " in out
        assert "refuses the key" in " ".join(out.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--until", "0"], "--until must be at least 1"),
        (["--until", "5", "--no-serve"], "nobody judges; name programs with --annotator, or let people judge"),
        (["--until", "5", "--annotators", "rule:longer"], "--annotators; it is called --annotator"),
        (["--until", "5", "--annotator", "rule:prettier"], "there is no rule 'prettier'"),
        (
            ["--until", "5", "--annotator", "rule:longer", "--from", "nowhere/at/all"],
            "no model folder at nowhere",
        ),
        (["--until", "5", "--annotator", "rule:longer", "--mix", "edge=2"], "--mix"),
        (["--until", "5", "--annotator", "rule:longer", "--project", "other"], "has no project 'other'"),
        (
            ["--until", "5", "--annotator", "rule:longer", "--aggregation", "best"],
            "there is no aggregation 'best'",
        ),
        (["--until", "5", "--annotator", "rule:longer", "--prompts", "none.jsonl"], "none.jsonl"),
        (["--until", "5", "--annotator", "rule:longer", "--max-hours", "0"], "--max-hours must be"),
        (["--until", "5", "--filter", "embeddings.model=minilm"], "needs more than single rows"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(ask: Ask, here: Path, line: list[str], message: str) -> None:
    init(ask)
    code, _, err = ask("feedback", "collect", "f.db", *line)
    assert code == 2, err
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert count("SELECT count(*) FROM completions") == 0


def test_an_unknown_model_is_refused_before_the_first_round(
    ask: Ask, here: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, as for a judge that does not exist; also beside a model that works."""

    def unreachable(self: HfApi, name: str, *, timeout: float) -> None:
        raise TimeoutError

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    init(ask)
    known = ["--from", f"{server.url}#m"]
    for line in (["--from", "no-such-model"], [*known, "--from", "no-such-model"]):
        code, out, err = collect(ask, 5, "--prompts", "prompts.jsonl", "--annotator", "rule:longer", *line)
        assert (code, out) == (2, ""), err
        assert err.startswith("error: no model folder 'no-such-model', ")
        assert "round" not in err
    assert count("SELECT count(*) FROM prompts") == 0
    judge = collect(ask, 5, *known, "--prompts", "prompts.jsonl", "--annotator", "model:no-such-model")
    assert judge[::2] == (code, err)


def start(*line: object) -> subprocess.Popen[str]:
    words = ("feedback", "collect", "f.db", "--cache", "cache", *map(str, line))
    return subprocess.Popen(
        command(*words),
        env={**environment(), "no_proxy": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
def test_ctrl_c_saves_everything_and_prints_how_to_go_on(ask: Ask, here: Path, server: ChatServer) -> None:
    """A real process and a real signal, in the middle of generation; a second collection is refused meanwhile."""
    server.reply = lambda number, body: Answer(various(number, body).body, after=0.1)
    init(ask)
    line = ["--until", 20, "--from", f"{server.url}#m", "--parallel", 2, "--annotator", "simulated:careful"]
    line += ["--max-judgements", "100", "--max-hours=2"]
    process = start("--prompts", "prompts.jsonl", *line)
    while len(server.requests) < 6:
        assert process.poll() is None
        time.sleep(0.02)
    code, _, refusal = collect(ask, 20, "--annotator", "rule:longer")
    assert (code, "is in use by process" in refusal, "wait until it ends" in refusal) == (2, True, True), refusal
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "0 of 20 valid preferences; stopped by the user; missing: 20;" in out
    (following,) = re.findall(r"go on with: gnomon (.+)", err)
    assert "--until 20" in following
    assert "--max-judgements 100 --max-hours=2" in following
    stored = count("SELECT count(*) FROM completions")
    assert stored > 0
    server.reply = various
    code, out, err = ask(*shlex.split(following))
    assert (code, "20 of 20 valid preferences; the target is reached." in out) == (0, True), err
    assert count("SELECT count(*) FROM judgements") == 20
    assert count("SELECT count(*) FROM completions") == 40
    seeds = [request.body["seed"] for request in server.requests]
    assert len(set(seeds)) == len(seeds), "nothing was generated twice"


class Judges:
    """People with sessions at a running server, each in a thread, who choose the first completion."""

    def __init__(self, address: str, links: list[str]):
        self.address, self.ended, self.judged = address, threading.Event(), 0
        self.threads = [threading.Thread(target=self._judge, args=(link,)) for link in links]
        for thread in self.threads:
            thread.start()

    def _judge(self, link: str) -> None:
        origin = {"Origin": self.address}
        with requests.Session() as http:
            page = http.post(self.address + link, headers=origin)
            who = re.findall('data-who="([0-9a-f]+)"', page.text)[0]
            while not self.ended.is_set():
                try:
                    task = http.post(f"{self.address}/api/task", json={}, headers=origin).json()["task"]
                    if task is None:
                        time.sleep(0.1)
                        continue
                    body = {"id": str(uuid.uuid4()), "who": who, "item": task["item"]}
                    body |= {"answer": {"choice": "first"}, "seconds": {"active": 2.0, "idle": 0.0}}
                    reply = http.post(f"{self.address}/api/submit", json=body, headers=origin)
                    assert reply.status_code == 200, reply.text
                    self.judged += 1
                except requests.RequestException:  # the server has ended
                    return

    def end(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.long
def test_people_judge_at_the_page_that_it_serves(ask: Ask, here: Path, server: ChatServer) -> None:
    """A real server: the administrator's link is printed, people judge two rounds, and it ends by itself."""
    init(ask)
    store = Store("f.db")
    links = [f"/join/{Access(store).invite('tone', name)}" for name in ("Ann", "Bob")]
    store.close()
    process = start("--until", 25, "--prompts", "prompts.jsonl", "--from", f"{server.url}#m", "--port", 0)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(2)]
    (address,) = re.findall(r"tone at (http://127\.0\.0\.1:\d+); stop with Ctrl-C", lines[0])
    assert re.search(rf"your personal link, shown only once: {address}/join/\S{{20,}}", lines[1])
    judges = Judges(address, links)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        judges.end()
        process.kill()
        process.communicate()
    assert process.returncode == 0, err
    assert "25 of 25 valid preferences; the target is reached." in out
    assert "round 2: " in err
    assert 25 <= count("SELECT count(*) FROM judgements WHERE NOT surplus") <= 35
