"""The Python interface: its public names exist, import quickly, and match the command line."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import Project, environment

import gnomon
from gnomon.api import inference, recipes, training
from gnomon.cli.feedback.commands import app as feedback
from gnomon.cli.main import app
from gnomon.cli.train import evaluations
from gnomon.core.errors import ConfigError, DataError, GnomonError, ModelError, RunError
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.core.types import Demonstration
from gnomon.feedback.planning.annotation_plan import plan_annotation

README = Path(__file__).parents[2] / "README.md"
EXAMPLE = re.findall(r"```python\n(import gnomon\n.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[0]


def test_the_public_names_exist() -> None:
    assert sorted(gnomon.__all__) == gnomon.__all__
    for name in gnomon.__all__:
        result = getattr(gnomon, name)
        assert name == "__version__" or result.__doc__
    assert set(gnomon.__all__) <= set(dir(gnomon))
    for module in (recipes, training, inference):
        own = {n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__}
        assert {n for n in own if n[0] != "_"} - {"prompt_of"} <= set(gnomon.__all__)
    assert gnomon.GnomonError is GnomonError
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gnomon.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_each_command_has_a_python_call() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    assert commands - {"algorithms"} <= set(gnomon.__all__)
    assert callable(gnomon.inspect), "gnomon data inspect"
    below = {command.name or command.callback.__name__ for command in feedback.registered_commands}  # type: ignore[union-attr]
    assert {f"feedback_{name}".replace("-", "_").rstrip("_") for name in below} - {"feedback_power"} <= set(
        gnomon.__all__
    )
    assert callable(plan_annotation), "gnomon feedback power"
    assert [command.name for command in evaluations.registered_commands] == ["models", "reward"]
    assert {"evaluate", "evaluate_reward"} <= set(gnomon.__all__)


@pytest.mark.parametrize(
    "start",
    [
        "import gnomon",
        "from typer.testing import CliRunner as R; from gnomon.cli.main import app; R().invoke(app, ['--help'])",
    ],
)
def test_importing_gnomon_imports_no_heavy_library(start: str) -> None:
    heavy = ("torch", "transformers", "pydantic", "numpy", "sqlalchemy", "fastapi")
    code = f"import sys; {start}; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert result.stdout == "[]\n"


def test_the_example_of_the_readme(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user's own reward with PPO, run as `python mine.py` with a small model and few steps."""
    assert len(EXAMPLE.strip().splitlines()) <= 17
    small = EXAMPLE
    for there, here in (("smollm2-135m", str(tiny_model)), ("steps=20", "steps=2, rank=2"), ("=48", "=5")):
        assert small.count(there) == 1
        small = small.replace(there, here)
    (tmp_path / "mine.py").write_text(small, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(tmp_path / "mine.py"), run_name="__main__")
    assert len(capsys.readouterr().out.splitlines()) >= 3
    run = tmp_path / "runs" / "ppo"
    assert [row["prompt"] for row in read_jsonl(run / "prompts.jsonl")][1] == "Name a film."
    gnomon.run("runs/ppo/config.yaml")
    assert "finished before" in capsys.readouterr().err, "the recipe names the function by its file"


def test_training_moves_towards_the_function(tiny_model: Path, tmp_path: Path) -> None:
    """The reward is that of the function; the result with a closure is not reused."""
    seen: list[str] = []

    def noted(prompt: str, completion: str) -> float:
        seen.append(prompt)
        return 2.5

    settings: dict[str, Any] = {"steps": 1, "prompts_per_step": 2, "max_tokens": 3, "truncation_score": None}
    for _ in range(2):
        trained = gnomon.train(
            "ppo", model=tiny_model, prompts=["a", "b"], reward=noted, out=tmp_path / "run", **settings
        )
    assert seen.count("a") == seen.count("b") == 2
    assert trained.result["final"]["score_mean"] == 2.5
    assert trained.folder == tmp_path / "run" / "ppo" / "model"
    assert (tmp_path / "run" / "ppo.1").exists()
    with pytest.raises(ConfigError, match=r"reward 'python:noted' was a function of a program, not of a file"):
        gnomon.run(tmp_path / "run" / "config.yaml")


def test_a_function_that_always_fails_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    def broken(prompt: str, completion: str) -> float:
        raise LookupError("nothing\nhere")

    with pytest.raises(
        RunError, match=r"'broken' failed on every completion of a round: LookupError: nothing here\.$"
    ):
        gnomon.train("ppo", model=tiny_model, prompts=["a"], reward=broken, out=tmp_path / "run", steps=1)


