"""The workflow, .ci/run, the hooks and the citation agree with the Makefile and the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from gnomon.core.version import VERSION

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def make_targets(text: str) -> list[str]:
    """The targets of the lines that call make."""
    return re.findall(r"^make ([\w-]+)$", text, re.MULTILINE)


def workflow_targets(workflow: Any) -> list[str]:
    """The targets that a workflow's one job makes, its matrix unfolded."""
    job = workflow["jobs"]["make"]
    commands = "\n".join(step["run"] for step in job["steps"] if "run" in step)
    matrix = job["strategy"]["matrix"]["target"]
    return [
        target
        for name in re.findall(r"^make (.+)$", commands, re.MULTILINE)
        for target in (matrix if name == "${{ matrix.target }}" else [name])
    ]


def test_the_workflow_makes_what_continuous_integration_makes() -> None:
    targets = make_targets(read(".ci/run"))
    assert workflow_targets(yaml.safe_load(read(".github/workflows/ci.yml"))) == targets
    assert {"check", "test", "test-long"} <= set(targets)
    assert all(re.search(rf"^{target}:", read("Makefile"), re.MULTILINE) for target in targets)


def test_the_hooks_are_the_projects_own_tools() -> None:
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    tools = {hook["entry"].split()[0] for hook in repository["hooks"]}
    assert tools == {".venv/bin/ruff", ".venv/bin/mypy"}
    pinned = {line.partition("==")[0] for line in read("constraints.txt").splitlines()}
    assert {Path(tool).name for tool in tools} <= pinned


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert citation["version"] == VERSION == project["version"]
    assert citation["license"] == project["license"]
