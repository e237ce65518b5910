"""Environment of a run: versions, machine, commit, command."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gnomon.core.redaction import redact_arguments
from gnomon.core.storage.files import to_json

PACKAGES = ("torch", "transformers", "peft", "scikit-learn", "numpy")


def jsonl(rows: Iterable[Any]) -> bytes:
    """Encode rows as JSON lines."""
    return b"".join((json.dumps(to_json(row), ensure_ascii=False) + "\n").encode() for row in rows)


def environment(seed: int, data: Mapping[str, str]) -> dict[str, Any]:
    """Collect everything that a run depends on besides its recipe."""
    return {
        "gnomon": _installed("gnomon-rlhf"),
        "python": platform.python_version(),
        **{name: _installed(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "seed": seed,
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([*_program(), *redact_arguments(sys.argv[1:])]),
        "data": dict(data),
    }


def versions() -> dict[str, str]:
    """Return the versions of Gnomon, of Python and of the packages that a training depends on, by name."""
    installed = {"gnomon": _installed("gnomon-rlhf"), "python": platform.python_version()}
    installed |= {name: _installed(name) for name in PACKAGES}
    return {name: version for name, version in installed.items() if version is not None}


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _program() -> list[str]:
    """Return the command that started this program, as a user types it."""
    name = Path(sys.argv[0]).name
    return ["python", "-m", "gnomon"] if name == "__main__.py" else [name]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    """Return the commit of the running source; `None` outside a checkout."""
    here = Path(__file__).resolve().parents[3]
    if not (here / ".git").exists() or shutil.which("git") is None:
        return None
    result = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or None
