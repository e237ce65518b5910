"""Chat templates that do not finish, or fill the memory, are refused before their first use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import byte_tokenizer

from gnomon.core.errors import DataError, ModelError
from gnomon.core.types import Message, Prompt
from gnomon.data.templates import trial
from gnomon.data.templates.rendering import render_prompt
from gnomon.models.loading import set_template

ENDLESS = {
    "loops": "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
    "a power": "{{ 10 ** (10 ** 10) }}",
    "a product": "{{ 'a' * 10 ** 11 }}",
    "doubling": "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "a format": "{{ '%2000000000d' % 5 }}",
}
RAISING = {
    "a long range": "{% for i in range(10 ** 9) %}{% endfor %}",
    "a division": "{{ 1 / 0 }}",
    "a type": "{{ 'a' + 1 }}",
    "itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a filter": "{{ messages | nothing }}",
    "syntax": "{% for %}",
}


@pytest.fixture
def tokenizer() -> Any:
    return byte_tokenizer(chat=False)


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_template_without_end_is_refused(
    tokenizer: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SECONDS", 1)
    file = tmp_path / "chat.jinja"
    file.write_text(ENDLESS[kind], encoding="utf-8")
    with pytest.raises(ModelError, match="does not end within 1 s and 1 GB"):
        set_template(tokenizer, str(file))


@pytest.mark.parametrize("kind", RAISING)
def test_an_error_of_a_template_becomes_a_sentence(tokenizer: Any, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "chat.jinja"
    file.write_text(RAISING[kind], encoding="utf-8")
    with pytest.raises(ModelError, match="the chat template refuses it"):
        set_template(tokenizer, str(file))
    tokenizer.chat_template = RAISING[kind]
    with pytest.raises(DataError, match="the chat template refuses it"):
        render_prompt(tokenizer, Prompt("p", (Message("user", "hi"),)))


def test_a_template_is_tried_once(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    set_template(tokenizer, "plain")
    monkeypatch.setattr("os.fork", lambda: pytest.fail("tried again"))
    set_template(tokenizer, "plain")
