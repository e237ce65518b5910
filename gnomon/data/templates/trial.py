"""Trial of a chat template, which is untrusted code, in a child process with limits before its first use.

Templates render in a sandbox, which forbids access to the machine but neither an endless loop nor a text that
doubles until memory runs out. A child process with limits on time and memory renders a question and its answer.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from gnomon.core.errors import DataError

SECONDS = 5  # of processor time, for two renderings of two short turns
WALL = 60.0  # seconds that they may take on a busy machine
MEMORY = 1 << 30  # bytes in addition to those of the process
TURNS = [{"role": "user", "content": "gnomon"}, {"role": "assistant", "content": "gnomon"}]
_tried: set[str] = set()


def try_template(tokenizer: Any, where: str) -> None:
    """Render two turns in a child process with limits; errors of the template are left to its first use.

    Args:
        tokenizer: with its chat template, which is tried once per process.
        where: the template's owner, for messages.

    Raises:
        DataError: the template does not finish within its limits.
    """
    template = tokenizer.chat_template
    if not isinstance(template, str) or template in _tried or sys.platform != "linux":
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # about forks in a process with threads; the child needs none of them
            child = os.fork()
    except OSError:  # no child process available: the template is trusted
        return
    if child == 0:
        _render_and_exit(tokenizer)
    if not _ended_well(child):
        raise DataError(
            f"the chat template of {where} does not end within {SECONDS} s and {MEMORY >> 30} GB; "
            "set chat_template to plain or to another Jinja file."
        )
    _tried.add(template)


def _render_and_exit(tokenizer: Any) -> None:
    import resource

    code = 0
    try:
        held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for turns, answer in ((TURNS[:1], True), (TURNS, False)):
            tokenizer.apply_chat_template(turns, add_generation_prompt=answer, tokenize=False)
    except MemoryError:
        code = 1
    finally:
        os._exit(code)  # without the parent's clean-up


def _ended_well(child: int) -> bool:
    deadline = time.monotonic() + WALL
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
