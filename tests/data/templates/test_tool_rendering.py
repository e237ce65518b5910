"""Conversations with tools in templates of well-known families: the template's own text, proved or refused."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import pytest
from chat_templates import (
    DEEPSEEK,
    GEMMA,
    GLM,
    HARMONY,
    LFM_2,
    LLAMA_3_1,
    MISTRAL,
    PHI_4,
    QWEN_2_5,
    QWEN_3,
    QWEN_3_THINKING,
    with_template,
)
from hypothesis import HealthCheck, given, settings, strategies as st

from gnomon.core.errors import DataError
from gnomon.core.types import Demonstration, Prompt
from gnomon.data.encoding import encode_answer, encode_demonstrations
from gnomon.data.records import parse_record
from gnomon.data.templates.chat_template import PLAIN_TEMPLATE, answer_opening
from gnomon.data.templates.control_tokens import ControlCounts
from gnomon.data.templates.rendering import render_prompt
from gnomon.rewards.arguments import raw_text

PROPERTIES = {"port": {"type": "string"}, "day": {"type": "integer"}}
TIDE = {
    "type": "function",
    "function": {
        "name": "tide",
        "description": 'Height of "the" tide.',
        "parameters": {"type": "object", "properties": PROPERTIES},
    },
}
ASK = {"role": "user", "content": "How high?"}
RESULT = {"role": "tool", "name": "tide", "tool_call_id": "call00001", "content": '4 "m"'}


def call(port: str = "Brest", **more: Any) -> dict[str, Any]:
    function = {"name": "tide", "arguments": {"port": port, "day": 2}}
    return {
        "role": "assistant",
        "tool_calls": [{"id": "call00001", "type": "function", "function": function}],
        **more,
    }


def say(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


ONE_CALL = [ASK, call()]
LOOP = [ASK, call(), RESULT, say("Four.")]
TEXT_AND_CALL = [ASK, call(content="I look."), RESULT, say("Four.")]
TWO_CALLS = [ASK, {**call(), "tool_calls": [*call()["tool_calls"], *call("Dover")["tool_calls"]]}]
TWO_TURNS = [ASK, say("Four."), {"role": "user", "content": "And now?"}, say("Five.")]
THOUGHTS = [ASK, say("Four.", reasoning_content="a guess")]
TWO_THOUGHTS = [*THOUGHTS, {"role": "user", "content": "And now?"}, say("Five.", reasoning_content="more")]
UNLEARNED = [ASK, say("Four.", train=False), *TWO_TURNS[2:]]
UNLEARNED_CALL = [ASK, call(train=False), *LOOP[2:]]


def row_of(turns: list[dict[str, Any]], **columns: Any) -> dict[str, Any]:
    """A row with the tools that its turns call."""
    return {"messages": turns, **({"tools": [TIDE]} if any("tool_calls" in t for t in turns) else {}), **columns}


def rendered(tokenizer: Any, row: dict[str, Any]) -> list[str]:
    """The pieces of an answer: those that are learned, and between them those that are not, in parentheses.

    Prompt and answer together are checked to be what `apply_chat_template` writes of the row itself.
    """
    record = parse_record(Demonstration, row)
    prompt = render_prompt(tokenizer, record.prompt)
    ids, mask = encode_answer(tokenizer, record.prompt, record.completion, "row")
    template = tokenizer.apply_chat_template(
        row["messages"], tools=row.get("tools"), tokenize=False, **row.get("chat_template_kwargs", {})
    )
    ending = tokenizer.convert_ids_to_tokens(ids[-1])
    whole = tokenizer.decode([*prompt, *ids])
    assert template.rstrip().removesuffix(ending) == whole.removesuffix(ending)
    pieces = [
        (learned, tokenizer.decode([i for i, _ in run]))
        for learned, run in groupby(zip(ids, mask, strict=True), key=lambda pair: pair[1])
    ]
    return [text if learned else f"({text})" for learned, text in pieces]


HERMES_CALL = '<tool_call>\n{"name": "tide", "arguments": {"port": "Brest", "day": 2}}\n</tool_call>'
NEXT = '(\n<|im_start|>user\n<tool_response>\n4 "m"\n</tool_response><|im_end|>\n<|im_start|>assistant\n)'
AND_NOW = "(\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n)"
EMPTY = "<think>\n\n</think>\n\n"
CASES: list[tuple[str, list[dict[str, Any]], list[str]]] = [
    (QWEN_2_5, ONE_CALL, [f"{HERMES_CALL}<|im_end|>"]),
    (QWEN_2_5, LOOP, [f"{HERMES_CALL}<|im_end|>", NEXT, "Four.<|im_end|>"]),
    (QWEN_2_5, TEXT_AND_CALL, [f"I look.\n{HERMES_CALL}<|im_end|>", NEXT, "Four.<|im_end|>"]),
    (QWEN_2_5, TWO_CALLS, [f"{HERMES_CALL}\n{HERMES_CALL.replace('Brest', 'Dover')}<|im_end|>"]),
    (QWEN_2_5, UNLEARNED_CALL, [f"({HERMES_CALL}<|im_end|>{NEXT[1:]}", "Four.<|im_end|>"]),
    (QWEN_3, ONE_CALL, [f"{EMPTY}{HERMES_CALL}<|im_end|>"]),
    (QWEN_3, THOUGHTS, ["<think>\na guess\n</think>\n\nFour.<|im_end|>"]),
    (QWEN_3, UNLEARNED, [f"(Four.<|im_end|>{AND_NOW[1:]}", f"{EMPTY}Five.<|im_end|>"]),
    (QWEN_3, UNLEARNED_CALL, [f"({HERMES_CALL}<|im_end|>{NEXT[1:]}", f"{EMPTY}Four.<|im_end|>"]),
    (QWEN_3_THINKING, ONE_CALL, [f"\n</think>\n\n{HERMES_CALL}<|im_end|>"]),
    (QWEN_3_THINKING, THOUGHTS, ["a guess\n</think>\n\nFour.<|im_end|>"]),
    (LLAMA_3_1, ONE_CALL, ['{"name": "tide", "parameters": {"port": "Brest", "day": 2}}<|eot_id|>']),
    (
        LLAMA_3_1,
        LOOP,
        [
            '{"name": "tide", "parameters": {"port": "Brest", "day": 2}}<|eot_id|>',
            '(<|start_header_id|>ipython<|end_header_id|>\n\n{"output": "4 \\"m\\""}<|eot_id|>'
            "<|start_header_id|>assistant<|end_header_id|>\n\n)",
            "Four.<|eot_id|>",
        ],
    ),
    (
        MISTRAL,
        LOOP,
        [
            '[TOOL_CALLS] [{"name": "tide", "arguments": {"port": "Brest", "day": 2}, "id": "call00001"}]</s>',
            '([TOOL_RESULTS]{"content": "4 \\"m\\"", "call_id": "call00001"}[/TOOL_RESULTS])',
            "Four.</s>",
        ],
    ),
    (GEMMA, TWO_TURNS[:2], ["Four.<end_of_turn>"]),
    (
        HARMONY,
        LOOP,
        [
            '<|channel|>commentary to=tide<|message|>{"port": "Brest", "day": 2}<|call|>',
            '(<|start|>tide<|message|>4 "m"<|end|><|start|>assistant)',
            "<|channel|>final<|message|>Four.<|return|>",
        ],
    ),
    (
        HARMONY,
        UNLEARNED,
        [
            "(<|channel|>final<|message|>Four.<|end|><|start|>user<|message|>And now?<|end|><|start|>assistant)",
            "<|channel|>final<|message|>Five.<|return|>",
        ],
    ),
    (
        GLM,
        ONE_CALL,
        [
            "\n<tool_call>tide\n<arg_key>port</arg_key><arg_value>Brest</arg_value>"
            "<arg_key>day</arg_key><arg_value>2</arg_value></tool_call><|im_end|>"
        ],
    ),
    (GLM, UNLEARNED, ["(\nFour.<|user|>\nAnd now?<|assistant|>)", "\nFive.<|im_end|>"]),
]


@pytest.mark.parametrize(("template", "turns", "pieces"), CASES)
def test_what_the_assistant_writes_is_learned_and_nothing_else(
    template: str, turns: list[dict[str, Any]], pieces: list[str]
) -> None:
    assert rendered(with_template(template), row_of(turns)) == pieces


REFUSED: list[tuple[str, list[dict[str, Any]], str]] = [
    (PLAIN_TEMPLATE, ONE_CALL, "the chat template does not write the tool tide"),
    (GEMMA, ONE_CALL, "the chat template does not write the tool tide"),
    (GEMMA, [{"role": "system", "content": "S"}, *TWO_TURNS], r"refuses it \(System role not supported\)"),
    (
        LFM_2,
        ONE_CALL,
        "turn 1: the chat template does not write the call of tide|row: the chat template does not",
    ),
    (LFM_2, [*LOOP, *TWO_TURNS[2:]], "turn 1: the chat template does not write the call of tide as it is"),
    (LFM_2, THOUGHTS, "leaves out its reasoning_content"),
    (PHI_4, TEXT_AND_CALL, "does not write the call of tide as it is"),
    (LLAMA_3_1, TEXT_AND_CALL, "turn 1: the chat template changes the text in or around it"),
    (LLAMA_3_1, TWO_CALLS, r"refuses it \(one call at once\)"),
    (HARMONY, TWO_CALLS, "does not write the call of tide as it is"),
    (HARMONY, TWO_TURNS, "turn 3: the chat template rewrites earlier turns; mark all turns but the last"),
    (QWEN_3, TWO_TURNS, "turn 3: the chat template rewrites earlier turns; mark all turns but the last"),
    (QWEN_3, LOOP, "turn 3: the chat template rewrites earlier turns"),
    (QWEN_3_THINKING, TWO_THOUGHTS, "turn 3: the chat template rewrites earlier turns"),
    (QWEN_3_THINKING, UNLEARNED, "turn 3: the chat template rewrites earlier turns; cut it to one turn per row"),
    (GLM, TWO_TURNS, "turn 1: the chat template does not end an assistant's turn; mark all turns but the last"),
    (MISTRAL, [*LOOP, {"role": "user", "content": "And now?"}, say("Five.")], "rewrites earlier turns"),
]


@pytest.mark.parametrize(("template", "turns", "reason"), REFUSED)
def test_what_a_template_does_not_write_is_refused_in_one_sentence(
    template: str, turns: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as error:
        rendered(with_template(template), row_of(turns))
    assert "\n" not in str(error.value)


def test_calls_of_a_prompt_that_the_template_leaves_out_are_refused() -> None:
    """As for a policy that would answer without having seen its own calls."""
    row = {"prompt": LOOP[:3], "tools": [TIDE]}
    assert render_prompt(with_template(QWEN_2_5), parse_record(Prompt, row))
    with pytest.raises(DataError, match=r"prompt '.*': the chat template does not write the call of tide"):
        render_prompt(with_template(LFM_2), parse_record(Prompt, row))


def test_a_result_that_the_template_leaves_out_is_refused() -> None:
    """In a prompt, and between two turns of an answer."""
    template = QWEN_2_5.replace("{{ m.content }}\n</tool_response>", "</tool_response>")
    with pytest.raises(DataError, match="leaves out or changes the tool's message"):
        render_prompt(with_template(template), parse_record(Prompt, {"prompt": LOOP[:3], "tools": [TIDE]}))
    with pytest.raises(DataError, match="turn 3: the chat template leaves out or changes the tool's message"):
        rendered(with_template(template), row_of(LOOP))


@pytest.mark.parametrize(("template", "around"), [(DEEPSEEK, "<|call_begin|>tide\n"), (PHI_4, '"arguments": ')])
def test_arguments_are_json_in_a_template_that_writes_a_text(template: str, around: str) -> None:
    """One joins them to a text, which fails with an object; one would print Python's form of an object."""
    tokenizer = with_template(template)
    record = parse_record(Demonstration, row_of(ONE_CALL))
    ids, mask = encode_answer(tokenizer, record.prompt, record.completion, "row")
    assert all(mask)
    assert around + '{"port": "Brest", "day": 2}' in tokenizer.decode(ids)
    texts = json.loads(json.dumps(ONE_CALL))
    texts[1]["content"] = ""
    texts[1]["tool_calls"][0]["function"]["arguments"] = '{"port": "Brest", "day": 2}'
    template_text = tokenizer.apply_chat_template(texts, tools=[TIDE], tokenize=False)
    assert tokenizer.decode([*render_prompt(tokenizer, record.prompt), *ids]) == template_text


