"""Run recipes in subprocesses, so that peak memory is measured per run and a failure stays isolated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gnomon.core.errors import DiskFullError, Interrupted
from gnomon.core.progress import StopSignal, console
from gnomon.core.storage.sealed_files import adopt_file, is_run, write_sealed

LAST_LINES = 40  # of a process's output, searched for its error
STOPPED = "stopped; run the same command again to continue."


class ForwardedStop(StopSignal):
    """Forwards Ctrl-C and SIGTERM to the running subprocess: the first makes it save and end, the second end.

    Attributes:
        child: the running subprocess.
    """

    def __init__(self) -> None:
        super().__init__(waits=True)
        self.child: subprocess.Popen[str] | None = None

    def _handle(self, *arguments: object) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
        super()._handle(*arguments)


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run; `error` is its message, empty on success."""

    error: str = ""


def run_in_subprocess(content: Mapping[str, Any], stop: ForwardedStop) -> RunOutcome:
    """Write a recipe into its run folder and run or resume it.

    Raises:
        Interrupted: the user stopped it; progress is saved.
        DiskFullError: the disk is full, so no other run could continue.
    """
    folder = Path(str(content["run"]))
    recipe = folder / "recipe.yaml"
    if is_run(folder):
        adopt_file(recipe)
    write_sealed(recipe, yaml.safe_dump(dict(content), allow_unicode=True, sort_keys=False))
    if stop:
        raise Interrupted(STOPPED)
    code, lines = _run(recipe, folder / "log.txt", stop)
    if stop or code == Interrupted.exit_code:
        raise Interrupted(STOPPED)
    if code == DiskFullError.exit_code:
        raise DiskFullError(_sentence(code, lines))
    return RunOutcome(_sentence(code, lines) if code else "")


def _run(recipe: Path, log: Path, stop: ForwardedStop) -> tuple[int, list[str]]:
    """The exit code and last lines of `gnomon run`; its output goes to the console and to `log`."""
    environment = {k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}
    environment |= {"NO_COLOR": "1", "COLUMNS": "160", "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
    last: deque[str] = deque(maxlen=LAST_LINES)
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            [sys.executable, "-m", "gnomon", "run", str(recipe)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=environment,
            start_new_session=os.name == "posix",  # Ctrl-C is forwarded by `stop`, once
        ) as child,
    ):
        stop.child = child
        assert child.stdout is not None
        for line in child.stdout:
            file.write(line)
            last.append(line.rstrip())
            console.print(f"  {line.rstrip()}", markup=False, highlight=False, soft_wrap=True)
        code = child.wait()
    stop.child = None
    return code, list(last)


def _sentence(code: int, lines: list[str]) -> str:
    """The error message of a failed process, else its last line."""
    if code < 0:
        hint = "; it may have run out of memory" if -code == 9 else ""
        return f"the process was killed by signal {-code}{hint}."
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    output = [line for line in lines if line.strip()]
    return errors[-1] if errors else output[-1] if output else f"the process ended with code {code}."
