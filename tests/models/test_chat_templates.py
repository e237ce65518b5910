"""A tokenizer's chat template: its own, the plain one, a file's, or none, which is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import CHAT_TEMPLATE, CPU, byte_tokenizer, prompts_of, tiny_network

from gnomon.core.errors import ModelError
from gnomon.data.templates.chat_template import PLAIN_TEMPLATE
from gnomon.data.templates.rendering import render_prompt
from gnomon.models.loading import load_policy, load_reward_model, load_tokenizer, save_model


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model whose tokenizer has no chat template, as base models have none."""
    folder = tmp_path_factory.mktemp("bare")
    tokenizer = byte_tokenizer(chat=False)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    tiny_network(vocab=len(tokenizer), layers=1).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("load", [load_tokenizer, lambda name: load_policy(name, CPU)])
def test_none_is_refused(bare: Path, load: Any) -> None:
    with pytest.raises(
        ModelError, match=r"has no chat template; set chat_template of the model to plain, or"
    ) as excinfo:
        load(str(bare))
    assert "\n" not in str(excinfo.value)


def test_the_plain_one_is_saved_with_the_model(bare: Path, tmp_path: Path) -> None:
    policy = load_policy(str(bare), CPU, chat_template="plain")
    ids = render_prompt(policy.tokenizer, prompts_of("a film")[0])
    assert policy.tokenizer.decode(ids) == "<s>Human: a film\n\nAssistant:"
    save_model(policy, tmp_path / "model")
    again = load_tokenizer(str(tmp_path / "model"))
    assert again.chat_template == PLAIN_TEMPLATE
    assert render_prompt(again, prompts_of("a film")[0]) == ids


def test_the_plain_one_is_that_of_the_hh_data() -> None:
    tokenizer = byte_tokenizer(chat=False)
    turns = [("system", "S"), ("user", "Q"), ("assistant", "A"), ("user", "R"), ("assistant", "B")]
    text = tokenizer.apply_chat_template([{"role": r, "content": c} for r, c in turns], tokenize=False)
    assert text == "<s>System: S\n\nHuman: Q\n\nAssistant: A</s>\n\nHuman: R\n\nAssistant: B</s>"


def test_a_file_replaces_the_tokenizers_own(bare: Path, tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    path.write_text(CHAT_TEMPLATE.replace("<|im_end|>", "</s>"), encoding="utf-8")
    judge = load_reward_model(str(bare), CPU, seed=0, chat_template=str(path))
    assert judge.tokenizer.chat_template == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{% for m in messages %}", "the chat template refuses it"),
        (b"{{ bos_token }}", "does not write a question and its answer"),
        (b"\xff", "can't decode byte"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_template_is_refused(bare: Path, tmp_path: Path, content: Any, problem: str) -> None:
    path = tmp_path / "chat.jinja"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=problem) as excinfo:
        load_tokenizer(str(bare), str(path))
    assert str(path) in str(excinfo.value)
    assert "\n" not in str(excinfo.value)
