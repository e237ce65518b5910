"""`gnomon feedback serve`: serve a project until Ctrl-C or beside other work; the project of `--demo`."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from gnomon.api.feedback.projects import Name, only_project, open_store
from gnomon.core.errors import RunError
from gnomon.core.progress import console
from gnomon.web.listening import address_of, listening_socket

if TYPE_CHECKING:  # heavy, so imported by what uses it: the command line starts through here
    import uvicorn

    from gnomon.feedback.store.store import Store

KEEP_ALIVE = 75  # seconds that an idle connection is kept open: longer than most items take
LAST_SECONDS = 5  # that requests may take after the server beside other work ends
DEMO, DEMO_ITEMS = "film-reviews", 40


def feedback_serve(
    url: Name,
    project: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    demo: bool = False,
    https: bool = False,
) -> None:
    """Serve a project's pages until Ctrl-C.

    A project without an administrator gets one, whose link is printed once.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        demo: create the demo project.
        https: browsers connect through a TLS proxy.

    Raises:
        ConfigError: the port is taken, or the store has several projects and none was named.
    """
    with closing(listening_socket(host, port)) as listener, closing(open_store(url, make=demo)) as store:
        created = make_demo(store) if demo else None
        name = project or created or only_project(store)
        store.project(name)
        _introduce(store, name, host, listener, https=https)
        _server(store, name, https=https).run(sockets=[listener])


@contextmanager
def serving(
    store: Store, project: str, *, host: str = "127.0.0.1", port: int = 8000, https: bool = False
) -> Iterator[Callable[[], None]]:
    """Context manager: serve a project's pages in a thread, and print the address and an administrator's link.

    Args:
        store: the feedback store.
        project: id of the project.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        https: browsers connect through a TLS proxy.

    Yields:
        A function that raises `RunError` if the server has ended.

    Raises:
        ConfigError: the port is taken.
    """
    with closing(listening_socket(host, port)) as listener:
        server = _server(store, project, https=https)
        server.config.timeout_graceful_shutdown = LAST_SECONDS
        thread = threading.Thread(target=server.run, args=([listener],), name="annotation-server", daemon=True)

        def check() -> None:
            if not thread.is_alive():
                raise RunError("the annotation server has ended; run the same command again.")

        thread.start()
        try:
            while not server.started:  # before that, the printed address would be refused
                check()
                time.sleep(0.01)
            if not _introduce(store, project, host, listener, https=https):
                hint = (
                    "the administrator's link was printed before; gnomon feedback invite --admin creates another"
                )
                console.print(hint, markup=False, highlight=False, soft_wrap=True)
            yield check
        finally:
            server.should_exit = True
            thread.join()


def _introduce(store: Store, project: str, host: str, listener: socket.socket, *, https: bool) -> bool:
    """Print the address of a project's pages; if it has no administrator, create one and print their link.

    Returns:
        Whether a link was printed.
    """
    from gnomon.feedback.store.access import Access

    listens = address_of(host, listener)
    address = "https://YOUR-PROXY" if https else f"http://{listens}"
    console.print(f"[bold]{project}[/bold] at http://{listens}; stop with Ctrl-C", soft_wrap=True)
    access = Access(store)
    if access.has_admin(project):
        return False
    token = access.invite(project, "admin", "admin")
    message = f"your personal link, shown only once: {address}/join/{token}"
    console.print(message, markup=False, highlight=False, soft_wrap=True)
    return True


def _server(store: Store, project: str, *, https: bool) -> uvicorn.Server:
    """The server of a project's pages."""
    import uvicorn

    from gnomon.web.server import make_app

    app = make_app(store, project, secure=https)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE
    )
    return uvicorn.Server(config)


def make_demo(store: Store, seed: int = 0) -> str:
    """Create the demo project with pairs of film-review snippets, unless it exists; returns its id."""
    from gnomon.core.translations import texts_in
    from gnomon.core.types import Completion, Message, Prompt
    from gnomon.data.film_reviews import load_film_reviews
    from gnomon.feedback.store.ingest import add_completions, add_items, add_prompts
    from gnomon.feedback.store.store import BankPrompt, Project

    if DEMO in store.projects():
        return DEMO
    texts_of_demo = texts_in("en")["annotation_pages"]["demo"]  # the pages translate it
    texts, _ = load_film_reviews()
    chosen = random.Random(seed).sample(texts, 2 * DEMO_ITEMS)
    store.add_project(
        Project(
            DEMO,
            texts_of_demo["title"],
            "pair",
            votes_per_item=1,
            max_votes=3,
            guidelines=texts_of_demo["guidelines"],
        )
    )
    prompt = Prompt("sentence", (Message("user", "Write one sentence of a film review."),))
    add_prompts(store, DEMO, [BankPrompt(prompt)])
    add_completions(store, DEMO, [(prompt.id, Completion(text.id, text.text), {}) for text in chosen])
    add_items(store, DEMO, [[a.id, b.id] for a, b in zip(chosen[::2], chosen[1::2], strict=True)])
    return DEMO
