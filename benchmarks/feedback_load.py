"""Many annotators at one feedback server that is killed in the middle: what was acknowledged is there, once.

    python benchmarks/feedback_load.py --annotators 200 --seconds 60 --out load.json
    python benchmarks/feedback_load.py --store postgresql://user@host/name

Each annotator is a thread that asks for an item, thinks for some seconds, and sends an answer until it is
acknowledged, as the page does: under one id, again and again while the server is away. In the middle the server
is killed with SIGKILL and started again. Times are of answered requests, from the first byte sent to the last.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from gnomon.core.types import Completion, Message, Prompt
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import ItemRow, JudgementRow, counted_judgements
from gnomon.feedback.store.store import BankPrompt, Project, Store

PROJECT = "load"
VOTES = 3
RETRY = (1.0, 3.0, 10.0)  # seconds, or half of it more or less, before what failed is sent again, as on the page
RUSH = 5.0  # seconds after the server is back, in which everybody who waited comes at once
PATIENCE = 60.0  # seconds that an annotator keeps trying after the end


@dataclass
class Noted:
    """What an annotator saw.

    Attributes:
        answered: when each answered request began, in seconds of a clock, and how many seconds it took.
        acknowledged: ids of judgements that the server said it has.
        lost: requests that got no answer.
    """

    answered: list[tuple[float, float]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    lost: int = 0


class Annotator(threading.Thread):
    """Judges until it is told to stop; then brings its last answer home."""

    def __init__(
        self,
        port: int,
        token: str,
        think: tuple[float, float],
        seed: int,
        begin: threading.Event,
        over: threading.Event,
    ):
        super().__init__(daemon=True)
        self.port, self.token, self.think, self.begin, self.over = port, token, think, begin, over
        self.chance = random.Random(seed)
        self.noted = Noted()
        self.connection: http.client.HTTPConnection | None = None
        self.cookie = self.who = ""
        self.failure: str | None = None
        self.inside = threading.Event()

    def run(self) -> None:
        try:
            self.login()
            self.begin.wait()
            time.sleep(self.chance.uniform(*self.think))
            while not self.over.is_set():
                item = self.post("/api/task", {})["task"]
                time.sleep(self.chance.uniform(*self.think))
                if item is not None:
                    self.answer(item["item"])
                    time.sleep(self.chance.uniform(*self.think))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run says it
            self.failure = repr(error)
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def answer(self, item: int) -> None:
        body = {
            "id": str(uuid.UUID(int=self.chance.getrandbits(128), version=4)),
            "who": self.who,
            "item": item,
            "answer": {"choice": self.chance.choice(["first", "second", "tie"])},
            "seconds": {"active": 4.0, "idle": 0.0},
        }
        self.noted.acknowledged.append(self.post("/api/submit", body)["id"])

    def login(self) -> None:
        reply, _ = self.insist("POST", f"/join/{self.token}", "")
        self.cookie = str(reply.getheader("set-cookie")).partition(";")[0]
        _, page = self.insist("GET", "/", None)
        self.who = re.findall(r'data-who="([0-9a-f]+)"', page.decode())[0]
        self.inside.set()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        reply, content = self.insist("POST", path, json.dumps(body))
        if reply.status != 200:
            raise RuntimeError(f"{path}: {reply.status} {content[:200]!r}")
        return json.loads(content)

    def insist(self, method: str, path: str, body: str | None) -> tuple[http.client.HTTPResponse, bytes]:
        """Send it until it is answered."""
        deadline, failures = None, 0
        while True:
            if self.over.is_set():
                deadline = deadline or time.monotonic() + PATIENCE
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} was never answered")
            started = time.monotonic()
            try:
                reply = self.request(method, path, body)
            except (OSError, http.client.HTTPException):
                self.noted.lost += 1
                self.hang_up()
                time.sleep(RETRY[min(failures, len(RETRY) - 1)] * self.chance.uniform(0.5, 1.5))
                failures += 1
                continue
            if path.startswith("/api/"):
                self.noted.answered.append((started, time.monotonic() - started))
            return reply

    def request(self, method: str, path: str, body: str | None) -> tuple[http.client.HTTPResponse, bytes]:
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Origin": f"http://127.0.0.1:{self.port}", "Cookie": self.cookie}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.connection.request(method, path, body, headers)
        reply = self.connection.getresponse()
        return reply, reply.read()


def prepare(store: Store, annotators: int, items: int) -> list[str]:
    """A project with pairs to judge; personal links for everybody."""
    store.add_project(
        Project(PROJECT, "Load", "pair", votes_per_item=VOTES, max_votes=VOTES, settings={"gold_rate": 0.0})
    )
    prompt = Prompt("p", (Message("user", "Write one sentence of a film review."),))
    add_prompts(store, PROJECT, [BankPrompt(prompt)])
    texts = [
        Completion(f"c{n}", f"A sentence of a film review, the {n}th, of ordinary length.")
        for n in range(2 * items)
    ]
    add_completions(store, PROJECT, [("p", text, {}) for text in texts])
    add_items(store, PROJECT, [[texts[2 * n].id, texts[2 * n + 1].id] for n in range(items)])
    access = Access(store)
    access.invite(PROJECT, "admin", "admin")
    return [access.invite(PROJECT, f"annotator {n}", "annotator") for n in range(annotators)]


def start(url: str, port: int) -> subprocess.Popen[bytes]:
    """A server of its own process, which answers when this returns."""
    command = [
        sys.executable,
        "-m",
        "gnomon",
        "feedback",
        "serve",
        url,
        "--project",
        PROJECT,
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    process.kill()
    raise TimeoutError("the server did not start")


def faults(store: Store, acknowledged: list[str]) -> list[str]:
    """What is not as promised: an acknowledged judgement that is missing or double, an item with too many."""
    with store.reading() as session:
        there = Counter(session.scalars(select(JudgementRow.id)).all())
        counts = session.execute(
            select(ItemRow.key, counted_judgements(ItemRow.key, func.count()).scalar_subquery())
        ).all()
        full = [item for item, count in counts if count > VOTES]
        twice = session.execute(
            select(JudgementRow.item, JudgementRow.annotator)
            .group_by(JudgementRow.item, JudgementRow.annotator)
            .having(func.count() > 1)
        ).all()
    acknowledgements = Counter(acknowledged)
    return [
        *(f"{name} was acknowledged and is not there" for name in acknowledgements if there[name] == 0),
        *(f"{name} is there {n} times" for name, n in there.items() if n > 1),
        *(f"item {item} has more judgements than it wants" for item in full),
        *(f"annotator {who} judged item {item} twice" for item, who in twice),
    ]


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def measure(url: str, annotators: int, seconds: float, think: tuple[float, float]) -> dict[str, Any]:
    """Run it; what was seen, with a list of faults that should be empty."""
    store = Store(url)
    items = int(annotators * (2 * seconds / sum(think) + 2) / VOTES) + annotators
    tokens = prepare(store, annotators, items)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin, over = threading.Event(), threading.Event()
    server = start(url, port)
    people = [Annotator(port, token, think, n, begin, over) for n, token in enumerate(tokens)]
    try:
        for one in people:
            one.start()
            one.inside.wait(PATIENCE)  # they come in one after the other
        begin.set()
        time.sleep(seconds / 2)
        killed = time.monotonic()
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        server = start(url, port)
        back = time.monotonic()
        time.sleep(seconds / 2)
        over.set()
        for one in people:
            one.join(PATIENCE + 30)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
    acknowledged = [name for one in people for name in one.noted.acknowledged]
    answered = [pair for one in people for pair in one.noted.answered]
    every = [seconds_taken for _, seconds_taken in answered]
    rush = [seconds_taken for began, seconds_taken in answered if killed <= began <= back + RUSH]
    calm = [seconds_taken for began, seconds_taken in answered if not killed <= began <= back + RUSH]
    results = {
        "database": store.engine.dialect.name,
        "annotators": annotators,
        "seconds": seconds,
        "judgements": len(acknowledged),
        "requests": len(every),
        "think_seconds": list(think),
        "away_seconds": round(back - killed, 1),
        "requests_a_second": round(len(every) / (seconds + back - killed), 1),
        "unanswered": sum(one.noted.lost for one in people),
        "p50_ms": round(1000 * quantile(every, 0.5), 1),
        "p99_ms": round(1000 * quantile(every, 0.99), 1),
        "worst_ms": round(1000 * max(every), 1),
        "p99_ms_but_for_the_rush": round(1000 * quantile(calm, 0.99), 1),
        "p50_ms_in_the_rush": round(1000 * quantile(rush, 0.5), 1) if rush else None,
        "failures": [one.failure for one in people if one.failure],
        "faults": faults(store, acknowledged),
    }
    store.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="where; a SQLite file in a temporary folder if nothing is said")
    parser.add_argument("--annotators", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument(
        "--think",
        type=float,
        nargs=2,
        default=(2.5, 7.5),
        help="seconds, before an item is asked for and before it is answered",
    )
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.store or f"sqlite:///{folder}/feedback.db"
        results = measure(url, options.annotators, options.seconds, tuple(options.think))
    print(json.dumps(results, indent=2))
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if results["faults"] or results["failures"] else 0)


if __name__ == "__main__":
    main()
