"""A user's own function as a reward: loading, calling, digests; errors are one sentence."""

from __future__ import annotations

import functools
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import byte_tokenizer

from gnomon.core.errors import ConfigError, RunError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.data.templates.chat_template import ids_of, turn_end
from gnomon.rewards.composite import RewardPart, RuleReward
from gnomon.rewards.python_reward import (
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
def test_function_specs_are_recognized(spec: str, answer: bool) -> None:
    assert is_function(spec) is answer


def test_a_function_gets_the_last_user_message_and_the_completion(file: Callable[[str], Path]) -> None:
    path = file(
        "def score(prompt, completion):\n    return {'one': 1, 'last': 2}.get(prompt, 3) + len(completion)\n"
    )
    reward = make_function_reward(load_function(f"{path}:score"), "mine")
    scores = reward.score(PROMPTS, TEXTS)
    assert scores.values.tolist() == [1 + 3, 2 + 0, 3 + 2]
    assert scores.parts["mine"].tolist() == scores.values.tolist()
    assert not scores.failures


def test_a_batch_function_gets_all_rows_at_once(file: Callable[[str], Path]) -> None:
    path = file(
        "def score(prompts, completions):\n    return [len(prompts) * 10 + len(c) for c in completions]\n"
    )
    reward = make_function_reward(load_function(f"{path}:score"), "mine")
    assert reward.score(PROMPTS, TEXTS).values.tolist() == [33, 30, 32]


def test_a_batch_of_another_length_fails_every_row(file: Callable[[str], Path]) -> None:
    path = file("def score(prompts, completions):\n    return [1.0]\n")
    scores = make_function_reward(load_function(f"{path}:score"), "mine").score(PROMPTS, TEXTS)
    assert scores.values.isnan().all()
    assert scores.failures == [(row, "ValueError: 1 values for 3 completions") for row in range(3)]
    assert list(scores.parts) == ["mine"]  # as when it does not fail, which it may in another process
    assert scores.parts["mine"].isnan().all()


ROWS = [
    Prompt("a", (Message("user", "2+2?"),), "4", columns={"prompt": "2+2?", "answer": "4", "level": 1}),
    Prompt("b", (Message("user", "3+3?"),), "6", columns={"prompt": "3+3?", "answer": "6"}),
]
COMPLETIONS = [Completion("0", "it is 4"), Completion("1", "5")]


def test_a_function_gets_the_columns_that_its_parameters_name() -> None:
    def right(prompt: str, completion: str, answer: str, level: int = 7) -> float:
        return level * float(answer in completion)

    def whole(prompt: str, completion: str, *, record: dict[str, object], **columns: object) -> float:
        assert record["id"] in ("a", "b")
        return len(record) + 10 * len(columns)

    assert make_function_reward(right, "r").score(ROWS, COMPLETIONS).values.tolist() == [1.0, 0.0]
    # the record: id, prompt, answer, level; the columns: without the prompt, which has its own parameter
    assert make_function_reward(whole, "w").score(ROWS, COMPLETIONS).values.tolist() == [34.0, 23.0]


def test_a_batch_function_gets_lists_of_columns() -> None:
    def right(prompts: list[str], completions: list[str], answer: list[str], level: list[int]) -> list[float]:
        assert level == [1, None]
        return [float(a in c) for a, c in zip(answer, completions, strict=True)]

    assert make_function_reward(right, "r").score(ROWS, COMPLETIONS).values.tolist() == [1.0, 0.0]


def test_the_error_names_the_missing_column() -> None:
    def leveled(prompt: str, completion: str, level: int) -> float:
        return level

    def solved(prompts: list[str], completions: list[str], solution: list[str]) -> list[float]:
        return [1.0, 1.0]

    scores = make_function_reward(leveled, "r").score(ROWS, COMPLETIONS)
    assert scores.values[0] == 1
    assert scores.failures == [(1, "LookupError: the prompt's row has no 'level'; it has answer, id, prompt")]
    failed = make_function_reward(solved, "r").score(ROWS, COMPLETIONS)
    assert [r for r, _ in failed.failures] == [0, 1]
    assert "no prompt's row has 'solution'; they have answer, id, level, prompt" in failed.failures[0][1]


@pytest.mark.parametrize("batched", [False, True])
def test_none_abstains_and_is_no_failure(batched: bool) -> None:
    def one(prompt: str, completion: str) -> float | None:
        return None if completion == "5" else 2.0

    def many(prompts: list[str], completions: list[str]) -> list[float | None]:
        return [one("", c) for c in completions]

    scores = make_function_reward(many if batched else one, "r").score(ROWS, COMPLETIONS)
    assert scores.values.isnan().tolist() == scores.abstained.tolist() == [False, True]
    assert not scores.failures
    assert scores.reason(1) == "it abstained"


def test_one_bad_value_of_a_batch_fails_its_row_alone() -> None:
    def many(prompts: list[str], completions: list[str]) -> list[object]:
        return [1.5, float("inf")]

    scores = make_function_reward(many, "r").score(ROWS, COMPLETIONS)
    assert scores.values[0] == 1.5
    assert scores.failures == [(1, "ValueError: the score is inf")]


class Leaving(BaseException):
    """No `Exception`."""


@pytest.mark.parametrize("error", [SystemExit(3), Leaving("gone")])
def test_system_exit_fails_only_its_row(error: BaseException) -> None:
    def leaving(prompt: str, completion: str) -> float:
        raise error

    scores = make_function_reward(leaving, "r").score(ROWS, COMPLETIONS)
    assert [reason for _, reason in scores.failures] == [f"{type(error).__name__}: {error}"] * 2


def test_ctrl_c_is_not_caught() -> None:
    def interrupted(prompt: str, completion: str) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_function_reward(interrupted, "r").score(ROWS, COMPLETIONS)


def test_a_hanging_function_fails_its_row_and_then_the_run() -> None:
    def slow(prompt: str, completion: str) -> float:
        if completion == "5":
            time.sleep(30)
        return 1.0

    reward = make_function_reward(slow, "slow", timeout=0.1)
    scores = reward.score(ROWS, COMPLETIONS)
    assert scores.failures == [(1, "TimeoutError: it took longer than 0.1 s")]
    with pytest.raises(
        RunError, match=r"'slow' exceeded its time limit on 3 completions in a row .* longer timeout"
    ):
        reward.score(ROWS[:1] * 4, COMPLETIONS[1:] * 4)

    def asleep(prompts: list[str], completions: list[str]) -> list[float]:
        time.sleep(30)
        return []

    late = make_function_reward(asleep, "batch", timeout=0.1).score(ROWS, COMPLETIONS)
    assert [reason for _, reason in late.failures] == ["TimeoutError: it took longer than 0.1 s"] * 2


HEADERS = {
    "opened": ("<|im_start|>assistant\n<think>\n", "<|im_start|>assistant\n", "<think>\n"),
    "opened, and kept in answers": ("<|im_start|>assistant\n<think>\n", "<|im_start|>assistant\n", "<think>\n"),
    "a role": ("<|im_start|><assistant>\n", "<|im_start|><assistant>\n", ""),
    "nothing": ("<|im_start|>assistant\n", "<|im_start|>assistant\n", ""),
}


@pytest.mark.parametrize("header", HEADERS)
def test_the_raw_completion_includes_an_opened_think_tag(header: str) -> None:
    """Sampling starts after `<think>`, so a sampled text contains only the end of the reasoning."""
    prompt, before, opened = HEADERS[header]
    content = "m['content']" if header != "opened" else "m['content'].split('</think>')[-1]"
    tokenizer = byte_tokenizer(chat=True)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ '"
        f"{before}' + {content}"
        "}}{% else %}{{ '<|im_start|>user\n' + m['content'] }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '" + prompt + "' }}{% endif %}"
    )
    words = "why\n</think>\nso"
    completion = Completion("0", words, token_ids=(*ids_of(tokenizer, words), turn_end(tokenizer)))
    seen = []

    def thinks(prompt: str, completion: str, raw_completion: str) -> float:
        seen.append(raw_completion)
        return 0.0

    make_function_reward(thinks, "thinks", tokenizer=tokenizer).score(PROMPTS[:1], [completion])
    assert seen == [opened + words]
    rule = RuleReward(RewardPart(rule="format", pattern="<think>.*</think>.*"), tokenizer)
    assert rule.score(PROMPTS[:1], [completion]).values.tolist() == [float(bool(opened))]


