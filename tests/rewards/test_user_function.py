"""A user's own function as a reward: found, run and digested; what is wrong with it is one sentence."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gnomon.core.errors import ConfigError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.rewards.user_function import (
    function_digest,
    is_function,
    load_function,
    make_function_reward,
    spec_of,
)

PROMPTS = [
    Prompt("a", (Message("system", "Be brief."), Message("user", "one"), Message("assistant", "1"))),
    Prompt("b", (Message("user", "first"), Message("assistant", "x"), Message("user", "last"))),
    Prompt("c", (Message("system", "alone"),)),
]
TEXTS = [Completion("0", "abc"), Completion("1", ""), Completion("2", "花样")]


def at_the_top(prompt: str, completion: str) -> float:
    return len(completion)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ("mine.py:score", True),
        ("./a b/我的.py:score", True),
        ("C:\\dir\\mine.py:score", True),
        ("mine.py", False),
        ("mine.py:", False),
        ("judge", False),
        ("folder/model", False),
        ("mine.txt:score", False),
    ],
)
def test_what_is_a_function(spec: str, answer: bool) -> None:
    assert is_function(spec) is answer


def test_it_is_given_the_last_request_and_the_completion(file: Callable[[str], Path]) -> None:
    path = file(
        "def score(prompt, completion):\n    return {'one': 1, 'last': 2}.get(prompt, 3) + len(completion)\n"
    )
    reward = make_function_reward(load_function(f"{path}:score"), "mine")
    found = reward.score(PROMPTS, TEXTS)
    assert found.values.tolist() == [1 + 3, 2 + 0, 3 + 2]
    assert found.parts["mine"].tolist() == found.values.tolist()
    assert not found.failures


def test_a_batch_form_sees_all_rows_at_once(file: Callable[[str], Path]) -> None:
    path = file(
        "def score(prompts, completions):\n    return [len(prompts) * 10 + len(c) for c in completions]\n"
    )
    reward = make_function_reward(load_function(f"{path}:score"), "mine")
    assert reward.score(PROMPTS, TEXTS).values.tolist() == [33, 30, 32]


def test_a_batch_of_another_length_fails_every_row(file: Callable[[str], Path]) -> None:
    path = file("def score(prompts, completions):\n    return [1.0]\n")
    found = make_function_reward(load_function(f"{path}:score"), "mine").score(PROMPTS, TEXTS)
    assert found.values.isnan().all()
    assert found.failures == [(row, "ValueError: 1 values for 3 completions") for row in range(3)]
    assert list(found.parts) == ["mine"]  # as when it does not fail, which it may in another process
    assert found.parts["mine"].isnan().all()


def test_a_row_that_fails_does_not_fail_the_others(file: Callable[[str], Path]) -> None:
    body = "    if not text:\n        raise KeyError('no\\nway')\n    return text if prompt == 'one' else True\n"
    path = file(f"def score(prompt, text):\n{body}")
    found = make_function_reward(load_function(f"{path}:score"), "mine").score(PROMPTS, TEXTS)
    assert found.values.isnan().tolist() == [True, True, False]
    assert found.values[2] == 1
    (first, second) = found.failures
    assert first[0] == 0
    assert first[1].startswith("TypeError")
    assert second == (1, "KeyError: 'no\\nway'")


def test_a_file_may_import_its_neighbour_and_leaves_no_trace(file: Callable[[str], Path]) -> None:
    path = file("import neighbour_of_mine\n\ndef score(prompt, completion):\n    return neighbour_of_mine.ONE\n")
    (path.parent / "neighbour_of_mine.py").write_text("ONE = 1\n", encoding="utf-8")
    before = list(sys.path)
    assert load_function(f"{path}:score")("", "") == 1
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        (None, "score", r"there is no file .*mine\.py; give path/to/file\.py:function\."),
        ("def score(p, c): return 1", "scores", r"has no function 'scores'; did you mean 'score'\?"),
        ("score = 3", "score", r"has no function 'score'; there are no keys here|has no function 'score'"),
        ("def score(:", "score", r"cannot be run \(SyntaxError: .*\); mend the file\."),
        ("import no_such_module_at_all", "score", r"cannot be run \(ModuleNotFoundError: .*\)"),
        ("1 / 0", "score", r"cannot be run \(ZeroDivisionError: division by zero\)"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str | None, name: str, sentence: str) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence) as found:
        load_function(f"{path}:{name}")
    assert "\n" not in str(found.value)


def test_the_digest_is_of_the_whole_file(file: Callable[[str], Path]) -> None:
    spec = f"{file('LIMIT = 1')}:score"
    first = function_digest(spec)
    assert function_digest(spec) == first
    file("LIMIT = 2")
    assert function_digest(spec) != first


def test_what_a_function_is_called() -> None:
    def inner(prompt: str, completion: str) -> float:
        return 0

    assert spec_of(at_the_top) == f"{Path(__file__).resolve()}:at_the_top"
    assert spec_of(inner) == "python:inner"
    assert spec_of(lambda p, c: 0.0) == "python:<lambda>"
    assert spec_of(functools.partial(at_the_top, "x")) == "python:partial"
    assert function_digest("python:inner") != function_digest("python:inner"), "never taken for the same"
