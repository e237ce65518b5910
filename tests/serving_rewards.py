"""Helpers: a real scoring server in a thread, and a reward model with random weights in a folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import uvicorn

from gnomon.rewards.reward import Reward
from gnomon.serving.app import make_scoring_app


class ScoringClient:
    """An HTTP client of a scoring server."""

    def __init__(self, address: str, app: Any):
        self.address = address
        self.app = app

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        return requests.post(self.address + path, json=body, headers=headers, timeout=60)

    def score(self, prompts: list[Any], completions: list[Any]) -> list[dict[str, Any]]:
        response = self.post("/v1/score", {"prompts": prompts, "completions": completions})
        assert response.status_code == 200, response.text
        results: list[dict[str, Any]] = response.json()["results"]
        return results


@contextmanager
def serving_reward(reward: Reward, name: str = "judge", token: str | None = None) -> Iterator[ScoringClient]:
    """Serve a reward on a free port."""
    app = make_scoring_app(reward, name, token)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        (listener,) = server.servers[0].sockets
        yield ScoringClient(f"http://127.0.0.1:{listener.getsockname()[1]}", app)
    finally:
        server.should_exit = True
        thread.join()