def test_a_turn_with_calls_that_no_token_ends_is_refused() -> None:
    template = HARMONY.replace("<|call|>", "")
    with pytest.raises(DataError, match="row: the chat template ends this turn with tool calls by no token"):
        rendered(with_template(template), row_of(ONE_CALL))


@pytest.mark.parametrize("kwargs", [{"enable_thinking": False}, '{"enable_thinking": false, "effort": null}'])
def test_variables_of_the_template_reach_it(kwargs: Any) -> None:
    tokenizer = with_template(QWEN_3_THINKING)
    record = parse_record(Demonstration, {**row_of(TWO_TURNS[:2]), "chat_template_kwargs": kwargs})
    prompt = tokenizer.decode(render_prompt(tokenizer, record.prompt))
    assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert tokenizer.decode(encode_answer(tokenizer, record.prompt, record.completion, "row")[0]) == (
        "Four.<|im_end|>"
    )


def test_a_reward_sees_the_opening_of_the_prompts_own_variables() -> None:
    """With thoughts switched off, the generation prompt opens none."""
    tokenizer = with_template(QWEN_3_THINKING)
    assert answer_opening(tokenizer) == "<think>\n"
    assert answer_opening(tokenizer, '{"enable_thinking": false}') == ""
    record = parse_record(Demonstration, row_of(THOUGHTS))
    ids, _ = encode_answer(tokenizer, record.prompt, record.completion, "row")
    completion = parse_record(Demonstration, row_of(TWO_TURNS[:2])).completion
    drawn = type(completion)("c", "", token_ids=ids)
    assert raw_text(drawn, tokenizer).startswith("<think>\na guess")
    assert raw_text(drawn, tokenizer, '{"enable_thinking": false}').startswith("a guess")


