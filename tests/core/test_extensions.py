"""Classes from files and packages: how they are found, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from extensions import install

from gnomon.algorithms.registry import ALGORITHMS, check_algorithm
from gnomon.api.score import score_file
from gnomon.core.errors import ConfigError
from gnomon.core.extensions import (
    Registry,
    exits_as_errors,
    forget_changed_files,
    is_file_spec,
    load_class,
    short_name,
)
from gnomon.rewards.composite import RewardPart
from gnomon.rewards.registry import REWARDS, make_named_reward
from gnomon.stages.references import is_not_a_model
from gnomon.stages.registry import STAGE_KINDS

ALGORITHM = """
from dataclasses import dataclass
from typing import ClassVar
from gnomon.core.experience import Experience
from gnomon.core.types import Demonstration

@dataclass(frozen=True)
class Mine:
    consumes: ClassVar[type] = Demonstration
    trains: ClassVar[str] = "policy"
    needs: ClassVar[frozenset] = frozenset()
    loop_defaults: ClassVar[dict] = {}
    min_group_size: ClassVar[int] = 1
    gamma: float = 1.0
    def loss(self, models, batch):
        return None
"""
STAGE = """
from gnomon.stages.contract import Result, Stage

class MineResult(Result):
    kind: str = "mine"

class Mine(Stage):
    result_type = MineResult
    def run(self, work):
        return MineResult()
"""
REWARD = """
class Mine:
    name = "mine"
    def score_texts(self, texts):
        return [1.0 for text in texts]
