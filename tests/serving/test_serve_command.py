"""`gnomon serve` as a process: its address, the token, Ctrl-C with requests under way, what it prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from gnomon.cli.main import app
from gnomon.core.errors import ConfigError
from gnomon.serving.server import served_name

TOKEN = "tok-3f9d1c2b7a6e5f40"
REWARD = """
import time

def slow(prompt, completion):
    time.sleep(1.0)
    return len(completion)
"""


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, on a free port, and its address."""
    command = [sys.executable, "-m", "gnomon", "serve", *arguments, "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, cwd=folder, text=True, **pipes)  # type: ignore[call-overload]
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://\S+:\d+", line)
        assert match, line + process.stdout.read()
        for _ in range(500):
            try:
                requests.get(match[0] + "/health", timeout=10)
                break
            except requests.ConnectionError:
                time.sleep(0.02)
        yield process, match[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.long
def test_ctrl_c_finishes_requests_and_prints_no_text(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(REWARD, encoding="utf-8")
    (tmp_path / "token.txt").write_text(TOKEN + "\n", encoding="utf-8")
    arguments = ("slow.py:slow", "--token-file", "token.txt")
    with served(tmp_path, *arguments) as (process, address), ThreadPoolExecutor(1) as pool:
        body = {"prompts": ["a private question"], "completions": ["a private answer"]}
        assert requests.post(address + "/v1/score", json=body, timeout=60).status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        waiting = pool.submit(requests.post, address + "/v1/score", json=body, headers=headers, timeout=60)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert waiting.result().json()["results"][0]["score"] == 16.0
        assert process.wait(30) == 130
        assert process.stdout is not None
        printed = process.stdout.read()
    assert printed == "stopped; run the same command again.\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_another_host_than_loopback_needs_a_token(host: str) -> None:
    result = CliRunner().invoke(app, ["serve", "vader", "--host", host])
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception).startswith(f"other machines can reach {host}; give --token-file")


@pytest.mark.parametrize("content", ["", "short", "with a blank in its middle", "ключключключключ"])
def test_a_token_file_without_a_token_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text(content, encoding="utf-8")
    result = CliRunner().invoke(app, ["serve", "vader", "--token-file", str(tmp_path / "token.txt")])
    assert isinstance(result.exception, ConfigError)
    assert "must hold one token of at least 16 ASCII characters" in str(result.exception)
    missing = CliRunner().invoke(app, ["serve", "vader", "--token-file", str(tmp_path / "no.txt")])
    assert "cannot be read" in str(missing.exception)


def test_a_taken_port_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "no/such/model", "--port", str(port)])
    assert f"cannot listen on 127.0.0.1:{port}" in str(result.exception)


def test_the_served_name_shows_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "rm" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    assert served_name(str(folder)) == served_name(str(folder.parent)) == "rm"
    assert served_name(f"{folder}#helpfulness") == "rm#helpfulness"
    assert served_name("vader") == "vader"
    assert served_name("org/model#correctness") == "org/model#correctness"
    assert os.sep not in served_name(f"{folder / 'config.json'}:function")