def test_invalid_arguments_write_nothing(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="unknown algorithm 'pppo'; did you mean 'ppo'"):
        gnomon.train("pppo", model=tiny_model, prompts=["a"], reward="vader", out=out)
    with pytest.raises(ConfigError, match="unknown setting 'stepz'"):
        gnomon.train("ppo", model=tiny_model, prompts=["a"], reward="vader", out=out, stepz=3)
    with pytest.raises(ConfigError, match="evaluate names"):
        gnomon.evaluate([tiny_model, tiny_model], prompts=["a"], out=out)
    assert not out.exists()


def test_data_from_python(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "Q", "chosen": f"yes {n}", "rejected": "no"} for n in range(4)]
    trained = gnomon.train(
        "reward_model", model=tiny_model, data=rows, out=tmp_path / "run", epochs=2, learning_rate=0.01, rank=2
    )
    scores = gnomon.score(trained.reward_model, ["Q", "Q"], ["yes 1", "no"])
    assert scores[0] != scores[1]
    assert len(scores) == 2
    with pytest.raises(ModelError, match="holds a reward model"):
        _ = trained.policy
    with pytest.raises(ConfigError, match="1 prompts and 2 completions"):
        gnomon.score(trained.reward_model, ["Q"], ["a", "b"])


def test_sampling(tiny_model: Path) -> None:
    policy = gnomon.load_policy(tiny_model, device="cpu", precision="float32")
    rollouts = gnomon.sample(policy, ["a", "a"], completions=2, max_tokens=3, seed=4)
    assert [r.prompt.id for r in rollouts] == ["prompt-0", "prompt-0", "prompt-1", "prompt-1"]
    assert rollouts == gnomon.sample(policy, ["a", "a"], completions=2, max_tokens=3, seed=4)
    with pytest.raises(ConfigError, match=r"sample: unknown key 'completion'; did you mean 'completions'\?"):
        gnomon.sample(policy, ["a"], completion=2)


def test_running_a_recipe(copied: Project) -> None:
    recipe = gnomon.load_recipe(copied.recipe, f"run={copied.run}")
    assert gnomon.run(recipe) == copied.run / "report.html"
    assert gnomon.run(str(copied.recipe), f"run={copied.run}", "language=zh") == copied.run / "report.html"
    with pytest.raises(ConfigError, match="overrides need a recipe's path"):
        gnomon.run(recipe, "seed=1")


def test_evaluating(tiny_model: Path, finished: Project, tmp_path: Path) -> None:
    result = gnomon.evaluate(
        [tiny_model, finished.run / "sft"], prompts=["a", "b"], out=tmp_path / "run", completions=2, max_tokens=3
    )
    assert result["reference"] == str(tiny_model)
    assert result == read_json(tmp_path / "run" / "evaluation" / "result.json")


def test_checking(project: Project) -> None:
    assert [stage.name for stage in gnomon.check(project.recipe).stages][-1] == "report"
    (project.folder / "demonstrations.jsonl").unlink()
    with pytest.raises(DataError, match="demonstrations"):
        gnomon.check(project.recipe)


def test_writing_a_report_again(copied: Project, tmp_path: Path) -> None:
    (copied.run / "report.html").unlink()
    assert gnomon.report(copied.run, language="zh") == copied.run / "report.html"
    assert '<html lang="zh' in (copied.run / "report.html").read_text(encoding="utf-8")
    with pytest.raises(RunError, match="holds no config"):
        gnomon.report(tmp_path)


def test_a_conversation(tiny_model: Path) -> None:
    policy = gnomon.load_policy(tiny_model)
    talk = gnomon.chat(policy, system="Be brief.", max_tokens=4, seed=3)
    first, second = talk.answer("Hello"), talk.answer("And now?")
    assert [m.content for m in talk.history] == ["Hello", first, "And now?", second]
    talk.reset()
    assert talk.history == []
    with pytest.raises(ConfigError, match="did you mean 'max_tokens'"):
        gnomon.chat(policy, max_token=4)


def test_inspecting(project: Project) -> None:
    inspection = gnomon.inspect(project.folder / "demonstrations.jsonl")
    assert inspection.kind is Demonstration
    assert inspection.rows == len(inspection.records)


@pytest.mark.long
def test_comparing(project: Project, tmp_path: Path) -> None:
    report = gnomon.compare(project.recipe, ["ppo"], "ppo.training.steps=1", seeds=1, out=tmp_path / "bench")
    assert report == tmp_path / "bench" / "compare.html"
    assert [run["algorithm"] for run in read_json(tmp_path / "bench" / "compare.json")["runs"]] == ["ppo"]