"""


def refused(registry: Registry[Any], folder: Path, text: str, spec: str = "mine.py:Mine") -> str:
    """The sentence with which a registry refuses a class of a file."""
    (folder / "mine.py").write_text(text, encoding="utf-8")
    forget_changed_files()
    with pytest.raises(ConfigError) as refusal:
        registry.find(spec)
    return str(refusal.value)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_specs_of_files() -> None:
    assert is_file_spec("a/b.py:C")
    assert is_file_spec("C:\\\\a.py:D")
    assert not is_file_spec("a/b.py")
    assert not is_file_spec("dpo")
    assert not is_file_spec("a.py:b/c")
    assert (short_name("a/b.py:C"), short_name("dpo")) == ("C", "dpo")


def test_a_file_is_run_once_until_it_changes() -> None:
    Path("mine.py").write_text("class Mine:\n    pass\n", encoding="utf-8")
    first = load_class("mine.py:Mine", "reward")
    assert load_class("./mine.py:Mine", "reward") is first
    forget_changed_files()
    assert load_class("mine.py:Mine", "reward") is first
    Path("mine.py").write_text("class Mine:\n    changed = True\n", encoding="utf-8")
    assert load_class("mine.py:Mine", "reward") is first, "a run keeps the code that it began with"
    forget_changed_files()
    assert load_class("mine.py:Mine", "reward").changed


def test_an_exit_of_a_wrapped_function_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        exits_as_errors(sys.exit)(3)


def test_an_interrupt_passes_through_a_wrapped_function() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exits_as_errors(interrupt)()


def test_every_algorithm_of_gnomon_keeps_the_contract() -> None:
    for name in ALGORITHMS.own_names():
        assert check_algorithm(ALGORITHMS.find(name), name) is ALGORITHMS.find(name)


@pytest.mark.parametrize(
    ("registry", "text"), [(ALGORITHMS, ALGORITHM), (STAGE_KINDS, STAGE), (REWARDS, REWARD)], ids=lambda one: ""
)
def test_a_class_that_keeps_its_contract_is_taken(registry: Registry[Any], text: str) -> None:
    Path("mine.py").write_text(text, encoding="utf-8")
    forget_changed_files()
    assert getattr(registry.find("mine.py:Mine"), "__name__", "") == "Mine"
    assert registry.is_outside("mine.py:Mine")
    assert len(registry.digest("mine.py:Mine")) == 64


@pytest.mark.parametrize("registry", [ALGORITHMS, STAGE_KINDS, REWARDS], ids=lambda one: str(one.noun))
def test_files_and_names_that_are_not_there(registry: Registry[Any], tmp_path: Path) -> None:
    noun = registry.noun
    with pytest.raises(
        ConfigError, match=rf"{noun} 'no.py:Mine': there is no file no.py; give path/to/file.py:Class"
    ):
        registry.find("no.py:Mine")
    assert refused(registry, tmp_path, "class Nine: pass") == (
        f"{noun} 'mine.py:Mine': mine.py has no class 'Mine'; did you mean 'Nine'?"
    )
    assert "mine.py cannot be run (NameError: name 'x' is not defined); fix the file." in refused(
        registry, tmp_path, "x"
    )
    assert "mine.py cannot be run (SyntaxError:" in refused(registry, tmp_path, "class")
    with pytest.raises(ConfigError, match=f"unknown {noun} 'nothing'; "):
        registry.find("nothing")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("    trains: ClassVar", "    train: ClassVar", "the class Mine lacks 'trains'; define it as in"),
        ("    needs: ClassVar", "    need: ClassVar", "the class Mine lacks 'needs'; define it as in"),
        ("    def loss", "    def lose", "the class Mine lacks 'loss'; define it as in"),
        ("(frozen=True)", "", "the class Mine is no frozen dataclass; decorate it with"),
        ("@dataclass(frozen=True)", "", "the class Mine is no frozen dataclass"),
        ('= "policy"', '= "critic"', "'trains' is 'critic', not 'policy' or 'reward'"),
        ("= Demonstration", "= int", "'consumes' is <class 'int'>, not one of Demonstration, Preference"),
        ("= Demonstration", "= Experience", "the class Mine lacks 'compute_advantages'; define it as in"),
        ("= {}", "= None", "'loop_defaults' is None, not a mapping of loop settings"),
        ("[int] = 1", "[int] = 0", "'min_group_size' is 0, not a number from 1 on"),
        (
            "= frozenset()",
            "= frozenset({'judge'})",
            "'needs' is frozenset({'judge'}), not a frozenset of some of",
        ),
        ("gamma: float = 1.0", "gamma: float", "its setting 'gamma' has no default; give it one."),
    ],
)
def test_an_algorithm_that_breaks_its_contract(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    message = refused(ALGORITHMS, tmp_path, ALGORITHM.replace(old, new))
    assert message.startswith("algorithm 'mine.py:Mine': the class Mine")
    assert sentence in message


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("(Stage)", "", "the class Mine is not derived from gnomon.stages.contract.Stage; derive it from that."),
        (
            "def run",
            "def go",
            "the class Mine lacks the method 'run'; define it as in gnomon/stages/contract.py.",
        ),
        (
            "result_type = MineResult",
            "result_type = int",
            "'result_type' is <class 'int'>, no class derived from",
        ),
        ('= "mine"', '= "train"', "'kind' of its results is 'train', which is Gnomon's own; rename it."),
        ("    def run", "    data_keys = 'data'\n    def run", "'data_keys' is 'data', not a tuple of names"),
    ],
)
def test_a_kind_of_stage_that_breaks_its_contract(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    message = refused(STAGE_KINDS, tmp_path, STAGE.replace(old, new))
    assert message.startswith("kind of stage 'mine.py:Mine': the class Mine")
    assert sentence in message


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("name = ", "title = ", "the class Mine lacks 'name', a text for metrics and reports; add it."),
        (
            "score_texts",
            "scores",
            "the class Mine lacks the method 'score' or 'score_texts'; define one of them.",
        ),
        (
            "    def score",
            "    def __init__(self, words): ...\n    def score",
            "the class Mine is created without arguments, but 'words' has no default; give it one.",
        ),
    ],
)
def test_a_reward_that_breaks_its_contract(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in refused(REWARDS, tmp_path, REWARD.replace(old, new))


def test_a_reward_class_is_checked_when_it_scores(tmp_path: Path) -> None:
    from gnomon.core.errors import RunError
    from gnomon.core.types import Completion, Message, Prompt

    (tmp_path / "mine.py").write_text(REWARD, encoding="utf-8")
    forget_changed_files()
    reward = make_named_reward(REWARDS.find("mine.py:Mine"), "mine.py:Mine")
    assert reward.name == "mine"
    with pytest.raises(RunError, match=r"reward 'mine': Mine.score_texts raised AttributeError: .*; fix it."):
        reward.score([Prompt("p", (Message("user", "q"),))], [Completion("c", "text")])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.startswith("gnomon_test_")]:
        del sys.modules[name]


def offer(site: Path, package: str, name: str, value: str = "mine:Mine") -> None:
    files = {"mine.py": ALGORITHM}
    install(site, package, {"gnomon.algorithms": {name: f"{package}.{value}"}}, files)


def test_an_entry_point_is_found_by_its_name(site: Path) -> None:
    offer(site, "gnomon_test_a", "mine")
    assert ALGORITHMS.find("mine").__name__ == "Mine"
    assert ALGORITHMS.names()[-1] == "mine"
    assert ALGORITHMS.is_outside("mine")
    assert not ALGORITHMS.is_outside("dpo")
    assert len(ALGORITHMS.digest("mine")) == 64


def test_a_reward_of_a_package_scores_by_its_name(site: Path, tmp_path: Path) -> None:
    files = {"mine.py": "def brief(prompt, completion):\n    return -len(completion)\n"}
    install(site, "gnomon_test_r", {"gnomon.rewards": {"brief": "gnomon_test_r.mine:brief"}}, files)
    assert is_not_a_model("brief")
    assert not is_not_a_model("briefly")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "q", "completion": "four"}\n', encoding="utf-8")
    assert score_file("brief", rows)[0]["score"] == -4.0
    assert RewardPart(of="brief", timeout=2.0).timeout == 2.0
    with pytest.raises(ValueError, match="timeout is for functions"):
        RewardPart(of="judge", timeout=2.0)


def test_a_name_that_two_packages_provide_is_refused(site: Path) -> None:
    offer(site, "gnomon_test_a", "mine")
    offer(site, "gnomon_test_b", "mine")
    offer(site, "gnomon_test_c", "dpo")
    with pytest.raises(ConfigError) as refusal:
        ALGORITHMS.find("mine")
    assert str(refusal.value) == (
        "algorithm 'mine' is provided by the packages gnomon-test-a and gnomon-test-b; uninstall one."
    )
    with pytest.raises(ConfigError) as refusal:
        ALGORITHMS.find("dpo")
    assert "algorithm 'dpo' is Gnomon's own, and the package gnomon-test-c provides another" in str(refusal.value)
    assert ALGORITHMS.find("ipo").__name__ == "IPO"


def test_an_entry_point_that_cannot_be_imported_is_refused_by_its_package(site: Path) -> None:
    offer(site, "gnomon_test_a", "mine", "nothing:Mine")
    offer(site, "gnomon_test_b", "other", "mine:ALGORITHM")
    with pytest.raises(
        ConfigError, match=r"algorithm 'mine' of the package gnomon-test-a: .* cannot be imported"
    ):
        ALGORITHMS.find("mine")
    with pytest.raises(ConfigError, match="of the package gnomon-test-b"):
        ALGORITHMS.find("other")
    assert ALGORITHMS.find("dpo").__name__ == "DPO", "other algorithms are as they were"