def test_raw_completion_includes_special_tokens(words: Any) -> None:
    """Neither the text nor the end of turn has them: ids 5 and 6 are words, the last is the end."""
    end = turn_end(words)
    special = words.all_special_ids[0]
    completion = Completion("0", "plain", token_ids=(5, special, 6, end))

    def length(prompt: str, completion: str, raw_completion: str) -> float:
        assert completion == "plain"
        return len(raw_completion)

    def lengths(prompts: list[str], completions: list[str], raw_completions: list[str]) -> list[int]:
        return [len(text) for text in raw_completions]

    expected = len(words.decode([5, special, 6]).strip())
    for function in (length, lengths):
        scores = make_function_reward(function, "r", tokenizer=words).score(ROWS[:1], [completion])
        assert scores.values.tolist() == [expected]
    named = RewardPart(rule="format", pattern=f".*{re.escape(words.all_special_tokens[0])}.*")
    assert RuleReward(named, words).score(ROWS[:1], [completion]).values.tolist() == [1.0]
    assert RuleReward(named).score(ROWS[:1], [completion]).values.tolist() == [0.0]


def test_a_failing_row_does_not_fail_the_others(file: Callable[[str], Path]) -> None:
    body = "    if not text:\n        raise KeyError('no\\nway')\n    return text if prompt == 'one' else True\n"
    path = file(f"def score(prompt, text):\n{body}")
    scores = make_function_reward(load_function(f"{path}:score"), "mine").score(PROMPTS, TEXTS)
    assert scores.values.isnan().tolist() == [True, True, False]
    assert scores.values[2] == 1
    (first, second) = scores.failures
    assert first[0] == 0
    assert first[1].startswith("TypeError")
    assert second == (1, "KeyError: 'no\\nway'")


