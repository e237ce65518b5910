"""Runs bad commands, each in a fork of a process that imported everything: `fork_server.py SEED FIRST COUNT DIR`.

Prints a JSON line for each fault (a traceback, a hang, a leftover, a strange status), and one with the figures.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import torch
from bad_cases import ROWS, Case, make_case, recipe_tree
from bad_values import as_json

import gnomon
from gnomon.algorithms.contract import algorithms
from gnomon.cli.main import main
from gnomon.core.boundary import CRASH_FOLDER
from gnomon.models.tiny_random import RandomModel

HANG = 20  # seconds of a processor
ASLEEP = 120.0  # seconds by the clock, on a machine that does much else
STATUSES = {0, 2, 3, 130}
ESCAPED = 99  # an exception that the command line let through
HEAVY = ("peft", "datasets", "pyarrow.parquet", "alembic.command", "safetensors.torch", "sklearn", "uvicorn")
FOLDERS = ("crashes", "cache", "temporary")
CODE = """import sys

def raises(prompt, completion):
    raise GeneratorExit

def exits(prompt, completion):
    sys.exit(7)
"""


def import_everything() -> None:
    """Import once, here, what each fork would import again."""
    for module in pkgutil.walk_packages(gnomon.__path__, "gnomon."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in HEAVY:
        importlib.import_module(name)
    for name in ("AutoModelForCausalLM", "AutoModelForSequenceClassification", "AutoTokenizer"):
        getattr(importlib.import_module("transformers"), name)
    algorithms()
    gc.freeze()  # a fork shares what it does not touch


def prepare(folder: Path) -> None:
    """A model, and what each case finds in its folder: good data, a good recipe, a good store."""
    RandomModel().write(folder / "model")
    for name in FOLDERS:
        (folder / name).mkdir()
    os.environ |= {"HF_HUB_OFFLINE": "1", "COLUMNS": "200", CRASH_FOLDER: str(folder / "crashes")}
    os.environ |= {
        "TMPDIR": str(folder / "temporary"),
        "GNOMON_CACHE": str(folder / "cache"),
        "HOME": str(folder),
    }
    good = folder / "good"
    (good / "folder").mkdir(parents=True)
    for name, rows in ROWS.items():
        (good / f"{name}.jsonl").write_bytes(b"\n".join(map(as_json, rows)) + b"\n")
    (good / "data.jsonl").write_bytes((good / "preferences.jsonl").read_bytes())
    (good / "recipe.yaml").write_bytes(as_json(recipe_tree(str(folder / "model"))))
    (good / "code.py").write_text(CODE, encoding="utf-8")
    (good / "broken.py").write_text("import sys; sys.exit(3)\n", encoding="utf-8")
    (good / "broken.db").write_bytes(b"no database" * 100)
    for command in (["init", "store.db", "--project", "p", "--title", "t"], ["import", "store.db", "data.jsonl"]):
        status, _ = fork(Case("store", ["feedback", *command]), good, folder / "made.txt")
        assert status == 0, (folder / "made.txt").read_text(encoding="utf-8")


def fork(case: Case, folder: Path, out: Path) -> tuple[int | None, float]:
    """The exit status of a case, `None` if it was killed as hanging, and its processor seconds."""
    started = time.monotonic()
    if (child := os.fork()) == 0:
        become(case, folder, out)
    while time.monotonic() - started < ASLEEP:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGKILL else code, used.ru_utime + used.ru_stime
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, HANG


def become(case: Case, folder: Path, out: Path) -> NoReturn:
    """Be the command line in this fork, with its standard streams on files, and exit."""
    code: Any = ESCAPED
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (HANG, HANG))
        os.chdir(folder)
        typed = out.with_suffix(".in")
        typed.write_bytes(case.typed.encode("utf-8", "surrogateescape"))
        os.dup2(os.open(typed, os.O_RDONLY), 0)
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 1)
        os.dup2(1, 2)
        if case.powerless:
            drop_capabilities()
        sys.argv = ["gnomon", *case.arguments]
        sys.stdin = os.fdopen(0, "r", encoding="utf-8", errors="surrogateescape")
        main()
        code = 0
    except SystemExit as stopped:
        code = stopped.code or 0
    except BaseException:  # noqa: BLE001 - what escapes is what is looked for
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def drop_capabilities() -> None:
    """Let permissions hold for root too: its files stay its own, and what nobody may read it may not."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    if os.geteuid() == 0 and ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError("capset")


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def faults(status: int | None, text: str, new: set[str], crashes: list[Path]) -> list[str]:
    """What is wrong with how a command ended; once a stage has begun its run folder stays."""
    found = []
    if status is None:
        return ["hang"]
    if "Traceback (most recent" in text or crashes or status not in STATUSES:
        found.append("traceback")
    elif status and not any(line.startswith(("error: ", "Usage: ", "Error")) for line in _lines(text)):
        found.append("no sentence")
    began = any(name.endswith(("metrics.jsonl", "stage.json")) for name in new)
    if status and new and not began:
        found.append("leftovers")
    return found


def _lines(text: str) -> list[str]:
    return [line.lstrip(" ╭─│") for line in text.splitlines()]


def run(seed: str, numbers: range, folder: Path) -> dict[str, Any]:
    """Run the cases of these numbers; the figures."""
    prepare(folder)
    kinds, statuses, seconds, slowest = Counter[str](), Counter[str](), Counter[str](), 0.0
    for number in numbers:
        here, out = folder / f"case-{number}", folder / f"out-{number}.txt"
        shutil.copytree(folder / "good", here)
        case = make_case(here, str(folder / "model"), f"{seed}-{number}")
        before = listing(here)
        status, used = fork(case, here, out)
        text = out.read_text(encoding="utf-8", errors="replace")
        crashes = sorted((folder / "crashes").iterdir())
        os.chmod(here, 0o755)
        new = {*listing(here) - before, *listing(folder / "temporary")}
        kinds[case.kind] += 1
        statuses[str(status)] += 1
        seconds[case.kind] += used  # type: ignore[assignment]  # a sum of floats
        slowest = max(slowest, used)
        traces = [file.read_text(encoding="utf-8", errors="replace") for file in crashes]
        for fault in faults(status, text, new, crashes):
            row = {"fault": fault, "number": number, "kind": case.kind, "status": status, "left": sorted(new)[:6]}
            row |= {"arguments": [a[:200] for a in case.arguments], "text": "".join([text, *traces])[-2000:]}
            print(json.dumps(row), flush=True)
        for path in (*crashes, out, out.with_suffix(".in")):
            path.unlink(missing_ok=True)
        shutil.rmtree(here, ignore_errors=True)
        shutil.rmtree(folder / "temporary")
        (folder / "temporary").mkdir()
    means = {kind: round(seconds[kind] / count, 2) for kind, count in kinds.items()}
    return {"kinds": kinds, "statuses": statuses, "seconds": means, "slowest": round(slowest, 1)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    import_everything()
    first, count = int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(run(sys.argv[1], range(first, first + count), Path(sys.argv[4]))), flush=True)
