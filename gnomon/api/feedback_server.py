"""`gnomon feedback serve`: serve one project until Ctrl-C, and create the project of `--demo`."""

from __future__ import annotations

import random
import socket
from contextlib import closing
from typing import TYPE_CHECKING

from gnomon.api.feedback import Name, only_project, open_store
from gnomon.core.errors import ConfigError
from gnomon.core.progress import console

if TYPE_CHECKING:  # heavy, so imported by what uses it: the command line starts through here
    from gnomon.feedback.store.store import Store

KEEP_ALIVE = 75  # seconds that an idle connection is kept open: longer than most items take
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
    import uvicorn

    from gnomon.feedback.store.access import Access
    from gnomon.web.server import make_app

    with closing(_listening(host, port)) as listener, closing(open_store(url, make=demo)) as store:
        created = make_demo(store) if demo else None
        name = project or created or only_project(store)
        store.project(name)
        listens = f"{host if ':' not in host else f'[{host}]'}:{listener.getsockname()[1]}"
        address = "https://YOUR-PROXY" if https else f"http://{listens}"
        console.print(f"[bold]{name}[/bold] at http://{listens}; stop with Ctrl-C", soft_wrap=True)
        access = Access(store)
        if not access.has_admin(name):
            token = access.invite(name, "admin", "admin")
            message = f"your personal link, shown only once: {address}/join/{token}"
            console.print(message, markup=False, highlight=False, soft_wrap=True)
        app = make_app(store, name, secure=https)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """A socket bound to the port, so that a taken one fails before anything is created."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError, TypeError, ValueError) as error:  # the last two: invalid host names
        listener.close()
        raise ConfigError(
            f"cannot listen on {host:.80}:{port} ({error}); give another --port or --host."
        ) from None
    return listener


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