def test_a_file_may_import_its_neighbor(file: Callable[[str], Path]) -> None:
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
        ("def score(:", "score", r"cannot be run \(SyntaxError: .*\); fix the file\."),
        ("import no_such_module_at_all", "score", r"cannot be run \(ModuleNotFoundError: .*\)"),
        ("1 / 0", "score", r"cannot be run \(ZeroDivisionError: division by zero\)"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str | None, name: str, sentence: str) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence) as error:
        load_function(f"{path}:{name}")
    assert "\n" not in str(error.value)


def test_the_digest_is_of_the_whole_file(file: Callable[[str], Path]) -> None:
    spec = f"{file('LIMIT = 1')}:score"
    first = function_digest(spec)
    assert function_digest(spec) == first
    file("LIMIT = 2")
    assert function_digest(spec) != first


def test_spec_of_a_function() -> None:
    def inner(prompt: str, completion: str) -> float:
        return 0

    assert spec_of(at_the_top) == f"{Path(__file__).resolve()}:at_the_top"
    assert spec_of(inner) == "python:inner"
    assert spec_of(lambda p, c: 0.0) == "python:<lambda>"
    assert spec_of(functools.partial(at_the_top, "x")) == "python:partial"
    assert function_digest("python:inner") != function_digest("python:inner"), "never taken for the same"
