"""Helpers: a real annotation server in a thread, and users with session cookies."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import uvicorn
from sqlalchemy import select
from tiny import prompts_of

from gnomon.core.types import Completion
from gnomon.feedback.store.access import Access
from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
from gnomon.feedback.store.schema import JudgementRow
from gnomon.feedback.store.store import BankPrompt, Project, Store
from gnomon.web.server import make_app

ID = "00000000-0000-4000-8000-{:012x}"


@dataclass
class Site:
    """A server, its store, and personal links."""

    address: str
    store: Store
    project: str = "films"

    def link(self, name: str, role: Any = "annotator") -> str:
        return f"{self.address}/join/{Access(self.store).invite(self.project, name, role)}"

    def log_in(self, name: str, role: Any = "annotator") -> User:
        user = User(self.address)
        page = user.http.post(self.link(name, role), headers={"Origin": self.address})
        assert page.status_code == 200
        user.who = str(re.findall('data-who="([0-9a-f]+)"', page.text)[0])
        return user


class User:
    """An HTTP client with a session cookie, without the page's script."""

    def __init__(self, address: str, who: str = "nobody"):
        self.address = address
        self.who = who
        self.http = requests.Session()

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        sent = {"Origin": self.address} | headers
        return self.http.post(self.address + path, json={} if body is None else body, headers=sent)

    def task(self) -> Any:
        answer = self.post("/api/task")
        assert answer.status_code == 200, answer.text
        return answer.json()["task"]

    def judge(self, item: int, number: int, choice: str = "first", **more: Any) -> requests.Response:
        seconds = {"active": 2.0, "idle": 0.0}
        body = {"id": ID.format(number), "who": self.who, "item": item, "answer": {"choice": choice}}
        body |= {"seconds": seconds}
        return self.post("/api/submit", body | more)


def fill(
    store: Store,
    items: int = 3,
    *,
    texts: Sequence[str] = ("Good {}.", "Bad {}."),
    votes_per_item: int = 2,
    task: str = "pair",
    project: str = "films",
    **settings: Any,
) -> None:
    """Fills a store with a project whose items have these texts; `{}` in a text is the item's number."""
    about = Project(project, "Which is better?", task, votes_per_item, 4, "Be kind.\n\nBe fair.", settings)
    store.add_project(about)
    prompts = prompts_of(*(f"How was film {i}?" for i in range(items)))
    add_prompts(store, project, [BankPrompt(one) for one in prompts])
    for i in range(items):
        answers: list[tuple[str, Completion, dict[str, Any]]] = [
            (f"p{i}", Completion(f"{side}{i}", text.replace("{}", str(i)), f"secret-model-{side}"), {})
            for side, text in zip("abcdefghi", texts, strict=False)
        ]
        add_completions(store, project, answers)
    add_items(store, project, [[f"{side}{i}" for side in "abcdefghi"[: len(texts)]] for i in range(items)])


@contextmanager
def serving(store: Store, project: str = "films") -> Iterator[Site]:
    """Serve a project of the store on a free port."""
    server = uvicorn.Server(uvicorn.Config(make_app(store, project), port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        (listener,) = server.servers[0].sockets
        yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", store, project)
    finally:
        server.should_exit = True
        thread.join()


def visible(html: str) -> str:
    """The visible text of a page."""
    return " ".join(re.sub("<[^>]+>", " ", html).split())


def judgements(site: Site) -> list[JudgementRow]:
    with site.store.reading() as session:
        return list(session.scalars(select(JudgementRow).order_by(JudgementRow.sequence)))
