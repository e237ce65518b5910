"""A scoring server in this process, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from gnomon.core.errors import ConfigError
from gnomon.core.progress import console
from gnomon.models.external import model_path
from gnomon.models.settings import split_head
from gnomon.serving.app import make_scoring_app
from gnomon.serving.guard import read_token
from gnomon.web.listening import address_of, is_loopback, listening_socket

if TYPE_CHECKING:
    from gnomon.rewards.reward import Reward

KEEP_ALIVE = 75  # seconds that an idle connection is kept open
LAST_SECONDS = 30  # that requests may take after Ctrl-C


def serve_reward(load: Callable[[], Reward], name: str, *, host: str, port: int, token_file: Path | None) -> None:
    """Serve a reward until Ctrl-C.

    Args:
        load: loads the reward, once the port is known to be free.
        name: of the reward, as the user wrote it.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        token_file: file with the token that requests must send; `None` to need none.

    Raises:
        ConfigError: the port is taken, or other machines could send requests without a token.
    """
    import uvicorn

    token = None if token_file is None else read_token(token_file)
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"other machines can reach {host:.80}; give --token-file, or listen on --host 127.0.0.1."
        )
    with closing(listening_socket(host, port)) as listener:
        app = make_scoring_app(load(), served_name(name), token)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=LAST_SECONDS,
        )
        address = f"http://{address_of(host, listener)}"
        console.print(f"{name} at {address}; stop with Ctrl-C", markup=False, highlight=False, soft_wrap=True)
        uvicorn.Server(config).run(sockets=[listener])


def served_name(name: str) -> str:
    """Return the name of a reward in responses: of a path only the last part, which is all that callers need."""
    path, head = split_head(model_path(name))
    if not Path(path.partition(":")[0]).expanduser().exists():
        return name
    parts = [part for part in Path(path).expanduser().absolute().parts if part != "model"]
    return parts[-1] + ("" if head is None else f"#{head}")