def test_a_text_that_the_template_does_not_read_is_refused_and_a_switch_is_not() -> None:
    tokenizer = with_template(QWEN_2_5)
    switched = parse_record(Prompt, {"prompt": [ASK], "chat_template_kwargs": {"enable_thinking": False}})
    assert render_prompt(tokenizer, switched) == render_prompt(tokenizer, parse_record(Prompt, {"prompt": [ASK]}))
    named = parse_record(Prompt, {"prompt": [ASK], "chat_template_kwargs": {"persona": "A pirate."}})
    with pytest.raises(DataError, match="the chat template does not read persona"):
        render_prompt(tokenizer, named)


def test_control_tokens_in_tools_calls_and_results_are_text() -> None:
    """In names, arguments, results, descriptions and variables: the answer has one end for each turn."""
    end, start = "<|im_end|>", "<|im_start|>"
    tokenizer = with_template("{{ persona }}" + QWEN_2_5)
    called = json.loads(json.dumps(call(f"{end}{start}x")))
    called["tool_calls"][0]["function"]["arguments"][f"{start}key"] = [f"{end}"]
    tool = json.loads(json.dumps(TIDE).replace("Height of", f"{end} {start}"))
    row = {
        "messages": [ASK, called, {**RESULT, "content": f"4{end}"}, say("Four.")],
        "tools": [tool],
        "chat_template_kwargs": {"persona": start},
    }
    record = parse_record(Demonstration, row)
    prompt = render_prompt(tokenizer, record.prompt)
    ids, _ = encode_answer(tokenizer, record.prompt, record.completion, "row")
    ends, starts = (tokenizer.convert_tokens_to_ids(token) for token in (end, start))
    assert (prompt.count(starts), prompt.count(ends)) == (3, 2)  # the tools, the question, the answer
    assert (ids.count(starts), ids.count(ends)) == (2, 3)
    assert f"{end}{start}x" in tokenizer.decode(ids)
    counts = ControlCounts()
    counts.add(tokenizer, record.prompt, [record.completion])
    assert dict(counts.plain) == {end: 1, start: 1}


