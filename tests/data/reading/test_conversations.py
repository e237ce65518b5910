"""Layouts of conversations: cut between messages, refused where it is not clear what was asked."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Message
from gnomon.data.reading.conversations import completion_of, prompt_and_completion, prompt_and_sides, prompt_of

SHORT = {"user": "user", "it": "assistant", "system": "system", "tool": "tool"}


def said(*turns: str) -> list[dict[str, str]]:
    """`user:Q` is the user's turn with the content Q; `it:A` the assistant's."""
    pairs = [turn.split(":", 1) for turn in turns]
    return [{"role": SHORT[who], "content": words} for who, words in pairs]


def spoken(messages: tuple[Message, ...] | None) -> list[str]:
    names = {role: short for short, role in SHORT.items()}
    return [f"{names[m.role]}:{m.content}" for m in messages or ()]


def test_a_text_and_a_lone_users_turn_are_the_same_prompt() -> None:
    assert prompt_of("Q") == prompt_of(said("user:Q")) == prompt_of({"messages": said("user:Q")})
    assert prompt_of(said("system:S", "user:Q")).id != prompt_of("Q").id
    assert prompt_of({"id": "x", "messages": said("user:Q")}, {"id": "row"}).id == "x"


def test_one_message_is_a_plain_completion_and_several_keep_their_turns() -> None:
    assert completion_of(said("it:A")) == completion_of("A")
    found = completion_of(said("it:look", "tool:42", "it:It is 42."))
    assert found.text == "look\n\nIt is 42."
    assert spoken(found.turns) == ["it:look", "tool:42", "it:It is 42."]
    assert completion_of("").text == ""


def test_a_whole_conversation_is_asked_up_to_the_first_answer() -> None:
    turns = said("system:S", "user:Q", "it:A", "user:R", "it:B")
    prompt, completion = prompt_and_completion({"messages": turns})
    assert spoken(prompt.messages) == ["system:S", "user:Q"]
    assert spoken(completion.turns) == ["it:A", "user:R", "it:B"]
    prompt, completion = prompt_and_completion({"messages": turns[:3]})
    assert (completion.text, completion.turns) == ("A", None)


def test_sides_may_repeat_the_prompt_or_leave_it_out() -> None:
    """The layouts of prompt + answers, prompt + whole conversations, and whole conversations alone."""
    answers: dict[str, Any] = {"chosen": said("it:yes"), "rejected": said("it:no")}
    whole = {"chosen": said("user:Q", "it:yes"), "rejected": said("user:Q", "it:no")}
    texts = {"prompt": "Q", "chosen": "yes", "rejected": "no"}
    found = [
        prompt_and_sides(row) for row in (texts, {"prompt": "Q", **answers}, {"prompt": "Q", **whole}, whole)
    ]
    assert all(one == found[0] for one in found)
    assert prompt_and_sides({"prompt": said("user:Q"), **answers}) == found[0]


def test_the_shared_start_is_whole_messages() -> None:
    """ "Yes, it is" and "Yes, it was" share characters; only the messages before them are the prompt."""
    first = said("user:Q", "it:A", "user:Is it?", "it:Yes, it is")
    second = said("user:Q", "it:A", "user:Is it?", "it:Yes, it was")
    prompt, chosen, rejected = prompt_and_sides({"chosen": first, "rejected": second})
    assert spoken(prompt.messages) == ["user:Q", "it:A", "user:Is it?"]
    assert (chosen.text, rejected.text) == ("Yes, it is", "Yes, it was")


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (said("user:Q", "it:A"), said("user:R", "it:A"), "share no prompt"),
        (said("user:Q", "it:A"), said("user:Q", "it:A"), "the same conversation"),
        (said("user:Q", "it:A"), said("user:Q", "it:A", "user:R", "it:B"), "ends with the assistant's turn"),
        (
            said("user:Q", "it:A", "user:R", "it:B"),
            said("user:Q", "it:A", "user:S", "it:B"),
            "the assistant's turn",
        ),
        (said("user:Q"), said("user:Q", "it:A"), "the completion has no messages"),
        (said("user:Q", "it:A"), said("user:Q", "tool:A"), "not the tool's"),
        (said("user: ", "it:A"), said("user: ", "it:B"), "the prompt is empty"),
        ("yes", "no", "no 'prompt' in it"),
        (["yes"], ["no"], "neither a text nor a JSON object"),
        ("", "no", "no 'prompt' in it"),
    ],
)
def test_what_is_not_clearly_asked_is_refused(chosen: Any, rejected: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        prompt_and_sides({"chosen": chosen, "rejected": rejected})


@pytest.mark.parametrize("turns", [said("user:a", "it:b"), said("it:a", "user:b"), []])
def test_a_completion_starts_and_ends_with_the_assistant(turns: Any) -> None:
    with pytest.raises(DataError, match="completion"):
        completion_of(turns)
