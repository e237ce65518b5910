"""`gnomon feedback generate`, `auto-annotate` and `power`: from prompts to preferences without a person."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, ChatServer, chat, chat_server
from project import Ran, command, environment, write_rows

from gnomon.core.storage.files import read_json

Ask = Callable[..., Ran]
WORDS = ("ember", "quartz", "violin", "harbour", "meadow", "syrup", "lantern", "glacier", "thimble", "orchid")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": f"Name film {n}."} for n in range(6)])
    return tmp_path


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as chat:
        chat.reply = various
        yield chat


def various(number: int, body: dict[str, Any]) -> Answer:
    """Another text for another seed."""
    return chat(" ".join(WORDS[int(digit)] for digit in str(body["seed"])))


def init(ask: Ask, votes: int = 1, *more: object) -> None:
    line = ("--project", "tone", "--title", "Kinder?", "--votes-per-item", votes, *more)
    code, _, err = ask("feedback", "init", "f.db", *line)
    assert code == 0, err


def generate(ask: Ask, *more: object) -> Ran:
    return ask("feedback", "generate", "f.db", "--project", "tone", "--cache", "cache", *more)


def rows(query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect("f.db")) as connection:
        return connection.execute(query).fetchall()


def test_generate_annotate_and_export_without_a_person(
    ask: Ask, here: Path, server: ChatServer, tiny_model: Path
) -> None:
    """Two models generate, a rule and three simulated annotators judge, and the export lists them."""
    init(ask, votes=4)
    sources = ["--from", tiny_model, "--from", f"{server.url}#m"]
    code, out, err = generate(ask, *sources, "--prompts", "prompts.jsonl", "--max-tokens", 12)
    assert (code, out) == (0, "24 completions added, 0 existing, 24 items added\n"), err
    assert sorted(rows("SELECT source, count(*) FROM completions GROUP BY source")) == sorted(
        [(str(tiny_model), 12), ("m", 12)]
    )
    code, out, err = generate(ask, *sources, "--max-tokens", 12)
    assert (code, out) == (0, "0 completions added, 24 existing, 0 items added\n"), err
    judging = ["--annotator", "rule:longer", "--annotator", "simulated:careful", "--replicas", 3]
    code, out, err = ask("feedback", "auto-annotate", "f.db", "--project", "tone", *judging)
    assert code == 0, err
    assert out.splitlines()[0] == "rule: longer: 24 judged"
    assert sum(int(n) for n in re.findall(r": (\d+) judged", out)) == 96
    kinds = rows("SELECT kind, count(*) FROM judgements JOIN annotators a ON a.id = annotator GROUP BY kind")
    assert sorted(kinds) == [("rule", 24), ("simulated", 72)]
    code, out, err = ask("feedback", "status", "f.db", "--project", "tone")
    settled = [int(re.findall(rf"{state}: (\d+)", out)[0]) for state in ("open", "done", "disputed")]
    assert (settled[0], sum(settled)) == (0, 24), "simulated annotators may disagree to the last"
    assert "simulated:careful #2" in out
    assert ask("feedback", "export", "f.db", "--project", "tone", "--out", "data")[0] == 0
    assert len(read_json(Path("data/manifest.json"))["annotators"]) == 4


def test_a_reward_model_annotates(ask: Ask, here: Path, server: ChatServer) -> None:
    init(ask)
    generate(ask, "--from", f"{server.url}#m", "--prompts", "prompts.jsonl")
    code, out, err = ask(
        "feedback", "auto-annotate", "f.db", "--project", "tone", "--annotator", "model:vader", "--count", 4
    )
    assert (code, out) == (0, "judge: vader: 4 judged\n"), err
    Path("mine.py").write_text("def score(prompt, text):\n    return len(text)\n", encoding="utf-8")
    code, out, err = ask(
        "feedback", "auto-annotate", "f.db", "--project", "tone", "--annotator", "model:mine.py:score"
    )
    assert (code, out) == (0, "judge: mine.py:score: 2 judged\n"), err
    truth = ["--annotator", "simulated:careful,sharpness=900", "--utility", "rule:longer"]
    assert ask("feedback", "auto-annotate", "f.db", "--project", "tone", *truth)[0] == 0
    assert rows("SELECT kind, count(*) FROM annotators GROUP BY kind ORDER BY kind") == [
        ("judge", 2),
        ("simulated", 1),
    ]


@pytest.mark.slow
def test_a_trained_reward_model_annotates_and_orders_by_uncertainty(
    ask: Ask, here: Path, finished: Any, server: ChatServer
) -> None:
    init(ask)
    judge = finished.run / "judge"
    prompts = ["--prompts", "prompts.jsonl", "--count", 5, "--uncertainty-from", judge, "--pairs", 4]
    code, out, err = generate(ask, "--from", f"{server.url}#m", *prompts)
    assert (code, out) == (0, "30 completions added, 0 existing, 24 items added\n"), err
    code, out, err = ask(
        "feedback", "auto-annotate", "f.db", "--project", "tone", "--annotator", f"model:{judge}"
    )
    assert (code, out) == (0, f"judge: {judge}: 24 judged\n"), err


def test_reorder_by_another_reward_model(ask: Ask, here: Path, server: ChatServer) -> None:
    """The most uncertain items first; the judge is certain if the numbers in the answers differ much."""
    for name, sign in (("early", ""), ("late", "-")):
        Path(f"{name}.py").write_text(f"def score(prompt, text):\n    return {sign}len(text) % 7\n")
    init(ask)
    line = ["--from", f"{server.url}#m", "--prompts", "prompts.jsonl", "--uncertainty-from", "early.py:score"]
    assert generate(ask, *line, "--random-share", 0)[0] == 0
    order = "SELECT priority FROM items WHERE state = 'open' ORDER BY priority DESC"
    assert all(0 < priority <= 0.25 for (priority,) in rows(order)), "p(1 - p) of a single judge"
    code, out, err = ask(
        "feedback", "reorder", "f.db", "--uncertainty-from", "late.py:score", "--random-share", 0
    )
    assert code == 0, err
    highest, lowest = rows(order)[0][0], rows(order)[-1][0]
    assert out == f"6 open items, uncertainty {highest:.3g} first and {lowest:.3g} last\n"
    code, out, err = ask("feedback", "reorder", "f.db")
    assert (code, out) == (0, "6 open items, in the order in which they were added\n"), err
    assert rows(order) == [(0.0,)] * 6


def test_reorder_needs_items_with_several_completions(ask: Ask, here: Path, server: ChatServer) -> None:
    init(ask, 1, "--task", "likert")
    code, _, err = generate(
        ask, "--from", f"{server.url}#m", "--prompts", "prompts.jsonl", "--uncertainty-from", "vader"
    )
    assert (code, "scores single completions" in " ".join(err.split())) == (2, True)
    assert rows("SELECT count(*) FROM completions") == [(0,)]


def test_generate_limits_prompts_by_the_mix(ask: Ask, here: Path, server: ChatServer) -> None:
    init(ask)
    code, out, err = generate(ask, "--from", f"{server.url}#m", "--prompts", "prompts.jsonl", "--limit", 2)
    assert (code, out) == (0, "4 completions added, 0 existing, 2 items added\n"), err
    assert rows("SELECT count(*) FROM prompts") == [(6,)]
    code, out, err = generate(ask, "--from", f"{server.url}#m", "--limit", 6)
    assert (code, out) == (0, "8 completions added, 4 existing, 4 items added\n"), err


def test_generate_reports_similar_completions(ask: Ask, here: Path, server: ChatServer) -> None:
    server.reply = lambda number, body: chat("The same to everybody, always.")
    init(ask)
    code, out, err = generate(ask, "--from", f"{server.url}#m", "--prompts", "prompts.jsonl")
    assert code == 0, err
    assert out.splitlines() == [
        "6 completions added, 0 existing, 0 items added",
        "0 needed a higher temperature or a rephrased prompt; 6 dropped as too similar",
    ]


def test_completions_of_a_lost_server_are_stored(ask: Ask, here: Path, server: ChatServer) -> None:
    server.reply = lambda number, body: various(number, body) if number < 7 else Answer({"error": "bad key"}, 401)
    init(ask)
    line = ["--from", f"{server.url}#m", "--prompts", "prompts.jsonl", "--parallel", 1]
    code, _, err = generate(ask, *line)
    assert code == 2
    assert "refuses the key" in " ".join(err.split())
    assert rows("SELECT count(*) FROM completions") == [(7,)]
    server.reply = various
    code, out, err = generate(ask, *line)
    assert (code, out) == (0, "5 completions added, 7 existing, 6 items added\n"), err


@pytest.mark.long
@pytest.mark.slow
def test_ctrl_c_keeps_finished_completions(ask: Ask, here: Path, server: ChatServer) -> None:
    """A real process and a real signal; finished completions are not generated again."""
    server.reply = lambda number, body: Answer(various(number, body).body, after=0.15)
    init(ask)
    line = ["feedback", "generate", "f.db", "--project", "tone", "--cache", "cache", "--from", f"{server.url}#m"]
    line += ["--prompts", "prompts.jsonl", "--count", "9", "--parallel", "2"]
    process = subprocess.Popen(
        command(*line),
        env={**environment(), "no_proxy": "*"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(server.requests) < 12:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    message = re.search(
        r"stopped; (\d+) completions were added, and the same command continues from there", " ".join(err.split())
    )
    assert message, err
    assert rows("SELECT count(*) FROM completions") == [(int(message[1]),)]
    before = len(server.requests)
    server.reply = various
    code, out, err = ask(*line)
    assert (code, out.partition(" items")[0]) == (
        0,
        f"{54 - int(message[1])} completions added, {message[1]} existing, 54",
    ), err
    assert len(server.requests) == 54 > before


def test_api_keys_are_never_stored(
    ask: Ask, here: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    init(ask)
    line = ["--from", f"{server.url}#m", "--prompts", "prompts.jsonl", "--key", "127.0.0.1=MY_KEY"]
    code, out, err = generate(ask, *line)
    assert code == 0, err
    assert server.requests[0].headers["Authorization"] == "Bearer sk-very-secret"
    server.reply = lambda number, body: Answer({"error": {"message": "not sk-very-secret"}}, 401)
    code, more, worse = generate(ask, *line, "--seed", 1)
    assert code == 2
    files = [path for path in here.rglob("*") if path.is_file()]
    assert len(files) > 12
    assert not any(b"sk-very-secret" in path.read_bytes() for path in files)
    assert "secret" not in out + err + more + worse


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["generate", "--from", "tiny-random"], "has no prompts; give a file of them with --prompts"),
        (["generate", "--from", "tiny-random", "--prompts", "none.jsonl"], "no data at none.jsonl"),
        (["generate", "--from", "http://127.0.0.1:9/v1"], "names no model"),
        (["generate", "--from", "nowhere/at/all"], "no model folder at nowhere/at/all"),
        (["generate", "--from", "tiny-random", "--temperature", "-1"], "--temperature must be"),
        (["generate", "--from", "tiny-random", "--similarity", "0"], "--similarity"),
        (["generate", "--from", "tiny-random", "--key", "sk-x"], "--key number 1 is not HOST=VARIABLE"),
        (
            ["auto-annotate", "--annotator", "longer"],
            "'longer' is no annotator; give rule:…, model:… or simulated:….",
        ),
        (["auto-annotate", "--annotator", "rule:prettier"], "there is no rule 'prettier'"),
        (["auto-annotate", "--annotator", "simulated:lazy"], "there is no simulated annotator 'lazy'"),
        (["auto-annotate", "--annotator", "model:nowhere/at/all"], "nowhere/at/all"),
        (
            ["auto-annotate", "--annotator", "rule:longer", "--project", "other"],
            "the store has no project 'other'",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(ask: Ask, here: Path, line: list[str], message: str) -> None:
    init(ask)
    project = [] if "--project" in line else ["--project", "tone"]
    code, _, err = ask("feedback", line[0], "f.db", *project, *line[1:])
    assert code == 2, err
    assert message in " ".join(err.split())
    assert "Traceback" not in err


def test_power_prints_a_plan(ask: Ask, here: Path) -> None:
    code, out, err = ask(
        "feedback", "power", "--effect", 0.6, "--kappa", 0.36, "--votes", 5, "--per-annotator", 100
    )
    assert code == 0, err
    table = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    assert ["detect 60%", "1", "543", "543", "6", "80.0%"] in table
    assert "judge 543 items once each" in out
    assert "simulated" not in out
    code, out, err = ask("feedback", "power", "--effect", 0.8, "--kappa", 0.5, "--simulate")
    assert code == 0, err
    assert (
        len(re.findall(r"studies that detect the win rate: [\d.]+% \([\d.]+% to [\d.]+%\); expected", out)) == 2
    )
    for line, message in ((["--effect", 0.5], "cannot be distinguished from 0.5"), (["--kappa", 2], "kappa")):
        code, _, err = ask("feedback", "power", *line)
        assert (code, message in " ".join(err.split())) == (2, True), err


def test_the_cache_holds_completions_only(ask: Ask, here: Path, server: ChatServer) -> None:
    init(ask)
    generate(ask, "--from", f"{server.url}#m", "--prompts", "prompts.jsonl", "--count", 1)
    files = list(Path("cache").rglob("*.json"))
    assert len(files) == 6
    assert all(
        set(json.loads(file.read_text(encoding="utf-8"))) == {"text", "finished", "facts"} for file in files
    )