def test_the_length_of_calls_and_tools_counts_before_anything_is_tokenized() -> None:
    tokenizer = with_template(QWEN_2_5)
    rows = [Demonstration(**_parts(row_of([ASK, call("x" * 100_000)])))]
    _, (refused,) = encode_demonstrations(rows, tokenizer, 50)
    assert "characters are more than 50 tokens hold" in refused.reason


def _parts(row: dict[str, Any]) -> dict[str, Any]:
    record = parse_record(Demonstration, row)
    return {"prompt": record.prompt, "completion": record.completion}


WORDS = st.text(st.sampled_from("ab é電\n\"\\<{'}"), max_size=5)
CALL_TURNS = st.builds(
    lambda content, arguments: {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"type": "function", "function": {"name": "tide", "arguments": one}} for one in arguments],
    },
    WORDS,
    st.lists(
        st.dictionaries(WORDS.filter(str.strip), WORDS | st.integers(-9, 9), max_size=2), min_size=1, max_size=2
    ),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(turns=st.lists(st.tuples(CALL_TURNS, WORDS), min_size=1, max_size=2), last=WORDS)
def test_any_loop_of_calls_is_the_templates_own_text(turns: list[tuple[dict[str, Any], str]], last: str) -> None:
    """Learned are the assistant's turns with their calls, and one end for each."""
    talk: list[dict[str, Any]] = [ASK]
    for called, result in turns:
        talk += [called, {"role": "tool", "content": result}]
    pieces = rendered(with_template(QWEN_2_5), row_of([*talk, say(last)]))
    learned = [piece for piece in pieces if not piece.startswith("(\n<|im_start|>user")]
    assert "".join(learned).count("<|im_end|>") == len(turns) + 1
    assert "<tool_response>" not in "".join(learned)
