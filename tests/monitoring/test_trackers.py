"""Trackers behind one sink: the calls that each receives, at the first start and at later ones."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gnomon.core.errors import ConfigError
from gnomon.monitoring.trackers import TRACKERS, SinkGroup, open_sink

Calls = list[tuple[str, tuple[Any, ...], dict[str, Any]]]
SETTINGS = {"seed": 3}


class Answered:
    """The run that a tracker's `init` or `start_run` returns, with its name and id."""

    def __init__(self, name: str):
        self.name = name
        self.info = self
        self.run_id = f"id-of-{name}"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls that fake packages of the trackers received; they accept any call."""
    result: Calls = []

    class Noting(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)

            def noted(*words: Any, **named: Any) -> Answered:
                result.append((name, words, named))
                return Answered(str(named.get("name", named.get("run_name", ""))))

            return noted

    for name in ("wandb", "mlflow", "trackio"):
        monkeypatch.setitem(sys.modules, name, Noting(name))
    return result


def send(name: str, folder: Path, steps: list[int], done: int = 0) -> None:
    sink = open_sink([name], folder, "ppo", SETTINGS, last_step=done)
    assert sink is not None
    for step in steps:
        sink.record(step, {"loss": step / 2})
    sink.close()


def tracker_runs(folder: Path) -> dict[str, dict[str, Any]]:
    result: dict[str, dict[str, Any]] = json.loads((folder / "ppo" / "trackers.json").read_text())
    return result


def test_calls_to_wandb(calls: Calls, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    send("wandb", folder, [7])
    run = tracker_runs(folder)["wandb"]["id"]
    settings = {"project": "films", "name": "ppo", "config": SETTINGS, "dir": str(folder)}
    assert calls == [
        ("init", (), {**settings, "id": run, "resume": "allow"}),
        ("log", ({"loss": 3.5},), {"step": 7}),
        ("finish", (), {}),
    ]


def test_calls_to_trackio(calls: Calls, tmp_path: Path) -> None:
    """trackio has no ids: a run is resumed by its name."""
    folder = tmp_path / "films"
    send("trackio", folder, [1])
    send("trackio", folder, [2])
    settings = {"project": "films", "name": "ppo", "config": SETTINGS}
    assert [call for call in calls if call[0] == "init"] == [
        ("init", (), {**settings, "resume": "never"}),
        ("init", (), {**settings, "resume": "allow"}),
    ]


def test_calls_to_mlflow(calls: Calls, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    sink = open_sink(["mlflow"], folder, "ppo", {"long": "x" * 600})
    assert sink is not None
    sink.record(7, {"loss": 0.5})
    sink.close()
    assert calls == [
        ("set_experiment", ("films",), {}),
        ("start_run", (), {"run_name": "ppo"}),
        ("log_params", ({"long": "x" * 500},), {}),
        ("log_metrics", ({"loss": 0.5},), {"step": 7}),
        ("end_run", (), {}),
    ]
    calls.clear()
    send("mlflow", folder, [8])
    assert calls[1] == ("start_run", (), {"run_id": "id-of-ppo"})
    assert "log_params" not in [
        call[0] for call in calls
    ]  # parameters cannot change, and the folder may have moved


@pytest.mark.parametrize(("name", "log"), [("wandb", "log"), ("trackio", "log"), ("mlflow", "log_metrics")])
def test_a_second_start_resumes_the_run_and_sends_no_step_twice(
    calls: Calls, tmp_path: Path, name: str, log: str
) -> None:
    send(name, tmp_path, [1, 2, 3])
    before = tracker_runs(tmp_path)[name]["id"]
    send(name, tmp_path, [2, 3, 4], done=1)  # killed after step 3, resumed from the checkpoint of step 1
    assert tracker_runs(tmp_path)[name] == {"id": before, "step": 4}
    assert [named["step"] for call, _, named in calls if call == log] == [1, 2, 3, 4]


def test_tensorboard_purges_repeated_steps(tmp_path: Path) -> None:
    module = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")

    killed = open_sink(["tensorboard"], tmp_path, "ppo", SETTINGS)
    assert isinstance(killed, SinkGroup)
    for step in range(1, 6):
        killed.record(step, {"loss": float(step)})
    killed.sinks[0].writer.flush()  # type: ignore[attr-defined]  # and never closed
    time.sleep(1.1)  # the names of event files count in seconds
    send("tensorboard", tmp_path, [3, 4, 5, 6], done=2)
    shown = module.EventAccumulator(str(tmp_path / "ppo" / "tensorboard"))
    shown.Reload()
    events = shown.Scalars("loss")
    assert [e.step for e in events] == [1, 2, 3, 4, 5, 6]
    assert [e.value for e in events] == [1.0, 2.0, 1.5, 2.0, 2.5, 3.0]


def test_several_trackers_receive_the_same_metrics(calls: Calls, tmp_path: Path) -> None:
    sink = open_sink(["wandb", "trackio"], tmp_path, "ppo", {})
    assert sink is not None
    sink.record(1, {"loss": 1.0})
    sink.close()
    assert [call[0] for call in calls] == ["init", "init", "log", "log", "finish", "finish"]
    assert open_sink([], tmp_path, "ppo", {}) is None


def test_a_failing_tracker_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("wandb")

    def refuse(**_: Any) -> None:
        raise RuntimeError("api_key not configured\n(no-tty)")

    module.init = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(ConfigError, match=r"wandb cannot be started for stage 'ppo' \(api_key not configured"):
        open_sink(["wandb"], tmp_path, "ppo", {})


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_missing_tracker_package_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f"{name} is not installed; pip install {name}, or remove"):
        open_sink([name], tmp_path, "ppo", {})
