"""A server that speaks OpenAI's chat completions, and misbehaves as it is told."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One reply: a status, a body (made JSON unless it is bytes), headers, and seconds before it is sent."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    cut: bool = False  # the line breaks in the middle of the body


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    port: int = 0  # of the sender's end of the connection


def chat(text: object, finish: str = "stop", **more: object) -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return Answer({"object": "chat.completion", "choices": [choice], **more})


@dataclass
class ChatServer:
    """`url` ends in /v1; `reply` answers a request by its number, from 0; `requests` holds all that came."""

    url: str = ""
    reply: Callable[[int, dict[str, Any]], Answer] = lambda number, body: chat(f"answer {number}")
    requests: list[Received] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def chat_server(*, keep_alive: bool = False, context: ssl.SSLContext | None = None) -> Iterator[ChatServer]:
    """A server on a free port of this machine, for as long as the block lasts.

    Args:
        keep_alive: whether connections stay open for another request.
        context: makes it a server of HTTPS, with the certificate that the context has.
    """
    state = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1" if keep_alive else "HTTP/1.0"
        disable_nagle_algorithm = True  # or the body waits until the client acknowledges the headers

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                number = len(state.requests)
                state.requests.append(Received(self.path, dict(self.headers), body, self.client_address[1]))
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            try:
                answer = state.reply(number, body)
                time.sleep(answer.after)
            finally:
                with state.lock:  # before it is sent: whoever has it may ask again at once
                    state.at_once -= 1
            with suppress(BrokenPipeError, ConnectionResetError):  # the client did not wait
                self._answer(answer)

        def _answer(self, answer: Answer) -> None:
            raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw[: len(raw) // 2] if answer.cut else raw)

        def do_GET(self) -> None:
            with state.lock:
                state.requests.append(Received(self.path, dict(self.headers), {}))
            self._answer(chat("by another way"))

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None: ...  # a client that does not trust the certificate hangs up

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
