"""Prompts that are HH transcripts, with the answers beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gnomon.core.types import Demonstration, Label, Preference, Prompt
from gnomon.data.inspection import Inspection

Inspected = Callable[..., Inspection]
ASKED = "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: Name a film. \n\nAssistant:"
TURNS = [("user", "Hi"), ("assistant", "Hello!"), ("user", "Name a film. ")]


def contents(turns: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in turns]


@pytest.mark.parametrize("prompt", [ASKED, f"{ASKED} ", ASKED.lstrip("\n")])
@pytest.mark.parametrize("before", ["", " "])
def test_pairs_continue_the_transcript(inspected: Inspected, prompt: str, before: str) -> None:
    inspection = inspected({"prompt": prompt, "chosen": f"{before}Metropolis.", "rejected": f"{before}No. "})
    (record,) = inspection.records
    assert inspection.kind is Preference
    assert contents(record.prompt.messages) == TURNS
    stray = " " if prompt.endswith(" ") and before else ""  # the mark takes one space
    assert (record.chosen.text, record.rejected.text) == (f"{stray}Metropolis.", f"{stray}No. ")


def test_answers_may_repeat_the_prompt_and_have_later_turns(inspected: Inspected) -> None:
    chosen = f"{ASKED} Metropolis.\n\nHuman: Why?\n\nAssistant: So."
    (record,) = inspected({"prompt": ASKED, "chosen": chosen, "rejected": f"{ASKED} No."}).records
    assert contents(record.prompt.messages) == TURNS
    assert [turn.content for turn in record.chosen.turns] == ["Metropolis.", "Why?", "So."]
    assert record.rejected.text == "No."


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({}, Prompt),
        ({"completion": " Metropolis."}, Demonstration),
        ({"response": " Metropolis."}, Demonstration),
        ({"completion": " Metropolis.", "label": True}, Label),
    ],
)
def test_other_columns_make_other_kinds(inspected: Inspected, columns: dict[str, Any], kind: type) -> None:
    inspection = inspected({"prompt": ASKED, **columns})
    (record,) = inspection.records
    assert inspection.kind is kind
    assert contents((record if kind is Prompt else record.prompt).messages) == TURNS
    assert kind is Prompt or record.completion.text == "Metropolis."


def test_equal_answers_are_not_used(inspected: Inspected) -> None:
    good = {"prompt": ASKED, "chosen": " A", "rejected": " B"}
    (unused,) = inspected(good, {"prompt": ASKED, "chosen": " A", "rejected": "A"}).refused
    assert (unused.where, unused.reason) == ("line 2", "chosen and rejected are the same answer")


def test_a_text_about_humans_is_a_plain_prompt(inspected: Inspected) -> None:
    inspection = inspected({"prompt": "Human: what does the word mean?", "chosen": "A", "rejected": "B"})
    assert contents(inspection.records[0].prompt.messages) == [("user", "Human: what does the word mean?")]
