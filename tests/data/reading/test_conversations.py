"""Layouts of conversations: split between messages, refused if the prompt is ambiguous."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.core.errors import DataError
from gnomon.core.types import Message
from gnomon.data.reading.conversations import completion_of, prompt_and_completion, prompt_and_sides, prompt_of

TOOL = {"type": "function", "function": {"name": "tide", "parameters": {}}}
SHORT = {"user": "user", "it": "assistant", "system": "system", "tool": "tool"}


def chat(*turns: str) -> list[dict[str, str]]:
    """`user:Q` is the user's turn with the content Q; `it:A` the assistant's."""
    pairs = [turn.split(":", 1) for turn in turns]
    return [{"role": SHORT[who], "content": words} for who, words in pairs]


def transcript(messages: tuple[Message, ...] | None) -> list[str]:
    names = {role: short for short, role in SHORT.items()}
    return [f"{names[m.role]}:{m.content}" for m in messages or ()]


def test_a_text_and_a_lone_users_turn_are_the_same_prompt() -> None:
    assert prompt_of("Q") == prompt_of(chat("user:Q")) == prompt_of({"messages": chat("user:Q")})
    assert prompt_of(chat("system:S", "user:Q")).id != prompt_of("Q").id
    assert prompt_of({"id": "x", "messages": chat("user:Q")}, {"id": "row"}).id == "x"


def test_one_message_is_a_plain_completion_and_several_keep_their_turns() -> None:
    assert completion_of(chat("it:A")) == completion_of("A")
    result = completion_of(chat("it:look", "tool:42", "it:It is 42."))
    assert result.text == "look\n\nIt is 42."
    assert transcript(result.turns) == ["it:look", "tool:42", "it:It is 42."]
    assert completion_of("").text == ""


def test_a_conversation_is_split_before_the_first_answer() -> None:
    turns = chat("system:S", "user:Q", "it:A", "user:R", "it:B")
    prompt, completion = prompt_and_completion({"messages": turns})
    assert transcript(prompt.messages) == ["system:S", "user:Q"]
    assert transcript(completion.turns) == ["it:A", "user:R", "it:B"]
    prompt, completion = prompt_and_completion({"messages": turns[:3]})
    assert (completion.text, completion.turns) == ("A", None)


def test_sides_may_repeat_the_prompt_or_leave_it_out() -> None:
    """The layouts of prompt + answers, prompt + whole conversations, and whole conversations alone."""
    answers: dict[str, Any] = {"chosen": chat("it:yes"), "rejected": chat("it:no")}
    whole = {"chosen": chat("user:Q", "it:yes"), "rejected": chat("user:Q", "it:no")}
    texts = {"prompt": "Q", "chosen": "yes", "rejected": "no"}
    result = [
        prompt_and_sides(row) for row in (texts, {"prompt": "Q", **answers}, {"prompt": "Q", **whole}, whole)
    ]
    assert all(one == result[0] for one in result)
    assert prompt_and_sides({"prompt": chat("user:Q"), **answers}) == result[0]


TURNS = ("user:Q", "it:A", "user:R")


@pytest.mark.parametrize("prompt", ["R", " R\n", "Q", chat("user:R"), chat(*TURNS)])
@pytest.mark.parametrize("system", [(), ("system:S",)])
def test_a_prompt_may_be_a_part_of_what_both_sides_start_with(prompt: Any, system: tuple[str, ...]) -> None:
    sides = [chat(*system, *TURNS, f"it:{answer}") for answer in ("yes", "no")]
    row = {"prompt": prompt, "chosen": sides[0], "rejected": sides[1], "tools": [TOOL]}
    whole, chosen, rejected = prompt_and_sides(row)
    assert transcript(whole.messages) == [*system, *TURNS]
    assert (chosen.text, rejected.text, len(whole.tools)) == ("yes", "no", 1)
    del row["prompt"]
    assert prompt_and_sides(row)[0].id == whole.id


def test_the_system_message_of_the_row_is_that_of_both_sides() -> None:
    sides = {side: chat(*TURNS, f"it:{side}") for side in ("chosen", "rejected")}
    prompt, *_ = prompt_and_sides({"prompt": "R", "system": "S", **sides})
    assert transcript(prompt.messages) == ["system:S", *TURNS]
    prompt, *_ = prompt_and_sides({"prompt": {"id": "p", "messages": chat("user:R"), "answer": "yes"}, **sides})
    assert (prompt.id, prompt.answer, transcript(prompt.messages)) == ("p", "yes", list(TURNS))


@pytest.mark.parametrize("turns", [TURNS, TURNS[:1]])
def test_a_prompt_that_both_sides_do_not_have_is_refused(turns: tuple[str, ...]) -> None:
    sides = {side: chat(*turns, f"it:{side}") for side in ("chosen", "rejected")}
    with pytest.raises(DataError, match="the prompt, 'Z', is not the one that chosen and rejected start with"):
        prompt_and_sides({"prompt": "Z", **sides})


def test_whole_conversations_of_other_prompts_are_refused() -> None:
    with pytest.raises(DataError, match="chosen and rejected share no prompt"):
        prompt_and_sides({"prompt": "Q", "chosen": chat("user:Q", "it:A"), "rejected": chat("user:R", "it:B")})


def test_sides_that_part_at_a_users_turn_follow_the_prompt() -> None:
    first, second = chat("user:Q", "it:A", "user:R", "it:B"), chat("user:Q", "it:A", "user:S", "it:C")
    prompt, chosen, rejected = prompt_and_sides({"prompt": "Q", "chosen": first, "rejected": second})
    assert transcript(prompt.messages) == ["user:Q"]
    assert transcript(chosen.turns) == ["it:A", "user:R", "it:B"]
    assert transcript(rejected.turns) == ["it:A", "user:S", "it:C"]


def test_the_shared_start_is_whole_messages() -> None:
    """ "Yes, it is" and "Yes, it was" share characters; only the messages before them are the prompt."""
    first = chat("user:Q", "it:A", "user:Is it?", "it:Yes, it is")
    second = chat("user:Q", "it:A", "user:Is it?", "it:Yes, it was")
    prompt, chosen, rejected = prompt_and_sides({"chosen": first, "rejected": second})
    assert transcript(prompt.messages) == ["user:Q", "it:A", "user:Is it?"]
    assert (chosen.text, rejected.text) == ("Yes, it is", "Yes, it was")


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (chat("user:Q", "it:A"), chat("user:R", "it:A"), "share no prompt"),
        (chat("user:Q", "it:A"), chat("user:Q", "it:A"), "the same conversation"),
        (
            chat("user:Q", "it:A"),
            chat("user:Q", "it:A", "user:R", "it:B"),
            "ends with the assistant's turn",
        ),
        (
            chat("user:Q", "it:A", "user:R", "it:B"),
            chat("user:Q", "it:A", "user:S", "it:B"),
            "the assistant's turn",
        ),
        (chat("user:Q"), chat("user:Q", "it:A"), "the completion has no messages"),
        (chat("user:Q", "it:A"), chat("user:Q", "tool:A"), "not the tool's"),
        (chat("user: ", "it:A"), chat("user: ", "it:B"), "the prompt is empty"),
        ("yes", "no", "no 'prompt' in it"),
        (["yes"], ["no"], "neither a text nor a JSON object"),
        ("", "no", "no 'prompt' in it"),
    ],
)
def test_ambiguous_conversations_are_refused(chosen: Any, rejected: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        prompt_and_sides({"chosen": chosen, "rejected": rejected})


@pytest.mark.parametrize("turns", [chat("user:a", "it:b"), chat("it:a", "user:b"), []])
def test_a_completion_starts_and_ends_with_the_assistant(turns: Any) -> None:
    with pytest.raises(DataError, match="completion"):
        completion_of(turns)


def test_answers_of_several_turns_keep_the_turns_that_they_share() -> None:
    """They begin with the assistant's turn, so the turns that both share are no longer prompt."""
    shared = [{"role": "assistant", "content": "Which one?"}, {"role": "user", "content": "The red one."}]
    sides = {
        name: [*shared, {"role": "assistant", "content": text}]
        for name, text in (("chosen", "Here."), ("rejected", "No."))
    }
    prompt, chosen, rejected = prompt_and_sides({"prompt": "A book, please.", **sides})
    assert [one.content for one in prompt.messages] == ["A book, please."]
    for side, last in ((chosen, "Here."), (rejected, "No.")):
        assert [one.content for one in side.turns or ()] == ["Which one?", "The red one.", last]
