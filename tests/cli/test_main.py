"""The command line: help shows examples, a user's mistake is one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project, Ran, Run

from gnomon.algorithms.contract import algorithms
from gnomon.core import renamed
from gnomon.pipeline import run


def test_help_in_a_subprocess(gnomon: Run) -> None:
    result = gnomon("--help")
    assert result.returncode == 0
    assert all(name in result.stdout for name in ("run", "check", "report", "algorithms"))
    assert result.stderr == ""


@pytest.mark.parametrize("command", ["run", "check", "report", "algorithms"])
def test_help_of_every_command_shows_an_example(ask: Callable[..., Ran], command: str) -> None:
    code, out, _ = ask(command, "--help")
    assert code == 0
    assert f"gnomon {command}" in out.partition("Example")[2]


def test_run_help_explains_overrides_and_resuming(ask: Callable[..., Ran]) -> None:
    _, out, _ = ask("run", "--help")
    assert "aligned.training.steps=40" in out
    assert "A finished stage is not run again" in out


def test_algorithms_are_listed_with_their_settings(ask: Callable[..., Ran]) -> None:
    code, out, _ = ask("algorithms")
    assert code == 0
    assert [line.partition(":")[0] for line in out.splitlines()] == list(algorithms())
    (ppo,) = [line for line in out.splitlines() if line.startswith("ppo")]
    assert "trained on Experience" in ppo
    assert "clip_low=0.2" in ppo


def test_check_lists_the_stages_and_writes_nothing(ask: Callable[..., Ran], project: Project) -> None:
    code, out, _ = ask("check", str(project.recipe), "aligned.training.steps=40")
    assert code == 0
    assert out.splitlines() == ["sft: sft", "judge: reward_model", "aligned: ppo", "report: evaluate"]
    assert not project.run.exists()


def test_run_and_report(ask: Callable[..., Ran], copied: Project) -> None:
    code, _, err = ask("run", str(copied.recipe), f"run={copied.run}")
    assert code == 0
    assert f"open {copied.run}/report.html" in err
    code, out, _ = ask("report", str(copied.run), "--language", "zh")
    assert code == 0
    assert out.strip() == str(copied.run / "report.html")
    assert '<html lang="zh' in (copied.run / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh' in (copied.run / "report.html").read_text(encoding="utf-8")


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no recipe": (["run", "absent.yaml"], "no recipe at absent.yaml; give the path of a YAML file."),
    "a folder": (["run", "."], "give the path of a YAML file"),
    "a key": (["run", "RECIPE", "sft.trainin.epochs=1"], "unknown key 'trainin'; did you mean 'training'?"),
    "an override": (["run", "RECIPE", "sft"], "is not of the form key.subkey=value"),
    "a model": (["run", "RECIPE", "model.name=./absent"], "no model folder at ./absent"),
    "data": (["run", "RECIPE", "sft.data=absent.jsonl"], "no data at absent.jsonl"),
    "a device": (["run", "RECIPE", "model.device=tpu"], "model.device: input should be 'auto', 'cpu' or 'cuda'."),
    "a precision": (
        ["run", "RECIPE", "model.precision=half"],
        "model.precision: input should be 'auto'",
    ),
    "check": (["check", "RECIPE", "seed=x"], "seed: input should be a valid integer"),
    "a run": (["report", "absent"], "absent is not a folder; give the folder of a run"),
    "a language": (["report", ".", "--language", "fr"], "--language is 'fr'; give en or zh."),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(ask: Callable[..., Ran], project: Project, mistake: str) -> None:
    arguments, sentence = MISTAKES[mistake]
    code, out, err = ask(*[str(project.recipe) if a == "RECIPE" else a for a in arguments])
    assert code == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]  # on one line, however long
    assert sentence in line
    assert line == err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["bogus"], ["run"], ["run", "x.yaml", "--bogus"], ["report"]])
def test_usage_errors_are_reported(ask: Callable[..., Ran], arguments: list[str]) -> None:
    code, _, err = ask(*arguments)
    assert code == 2
    assert "Traceback" not in err
    assert "gnomon" in err


def test_renamed_flags_and_commands_are_refused_with_a_hint(
    ask: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renamed, "FLAGS", {"sample --from": "--data", "--with-judge": "--reward"})
    monkeypatch.setattr(renamed, "COMMANDS", {"feedback take": "feedback serve", "learn": "train"})
    for arguments, sentence in (
        (["sample", "--from", "x"], "No such option: --from; it is called --data."),
        (["feedback", "serve", "--with-judge", "x"], "No such option: --with-judge; it is called --reward."),
        (["feedback", "take"], "No such command 'take'; it is called 'feedback serve'."),
        (["learn"], "No such command 'learn'; it is called 'train'."),
    ):
        code, _, err = ask(*arguments)
        assert code == 2
        assert sentence in " ".join(err.replace("│", " ").split())


def test_an_early_ctrl_c_is_one_sentence(
    ask: Callable[..., Ran], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_recipe", stop)
    code, _, err = ask("run", str(project.recipe))
    assert code == 130
    assert "run the same command again to go on" in err


def test_a_bug_is_one_sentence_and_a_crash_file(
    ask: Callable[..., Ran], project: Project, monkeypatch: pytest.MonkeyPatch, no_crashes: Path
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(run, "run_recipe", fail)
    code, out, err = ask("run", str(project.recipe))
    assert (code, out) == (70, "")
    (file,) = no_crashes.iterdir()
    sentence = "error: a bug in Gnomon (ZeroDivisionError) stopped this command; its traceback is in"
    assert err == f"{sentence} {file}; please report it.\n"
    assert file.read_text(encoding="utf-8").splitlines()[-1] == "ZeroDivisionError"
    file.unlink()


STOP_IN_A_LIBRARY = """
import os, signal, sys
from gnomon.core.stopping import ending_in_order

with ending_in_order():
    from gnomon.cli import main

    def check(*arguments):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            import time; time.sleep(5)
        except KeyboardInterrupt as stop:
            raise ValueError("a schema cannot be built") from None

    main._check_arguments = check
    sys.argv = ["gnomon", "algorithms"]
    main.main()
"""


def test_a_stop_that_a_library_turns_into_another_error_is_a_stop() -> None:
    result = subprocess.run(
        [sys.executable, "-c", STOP_IN_A_LIBRARY], capture_output=True, text=True, check=False, timeout=120
    )
    assert (result.returncode, "stopped; run the same command again." in result.stderr) == (130, True), (
        result.stderr
    )
    assert "bug in Gnomon" not in result.stderr
