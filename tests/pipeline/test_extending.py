"""Algorithms, kinds of stages and rewards from outside, through the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from extensions import NAMES, blocks, by_names, install_example, write_example
from project import Run, environment

from gnomon.comparison.design import plan_comparison
from gnomon.comparison.variants import AlgorithmBudget
from gnomon.core.errors import ConfigError, RunError
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.pipeline.recipe import build_recipe, load_recipe
from gnomon.pipeline.run import run_recipe
from gnomon.pipeline.single_stage import parse_settings, training_recipe
from gnomon.reporting.run_report import write_report


def test_both_pages_show_the_same_files() -> None:
    assert blocks("extending.md") == blocks("extending.zh-CN.md")
    assert list(blocks()) == ["rewards.py", "focal.py", "shorten.py", "recipe.yaml", "pyproject.toml"]


@pytest.mark.long
def test_the_example_runs_from_files(tmp_path: Path, gnomon: Run) -> None:
    recipe = write_example(tmp_path / "mine")
    done = gnomon("run", str(recipe), f"run={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert len(list(read_jsonl(run / "short" / "short.jsonl"))) == 3
    result = read_json(run / "short" / "result.json")
    assert (result["kind"], result["read"], result["left"]) == ("shorten", 6, 3)
    assert result["report"]["figures"] == {"demonstrations": 6, "short ones": 3}
    code = read_json(run / "imitated" / "stage.json")["code"][f"{tmp_path / 'mine'}/focal.py:Focal"]
    assert (code["consumes"], code["trains"]) == ("Demonstration", "policy")
    assert read_json(run / "imitated" / "result.json")["algorithm"] == "focal.py:Focal"
    assert set(read_json(run / "report" / "result.json")["table"][0]["scores"]) == {
        f"{tmp_path / 'mine'}/rewards.py:Brevity",
        "vader",
    }
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert [row.get("kind") for row in config["stages"]] == ["shorten.py:Shorten", None, None, None]

    # The report needs no code from outside.
    for name in ("shorten.py", "focal.py", "rewards.py"):
        (tmp_path / "mine" / name).write_text("raise SystemExit('run')\n", encoding="utf-8")
    page = write_report(run).read_text(encoding="utf-8")
    assert "<bdi>short ones</bdi>" in page
    with pytest.raises(ConfigError, match=r"shorten.py cannot be run"):
        load_recipe(recipe)


def test_a_changed_file_runs_its_stage_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_example(tmp_path)
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    content["stages"] = content["stages"][:2]
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")

    def finished() -> list[str]:
        run_recipe(load_recipe(recipe, [f"run={tmp_path / 'run'}"]))
        lines = capsys.readouterr().err.splitlines()
        return [line.split()[1] for line in lines if "finished before" in line]

    assert finished() == []
    assert finished() == ["short", "imitated"]
    focal = tmp_path / "focal.py"
    focal.write_text(focal.read_text(encoding="utf-8") + "\n# another version\n", encoding="utf-8")
    assert finished() == ["short"]
    shorten = tmp_path / "shorten.py"
    text = shorten.read_text(encoding="utf-8").replace("<= self.limit", "< self.limit - 10")
    shorten.write_text(text, encoding="utf-8")
    assert finished() == []
    assert read_json(tmp_path / "run" / "short" / "result.json")["left"] == 2


@pytest.mark.long
def test_the_example_runs_from_a_package(tmp_path: Path, gnomon: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example(tmp_path / "site")
    path = os.pathsep.join(filter(None, (str(tmp_path / "site"), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("PYTHONPATH", path)
    recipe = write_example(tmp_path / "mine")
    by_names(recipe)
    for name in ("shorten.py", "focal.py", "rewards.py"):
        (tmp_path / "mine" / name).unlink()
    done = gnomon("run", str(recipe), f"run={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "run" / "short" / "result.json")["left"] == 3
    assert read_json(tmp_path / "run" / "imitated" / "result.json")["algorithm"] == "focal"
    assert "focal: trained on Demonstration; gamma=1.0" in gnomon("algorithms").stdout
    again = gnomon("run", str(recipe), f"run={tmp_path / 'run'}")
    assert again.stderr.count("finished before") == 4

    # So do the processes of a comparison.
    compared = gnomon(
        *(
            "compare",
            str(recipe),
            "--algorithms",
            "rloo,focal",
            "--seeds",
            "1",
            "--out",
            str(tmp_path / "compared"),
        ),
        "focal.data=short/short",
    )
    assert compared.returncode == 0, compared.stderr
    seed = tmp_path / "compared" / "seed-0"
    assert read_json(seed / "focal" / "aligned" / "result.json")["algorithm"] == "focal"


@pytest.mark.long
def test_every_process_of_a_run_takes_the_same_files(tmp_path: Path) -> None:
    recipe = write_example(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launch, "-m", "gnomon", "run", str(recipe), f"run={tmp_path / 'run'}"]
    processes = {**environment(), "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=processes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = read_json(tmp_path / "run" / "imitated" / "result.json")
    assert (result["processes"], result["algorithm"]) == (2, "focal.py:Focal")


def test_a_comparison_finds_the_files_of_its_shared_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_example(tmp_path / "mine")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    plan = plan_comparison(Path("../mine/recipe.yaml"), ["rloo", "grpo"], AlgorithmBudget())
    shared = plan.shared_content(Path("out/shared"), 0)
    assert [row.get("kind") or row["algorithm"] for row in shared["stages"]] == [
        "../mine/shorten.py:Shorten",
        "../mine/focal.py:Focal",
    ]
    assert [stage.name for stage in build_recipe(shared, "shared").stages] == ["short", "imitated"]
    own = plan_comparison(recipe, ["../mine/focal.py:Focal", "rloo"], AlgorithmBudget())
    assert list(own.rows) == ["Focal", "rloo"]
    with pytest.raises(ConfigError, match=r"'focal.py:Focal': there is no file focal.py"):
        plan_comparison(recipe, ["focal.py:Focal"], AlgorithmBudget())


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("return 3", "Shorten.run returned int, not its result_type ShortenResult; fix it."),
        ("raise ValueError('no')", "shorten.py, line LINE, raised ValueError: no; fix it."),
        ("import sys; sys.exit(1)", "shorten.py, line LINE, raised RuntimeError: SystemExit: 1; fix it."),
    ],
)
def test_a_stage_that_fails_is_an_error_of_its_author(tmp_path: Path, broken: str, sentence: str) -> None:
    recipe = write_example(tmp_path)
    shorten = tmp_path / "shorten.py"
    text = shorten.read_text(encoding="utf-8").replace("        rows = work", f"        {broken}; rows = work")
    shorten.write_text(text, encoding="utf-8")
    line = 1 + text[: text.index(broken)].count("\n")
    with pytest.raises(RunError) as refusal:
        run_recipe(load_recipe(recipe, [f"run={tmp_path / 'run'}"]))
    assert str(refusal.value) == f"stage 'short': {sentence.replace('LINE', str(line))}"


def test_a_loss_that_fails_is_an_error_of_its_author(tmp_path: Path) -> None:
    recipe = write_example(tmp_path)
    focal = tmp_path / "focal.py"
    text = focal.read_text(encoding="utf-8").replace("batch.totals.tokens", "batch.totals.words")
    focal.write_text(text, encoding="utf-8")
    with pytest.raises(RunError) as refusal:
        run_recipe(load_recipe(recipe, [f"run={tmp_path / 'run'}"]))
    line = 1 + text[: text.index("batch.totals.words")].count("\n")
    assert f"stage 'imitated': focal.py, line {line}, raised AttributeError: " in str(refusal.value)


CHECK = "    def check(self, recipe, where):\n        1 / 0\n\n    def parts"
DESCRIBE = "    def describe(self):\n        pass\n\n    def parts"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("return Inputs(", "return list(", "stage 1: Shorten.inputs raised TypeError: "),
        ('frozenset({"short"})', '["short"]', "stage 1: Shorten.parts returned list, not frozenset; fix it."),
        ("    def parts", CHECK, "stage 1: Shorten.check raised ZeroDivisionError: division by zero; fix it."),
        ("    def parts", DESCRIBE, "stage 1: Shorten.describe returned NoneType, not str; fix it."),
    ],
)
def test_a_method_that_breaks_the_contract_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    recipe = write_example(tmp_path)
    shorten = tmp_path / "shorten.py"
    shorten.write_text(shorten.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        load_recipe(recipe)
    assert sentence in str(refusal.value)


def test_one_training_of_a_file_is_called_by_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_example(tmp_path)
    monkeypatch.chdir(tmp_path)
    stage = {"data": "demonstrations.jsonl"}
    settings = parse_settings(["gamma=0.5", "epochs=3"])
    recipe = training_recipe("focal.py:Focal", model="tiny-random", run="run", stage=stage, settings=settings)
    (trained,) = recipe.stages
    assert (trained.name, trained.settings, trained.loop.epochs) == ("Focal", {"gamma": 0.5}, 3)


def test_the_names_of_the_package_are_those_of_the_page() -> None:
    assert all(f"{name} = " in blocks()["pyproject.toml"] for name in NAMES.values())
