"""ChatML as text, and messages under other names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Label, Preference, Prompt
from gnomon.data.formats.chatml import messages_of
from gnomon.data.inspection import Inspection, inspect

Inspected = Callable[..., Inspection]
RecordsOf = Callable[..., list[Any]]
SYSTEM = "<|im_start|>system\nBe brief.<|im_end|>\n"
ASKED = "<|im_start|>user\n Hi \n\nthere<|im_end|>\n<|im_start|>assistant\n"


def contents(turns: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in turns]


def test_a_text_is_split_at_its_marks_and_contents_keep_every_space(inspected: Inspected) -> None:
    inspection = inspected({"text": f"{SYSTEM}{ASKED}  Hello!\n<|im_end|>\n"})
    (record,) = inspection.records
    assert inspection.kind is Demonstration
    assert contents(record.prompt.messages) == [("system", "Be brief."), ("user", " Hi \n\nthere")]
    assert record.completion.text == "  Hello!\n"


def test_a_last_turn_may_lack_its_end_and_others_may_not() -> None:
    assert messages_of(f"{ASKED}Hello") == (
        [{"role": "user", "content": " Hi \n\nthere"}, {"role": "assistant", "content": "Hello"}],
        False,
    )
    assert messages_of("<|im_start|>user Hi<|im_end|>")[0] == [{"role": "user", "content": "Hi"}]
    with pytest.raises(DataError, match=r"a turn of the user has no <\|im_end\|> before the next one starts"):
        messages_of("<|im_start|>user\nHi\n<|im_start|>assistant\nHello<|im_end|>")
    with pytest.raises(DataError, match="'Really' stands outside the turns"):
        messages_of("<|im_start|>user\nHi<|im_end|>\nReally")


def test_pairs_whose_prompt_starts_the_answer(inspected: Inspected) -> None:
    (record,) = inspected({"prompt": ASKED, "chosen": "Yes<|im_end|>\n", "rejected": "No<|im_end|>\n"}).records
    assert isinstance(record, Preference)
    assert contents(record.prompt.messages) == [("user", " Hi \n\nthere")]
    assert (record.chosen.text, record.rejected.text) == ("Yes", "No")


def test_pairs_whose_prompt_ends_before_the_answer_or_in_the_middle_of_it(records_of: RecordsOf) -> None:
    ended = ASKED.removesuffix("<|im_start|>assistant\n")
    marked = {side: f"<|im_start|>assistant\n{side}<|im_end|>" for side in ("chosen", "rejected")}
    (record,) = records_of(Preference, {"prompt": ended, **marked})
    assert (record.chosen.text, record.rejected.text) == ("chosen", "rejected")
    (record,) = records_of(Preference, {"prompt": f"{ASKED}Sure: ", "chosen": "yes", "rejected": "no"})
    assert (record.chosen.text, record.rejected.text) == ("Sure: yes", "Sure: no")


def test_pairs_of_whole_texts_share_their_first_turns(records_of: RecordsOf, inspected: Inspected) -> None:
    sides = {"chosen": f"{ASKED}Yes <|im_end|>", "rejected": f"{ASKED}Yet<|im_end|>"}
    (record,) = records_of(Preference, sides)
    assert len(record.prompt.messages) == 1
    assert (record.chosen.text, record.rejected.text) == ("Yes ", "Yet")
    same = inspected(sides, {"chosen": sides["chosen"], "rejected": sides["chosen"]})
    assert [(row.where, row.reason) for row in same.refused] == [
        ("line 2", "chosen and rejected are the same text")
    ]


def test_completions_labels_and_prompts(inspected: Inspected, records_of: RecordsOf) -> None:
    single = {"prompt": ASKED, "completion": "Hello<|im_end|>"}
    assert records_of(Demonstration, single)[0].completion.text == "Hello"
    inspection = inspected({**single, "label": False})
    assert (inspection.kind, inspection.records[0].good) == (Label, False)
    inspection = inspected({"prompt": ASKED})
    assert (inspection.kind, contents(inspection.records[0].messages)) == (Prompt, [("user", " Hi \n\nthere")])


@pytest.mark.parametrize("key", ["conversation", "conversations", "dialogue", "chat"])
def test_messages_under_other_names_are_a_conversation(inspected: Inspected, key: str) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    inspection = inspected({key: [*turns, {"role": "user", "content": "And?"}], "model": "m"})
    (record,) = inspection.records
    assert (inspection.kind, record.completion.text) == (Demonstration, "Hello")
    assert inspection.unread == ("model", "turns after the last answer")


def test_conversations_without_a_prompt_or_an_answer_are_not_used(inspected: Inspected) -> None:
    user, assistant = ({"role": role, "content": "Hi"} for role in ("user", "assistant"))
    inspection = inspected({"chat": [user, assistant]}, {"chat": [assistant, user]}, {"chat": [user]})
    assert [(row.where, row.reason) for row in inspection.refused] == [
        ("line 2", "the conversation starts with the assistant's turn, without a prompt"),
        ("line 3", "the conversation has no turn of the assistant"),
    ]


def test_plain_texts_are_refused_with_the_mapping_that_learns_them(file_of: Callable[..., Path]) -> None:
    path = file_of({"text": "A plain story."}, {"text": "Another."})
    with pytest.raises(DataError, match=r"text has no prompt.*--columns completion=text"):
        inspect(path)
