"""The files in `deploy/` fit the command line, the image holds what it starts, and the pages say so.

Docker and systemd are not run here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from gnomon.cli.main import app

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PAGES = ("README.md", "README.zh-CN.md")


def read(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def compose() -> dict[str, Any]:
    """The compose file's services."""
    services = yaml.safe_load(read("compose.yaml"))["services"]
    assert isinstance(services, dict)
    return services


def parsed(words: list[str]) -> dict[str, Any]:
    """What the command line makes of the words behind `gnomon`; raises where it refuses them."""
    command: Any = get_command(app)
    context = command.make_context("gnomon", list(words), resilient_parsing=False)
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return dict(context.params)


def page_commands(page: str) -> Iterator[list[str]]:
    """The words behind the service `gnomon` in the lines of a page that run it."""
    for line in read(page).splitlines():
        if line.startswith("docker compose run"):
            words = shlex.split(line)
            yield words[words.index("gnomon") + 1 :]


def test_the_server_is_started_with_options_that_it_has() -> None:
    service = compose()["gnomon"]
    options = parsed(service["command"])
    assert options["store"].startswith("postgresql://gnomon@db/")
    assert (options["host"], options["https"]) == ("0.0.0.0", True)
    assert f"gnomon:{options['port']}" in read("Caddyfile")


def test_only_the_proxy_is_reached_from_outside() -> None:
    services = compose()
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    secrets = [service["environment"] for service in (services["db"], services["gnomon"])]
    assert all("${POSTGRES_PASSWORD:?" in " ".join(one.values()) for one in secrets)


def test_the_unit_is_started_and_stopped_as_the_server_expects() -> None:
    unit = read("gnomon-feedback.service")
    (line,) = re.findall(r"^ExecStart=\S+/gnomon (.+)$", unit, re.MULTILINE)
    (store,) = re.findall(r"^Environment=STORE=(.+)$", unit, re.MULTILINE)
    options = parsed(shlex.split(line.replace("${STORE}", store)))
    assert (options["store"], options["host"], options["https"]) == (store, "127.0.0.1", True)
    assert "KillSignal=SIGINT" in unit  # a stop by Ctrl-C ends with 130
    assert "SuccessExitStatus=130" in unit


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_pages_are_right(page: str) -> None:
    commands = list(page_commands(page))
    assert [words[1] for words in commands] == ["init", "import"]
    for words in commands:
        parsed([word.replace("/in.jsonl", str(DEPLOY / "compose.yaml")) for word in words])


def test_both_languages_have_the_same_commands() -> None:
    blocks = [re.findall(r"```sh\n(.*?)```", read(page), re.DOTALL) for page in PAGES]
    english, chinese = ([re.sub(r" {2,}# .*", "", block) for block in blocks_of] for blocks_of in blocks)
    assert english == chinese
    assert len(english) == 2


def test_the_image_is_given_every_file_that_it_copies() -> None:
    copied = [
        word for line in re.findall(r"^COPY (.+)$", read("Dockerfile"), re.MULTILINE) for word in line.split()
    ]
    sources = {word for word in copied if (ROOT / word).exists() and word != "./"}
    passed = {line[1:] for line in read("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    assert sources == passed
    assert {"gnomon", "recipes", "pyproject.toml"} <= sources
