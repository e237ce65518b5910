"""Which of the project's files run on three routes, in order of first entry, and how many they are.

    python benchmarks/routes.py                  all three
    python benchmarks/routes.py --route pair     one of them
    python benchmarks/routes.py --json           for programs: {"pair": {"command": […], "step": […]}, …}

- `pair`: one preference, from its JSONL line to the optimizer step of DPO. Part `command` begins with the command
  `gnomon train dpo`, part `line` when the file of that line is opened for the last time before the step, which is
  when training reads it, after all checks; both end with the step.
- `round`: one round of PPO with a reward model and a critic: all that runs after the last optimizer step of the
  first round, up to and including the last step of the second.
- `vote`: one judgement of a pair. Part `vote` is the request POST /api/submit at a running server, until it is
  answered; part `export` is the command `gnomon feedback export`, which writes the row.

A file counts when the body of a function, method, lambda or comprehension in it is entered at run time. Bodies of
modules and classes do not count, nor does what is called while a module of the project is being imported. Each
route runs in a process of its own, on a tiny random model, through the command line.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROUTES = ("pair", "round", "vote")
ROUNDS = 3
PRINTED = "printed.txt"  # in the temporary folder of a route: what the commands printed
DEADLINE = 60.0  # seconds until a server listens
PAIR = {"prompt": "How was the film?", "chosen": "A lovely film with a great end.", "rejected": "It was bad."}
LOOP = ("device=cpu", "precision=float32", "learning_rate=0.001")
PPO = (
    *("prompts_per_step=2", f"steps={ROUNDS}", "minibatches=2", "sampling.completions=2"),
    "sampling.max_tokens=8",
)
Route = dict[str, list[str]]


class FileTrace:
    """Files of one package whose functions are entered, in order of first entry, in parts with names.

    Attributes:
        parts: the files of each part, relative to the folder that holds the package.
    """

    def __init__(self, package: Path):
        self.root = f"{package.resolve()}{os.sep}"
        self.parts: Route = {}
        self._open: tuple[str, ...] = ()

    def record(self, *parts: str) -> None:
        """Add files that are entered from here on to these parts, and to no other."""
        for part in parts:
            self.parts.setdefault(part, [])
        self._open = parts

    def stop(self) -> None:
        """Record nothing more; what this thread does from here on runs at its usual speed."""
        self.record()
        sys.setprofile(None)

    @property
    def recording(self) -> bool:
        """Whether files are added to any part."""
        return bool(self._open)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch this thread, and threads that start inside."""
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _called(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not self._open or not self._is_function(code):
            return
        name = code.co_filename.removeprefix(os.path.dirname(self.root[:-1]) + os.sep)
        open_parts = [self.parts[part] for part in self._open if name not in self.parts[part]]
        if open_parts and not self._importing(frame):
            for files in open_parts:
                files.append(name)

    def _is_function(self, code: CodeType) -> bool:
        return code.co_filename.startswith(self.root) and bool(code.co_flags & inspect.CO_OPTIMIZED)

    def _importing(self, frame: FrameType | None) -> bool:
        """Whether the body of one of the package's modules is on the stack."""
        while frame is not None:
            if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(self.root):
                return True
            frame = frame.f_back
        return False


def package() -> Path:
    """The folder of the package that is measured: the one that `import gnomon` finds."""
    import gnomon

    return Path(str(gnomon.__file__)).parent


def run_command(*arguments: object, statuses: tuple[int, ...] = (0,)) -> None:
    """Run the command line in this process.

    Raises:
        RuntimeError: the command ended with another status than these.
    """
    from gnomon.__main__ import main

    sys.argv = ["gnomon", *map(str, arguments)]
    try:
        main()
    except SystemExit as stopped:
        if (stopped.code or 0) not in statuses:
            raise RuntimeError(f"gnomon {' '.join(sys.argv[1:])} ended with {stopped.code}") from None


def prepare(*arguments: object) -> str:
    """Run the command line in a process of its own, without a trace, and return what it printed."""
    command = [sys.executable, "-m", "gnomon", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows, one a line, and return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def trace_pair(folder: Path) -> Route:
    """Trace `gnomon train dpo` on a file of one pair, up to its first optimizer step."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    data = write_jsonl(folder / "pair.jsonl", [PAIR])
    trace = FileTrace(package())

    def opened(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]) == str(data) and trace.recording:
            trace.parts["line"] = []
            trace.record("command", "line")

    sys.addaudithook(opened)
    hook = register_optimizer_step_post_hook(lambda *_: trace.stop())
    trace.record("command")
    with trace.running():
        run_command(
            "train", "dpo", "--model", "tiny-random", "--data", data, "--out", folder / "run", "epochs=1", *LOOP
        )
    hook.remove()
    return trace.parts


def trace_round(folder: Path) -> Route:
    """Trace `gnomon train ppo`, and return the part between the last steps of the first and the second round."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    pairs = write_jsonl(folder / "pairs.jsonl", [PAIR, {**PAIR, "prompt": "How was the book?"}])
    prompts = write_jsonl(folder / "prompts.jsonl", [{"prompt": f"Name film {n}."} for n in range(4)])
    judge = folder / "judge"
    model = ("--model", "tiny-random")
    prepare("train", "reward_model", *model, "--data", pairs, "--out", judge, *LOOP)
    trace = FileTrace(package())
    hook = register_optimizer_step_post_hook(lambda *_: trace.record(f"after step {len(trace.parts)}"))
    reward = ("--reward", judge / "reward_model")
    trace.record("before")
    with trace.running():
        run_command("train", "ppo", *model, "--prompts", prompts, *reward, "--out", folder / "run", *LOOP, *PPO)
    hook.remove()
    *segments, _ = trace.parts.values()  # one for each step, and what follows the last
    steps, rest = divmod(len(segments), ROUNDS)
    if rest:
        raise RuntimeError(f"{len(segments)} optimizer steps in {ROUNDS} rounds: not as many in each")
    second = [name for segment in segments[steps : 2 * steps] for name in segment]
    return {"round": list(dict.fromkeys(second))}


def trace_vote(folder: Path) -> Route:
    """Trace the request that submits a judgement at a server in this process, then the export."""
    store = folder / "votes.db"
    pairs = write_jsonl(folder / "answers.jsonl", [{"prompt": PAIR["prompt"], "completions": ["Good.", "Bad."]}])
    prepare("feedback", "init", store, "--project", "films", "--title", "Which is better?")
    prepare("feedback", "import", store, pairs)
    trace = FileTrace(package())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threading.Thread(target=vote, args=(trace, folder / PRINTED, port), daemon=True).start()
    with trace.running():
        run_command("feedback", "serve", store, "--port", port, statuses=(0, 130))
    if not trace.parts.get("vote"):
        raise RuntimeError("the server took no vote")
    out = folder / "export"
    trace.record("export")
    with trace.running():
        run_command("feedback", "export", store, "--out", out)
    trace.record()
    if len((out / "preferences.jsonl").read_text(encoding="utf-8").splitlines()) != 1:
        raise RuntimeError("the vote did not reach the export")
    return trace.parts


def vote(trace: FileTrace, printed: Path, port: int) -> None:
    """Open the administrator's link, lease an item, submit a judgement of it, and stop the server."""
    try:
        deadline = time.monotonic() + DEADLINE
        while not (link := re.search(r"/join/[\w-]+", printed.read_text(encoding="utf-8"))) or not _listens(port):
            if time.monotonic() > deadline:
                raise TimeoutError("the server did not start")
            time.sleep(0.05)
        cookie = _request(port, link[0], {})[0].partition(";")[0]
        page = _request(port, "/", None, cookie)[1]
        who = re.findall(r'data-who="([0-9a-f]+)"', page)[0]
        task = json.loads(_request(port, "/api/task", {}, cookie)[1])["task"]
        body = {
            "id": str(uuid.uuid4()),
            "who": who,
            "item": task["item"],
            "answer": {"choice": "first"},
            "seconds": {"active": 4.0, "idle": 0.0},
        }
        trace.record("vote")
        _request(port, "/api/submit", body, cookie)
        trace.record()
    except Exception:  # noqa: BLE001 - a thread's failure is printed, and the server stops without a vote
        traceback.print_exc()
        trace.parts.pop("vote", None)
    finally:
        os.kill(os.getpid(), signal.SIGINT)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _request(port: int, path: str, body: dict[str, Any] | None, cookie: str = "") -> tuple[str, str]:
    """The cookie that an answer sets, and its text."""
    home = f"http://127.0.0.1:{port}"
    headers = {"Origin": home, "Content-Type": "application/json", "Cookie": cookie, "Accept": "*/*"}
    request = urllib.request.Request(home + path, None if body is None else json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        reply: Any = opener.open(request, timeout=DEADLINE)
    except urllib.error.HTTPError as error:
        if error.code >= 400:
            raise RuntimeError(f"{path}: {error.code} {error.read()[:300]!r}") from None
        reply = error
    with reply:
        return str(reply.headers.get("set-cookie")), reply.read().decode()


def run_route(name: str) -> Route:
    """One route in this process; what the commands print goes to a file, and is shown where they fail."""
    trace_route = {"pair": trace_pair, "round": trace_round, "vote": trace_vote}[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        printed = folder / PRINTED
        failed = True
        try:
            with redirected(printed):
                route = trace_route(folder)
            failed = False
        finally:
            if failed:
                print(printed.read_text(encoding="utf-8"), file=sys.stderr)
    return route


@contextmanager
def redirected(path: Path) -> Iterator[None]:
    """Write standard output and standard error of this process into a file."""
    descriptors = {number: os.dup(number) for number in (1, 2)}
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in descriptors:
        os.dup2(file, number)
    os.close(file)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, saved in descriptors.items():
            os.dup2(saved, number)
            os.close(saved)


def measure(names: list[str]) -> dict[str, Route]:
    """Each route in a process of its own.

    Raises:
        RuntimeError: a route failed.
    """
    if len(names) == 1:
        return {names[0]: run_route(names[0])}
    routes: dict[str, Route] = {}
    for name in names:
        command = [sys.executable, __file__, "--route", name, "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the route {name} failed:\n{done.stderr}")
        routes |= json.loads(done.stdout)
    return routes


def main() -> None:
    """Measure, and print the files or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--route", choices=ROUTES, action="append", help="one of them; several times")
    parser.add_argument("--json", action="store_true", help="for programs")
    given = parser.parse_args()
    routes = measure(given.route or list(ROUTES))
    if given.json:
        print(json.dumps(routes, indent=2))
        return
    for route, parts in routes.items():
        for part, files in parts.items():
            print(f"{route}, {part}: {len(files)} files")
            for number, name in enumerate(files, 1):
                print(f"  {number:3d}  {name}")


if __name__ == "__main__":
    main()
