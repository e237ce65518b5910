"""Encoding of records: shared completions, refused rows, and the tokens that the policy chooses."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tiny import config_of, prompts_of, render_completion

from gnomon.core.errors import DataError
from gnomon.core.types import (
    Completion,
    Demonstration,
    Label,
    Message,
    Preference,
    Prompt,
    Ranking,
    RejectedRow,
)
from gnomon.data.batching import totals_of
from gnomon.data.encoding import (
    ENCODE,
    Example,
    PairIndices,
    RankedIndices,
    check_lengths,
    context_length,
    encode_answer,
    encode_completions,
    encode_demonstrations,
    encode_labels,
    encode_preferences,
    encode_rankings,
    token_limit,
)
from gnomon.data.reading.media.columns import MEDIA_COLUMNS
from gnomon.data.records import parse_record
from gnomon.data.templates.chat_template import render_text
from gnomon.data.templates.rendering import render_prompt

A, B = prompts_of("first", "second")
TALK = (Message("assistant", "good"), Message("user", "why"), Message("assistant", "very good"))


def text(content: str, ids: tuple[int, ...] | None = None) -> Completion:
    return Completion(id=content, text=content, token_ids=ids)


def test_a_completion_in_several_pairs_is_encoded_once(chat_tokenizer: Any) -> None:
    """good > bad and good > poor of A, in two places of the file, share "good": three completions, two pairs."""
    records = [
        Preference(A, text("good"), text("bad"), probability=0.8, margin=1.5, weight=2.0),
        Preference(B, text("yes"), text("no")),
        Preference(A, text("good"), text("poor")),
    ]
    examples, rejected = encode_preferences(records, chat_tokenizer, 100)
    assert not rejected
    assert [e.prompt_id for e in examples] == ["p0", "p1"]
    assert examples[0].pairs == (PairIndices(0, 1, 0.8, 1.5, 2.0), PairIndices(0, 2, 1.0, 0.0, 1.0))
    expected = [tuple(render_completion(chat_tokenizer, t, "")) for t in ("good", "bad", "poor")]
    assert list(examples[0].completions) == expected
    assert totals_of(examples).rows == 3


def test_comparisons_of_a_prompt_that_share_no_completion_are_examples_of_their_own(chat_tokenizer: Any) -> None:
    """a–b, c–d, e–f, d–a, g–h: the fourth links the first two, over completions of theirs."""
    pairs = [Preference(A, text(x), text(y)) for x, y in ("ab", "cd", "ef", "da", "gh")]
    examples, _ = encode_preferences(pairs, chat_tokenizer, 100)
    assert [len(e.pairs) for e in examples] == [3, 1, 1]
    assert [(p.chosen, p.rejected) for p in examples[0].pairs] == [(0, 1), (2, 3), (3, 0)]
    assert [len(e.completions) for e in examples] == [4, 2, 2]
    assert {e.prompt_id for e in examples} == {"p0"}
    assert totals_of(examples).rows == 5
    rankings = [Ranking(A, tuple(map(text, letters))) for letters in ("abc", "def", "cg")]
    assert [len(e.rankings) for e in encode_rankings(rankings, chat_tokenizer, 100)[0]] == [2, 1]


def test_thousands_of_pairs_of_one_prompt_are_split_quickly(chat_tokenizer: Any) -> None:
    pairs = [Preference(A, text("", (n, 1)), text("", (n, 2))) for n in range(5_000)]
    started = time.process_time()
    assert len(encode_preferences(pairs, chat_tokenizer, 100)[0]) == 5_000
    assert time.process_time() - started < 5  # 0.1 s; pair by pair against all others it would be minutes


def test_pairs_that_become_equal_are_rejected_by_tokens_not_text(chat_tokenizer: Any) -> None:
    """Sampled ids count, whatever the texts: these two are the same completion; "Yes " and "Yes" are not."""
    same = Preference(A, text("x", (5, 6)), text("y", (5, 6)))
    other = Preference(A, text("Yes "), text("Yes"))
    examples, rejected = encode_preferences([same, other], chat_tokenizer, 100)
    assert [r.where for r in rejected] == ["preference 1 (prompt 'p0')"]
    assert "same tokens" in rejected[0].reason
    assert len(examples[0].pairs) == 1


def test_rows_that_are_too_long_are_rejected_and_counted(chat_tokenizer: Any) -> None:
    limit = len(render_prompt(chat_tokenizer, A)) + len(render_completion(chat_tokenizer, "good", ""))
    examples, rejected = encode_demonstrations(
        [Demonstration(A, text("good")), Demonstration(A, text("good film good"))], chat_tokenizer, limit
    )
    assert len(examples) == len(rejected) == 1
    assert rejected[0].where == "demonstration 2 ('good film good')"
    assert f"more than the {limit} that max_tokens and the model's context allow" in rejected[0].reason
    pairs = [Preference(A, text("good"), text("good film good")), Preference(A, text("good"), text("a"))]
    examples, rejected = encode_preferences(pairs, chat_tokenizer, limit)
    assert [len(e.pairs) for e in examples] == [1]
    assert [r.where for r in rejected] == ["preference 1 (prompt 'p0')"]
    assert encode_preferences(pairs[:1], chat_tokenizer, limit)[0] == []


def test_sampled_ids_are_never_tokenised_again(chat_tokenizer: Any) -> None:
    """g-o-o-d as four tokens is not how the tokenizer would write it."""
    odd = tuple(chat_tokenizer.convert_tokens_to_ids(list("good")))
    assert odd != tuple(render_completion(chat_tokenizer, "good", ""))[:-1]
    both = [text("good", odd), text("good")]
    sampled, written = encode_completions([A, A], both, chat_tokenizer, chat_tokenizer)
    assert isinstance(sampled, Example)
    assert isinstance(written, Example)
    assert sampled.completions == (odd,)
    assert written.completions == (tuple(render_completion(chat_tokenizer, "good", "")),)


def test_sampled_ids_of_another_vocabulary_are_not_read(chat_tokenizer: Any, bare_tokenizer: Any) -> None:
    """Nor are ids of an unknown tokenizer."""
    expected = tuple(render_completion(chat_tokenizer, "good", ""))
    for sampled_by in (bare_tokenizer, None):
        (result,) = encode_completions([A], [text("good", (9, 8))], chat_tokenizer, sampled_by)
        assert isinstance(result, Example)
        assert result.completions == (expected,)


def test_labels_keep_their_order_and_values(chat_tokenizer: Any) -> None:
    records = [Label(A, text("x" * 400), True), Label(A, text("a"), False, 2.0), Label(B, text("b"), True)]
    examples, rejected = encode_labels(records, chat_tokenizer, 100)
    assert [(e.prompt_id, e.good, e.weight) for e in examples] == [("p0", False, 2.0), ("p1", True, 1.0)]
    assert rejected[0].where == f"label 1 ('{'x' * 400}')"


def test_rankings_of_a_prompt_share_its_completions(chat_tokenizer: Any) -> None:
    """good > bad > poor and poor > good: three completions, two orders."""
    good, bad, poor = text("good"), text("bad"), text("poor")
    records = [Ranking(A, (good, bad, poor)), Ranking(A, (poor, good), 0.5), Ranking(A, (bad, bad))]
    examples, rejected = encode_rankings(records, chat_tokenizer, 100)
    assert examples[0].rankings == (RankedIndices((0, 1, 2), 1.0), RankedIndices((2, 0), 0.5))
    assert examples[0].loss_terms == 2
    assert [r.where for r in rejected] == ["ranking 3 (prompt 'p0')"]
    assert "remove the ranking" in rejected[0].reason


def test_only_the_assistants_turns_count(chat_tokenizer: Any) -> None:
    """Of "good", its end, a user's turn and header, "very good", its end: the answers and two ends count."""
    several = Completion("t", "…", turns=TALK)
    kinds: dict[type, Any] = {
        Demonstration: Demonstration(A, several),
        Label: Label(A, several, True),
        Preference: Preference(A, text("no"), several),
        Ranking: Ranking(A, (text("no"), several)),
    }
    answers = render_completion(chat_tokenizer, "good", "") + render_completion(chat_tokenizer, "very good", "")
    for kind, record in kinds.items():
        (example,), rejected = ENCODE[kind]([record], chat_tokenizer, 200)
        assert not rejected
        ids, mask = example.completions[-1], example.masks[-1]
        assert [i for i, counts in zip(ids, mask, strict=True) if counts] == answers
        others = sum(map(len, example.completions[:-1]))
        assert totals_of([example]).tokens == len(answers) + others
        assert example.cost == len(example.prompt) + len(ids) + others
    (scored,) = encode_completions([A], [several], chat_tokenizer)
    assert isinstance(scored, Example)
    assert scored.masks == (mask,)


def test_an_answer_without_a_turn_of_the_assistant_is_refused_by_row(chat_tokenizer: Any) -> None:
    silent = Completion("s", "", turns=(Message("tool", "42"),))
    rows = [Demonstration(A, text("a")), Demonstration(A, silent)]
    examples, (refused,) = encode_demonstrations(rows, chat_tokenizer, 200)
    assert len(examples) == 1
    assert (refused.where, refused.reason) == (
        "demonstration 2 ('s')",
        "it has no turn of the assistant; remove it",
    )


def test_the_context_limits_max_tokens() -> None:
    llama, gpt2 = (config_of(kind, 61, 1) for kind in ("llama", "gpt2"))
    assert (context_length(llama), context_length(gpt2)) == (256, 128)
    assert (token_limit(1024, llama), token_limit(100, llama)) == (256, 100)


def test_prompts_that_leave_no_room_are_refused_before_sampling(chat_tokenizer: Any) -> None:
    """The context is 256: its rest after the longer prompt is the largest possible max_tokens."""
    prompts, config = [A, *prompts_of("a very good film " * 12)[:1]], config_of("llama", len(chat_tokenizer), 1)
    room = 256 - max(len(render_prompt(chat_tokenizer, p)) for p in prompts)
    assert 0 < room < 256
    check_lengths(prompts, chat_tokenizer, room, config)
    with pytest.raises(DataError, match=rf"prompt 'p0' has {256 - room} tokens, .* of {room + 1} exceed"):
        check_lengths(prompts[1:], chat_tokenizer, room + 1, config)
    with pytest.raises(DataError, match=r"prompt 'p0' \(and 1 more\) has"):
        check_lengths(prompts, chat_tokenizer, 250, config)


DRAWN = {"prompt": "Q", "images": ["a.png"]}
PICTURE = [{"role": "assistant", "content": [{"type": "image", "image": "b.png"}]}]


@pytest.mark.parametrize(
    ("kind", "row", "counted"),
    [
        (Demonstration, {**DRAWN, "completion": "x"}, "1 image"),
        (Demonstration, {"prompt": "Q", "completion": PICTURE}, "1 image"),
        (Preference, {**DRAWN, "audio": "c.wav", "chosen": "x", "rejected": "y"}, "1 image and 1 sound"),
        (Preference, {"prompt": "Q", "chosen": PICTURE, "rejected": "y"}, "1 image"),
        (Label, {"prompt": "Q", "videos": ["a", "b"], "completion": "x", "label": True}, "2 videos"),
        (Ranking, {**DRAWN, "completions": ["x", "y", "z"]}, "1 image"),
    ],
)
def test_records_with_media_are_rejected_and_counted(
    chat_tokenizer: Any, kind: type, row: dict[str, Any], counted: str
) -> None:
    """Never encoded without their image; the others are, and the numbers add up."""
    plain = {key: "x" if value is PICTURE else value for key, value in row.items()}
    plain = {key: value for key, value in plain.items() if key not in MEDIA_COLUMNS}
    records: list[Any] = [parse_record(kind, one) for one in (plain, row, {**plain, "prompt": "R"})]
    examples, rejected = ENCODE[kind](records, chat_tokenizer, 100)
    assert (len(examples), len(rejected)) == (2, 1)
    assert rejected[0].reason == f"it has {counted}, which no model here reads; remove the row"
    everything = [one for example in examples for one in (example.prompt, *example.completions)]
    assert not any("png" in chat_tokenizer.decode(ids) for ids in everything)


def test_no_way_to_a_models_tokens_passes_an_image(chat_tokenizer: Any) -> None:
    """Completions to score, one answer, a prompt, its length, and a template's text."""
    drawn: Prompt = parse_record(Prompt, DRAWN)
    (scored,) = encode_completions([drawn], [text("x")], chat_tokenizer)
    assert isinstance(scored, RejectedRow)
    assert scored.reason == "it has 1 image, which no model here reads; remove the row"
    (sampled,) = encode_completions([drawn], [text("x", (5,))], chat_tokenizer, sampled_by=chat_tokenizer)
    assert isinstance(sampled, RejectedRow)
    picture = parse_record(Demonstration, {"prompt": "Q", "completion": PICTURE})
    for encode in (
        lambda: render_prompt(chat_tokenizer, drawn),
        lambda: encode_answer(chat_tokenizer, drawn, text("x"), "row 1"),
        lambda: encode_answer(chat_tokenizer, picture.prompt, picture.completion, "row 1"),
        lambda: check_lengths([drawn], chat_tokenizer, 1, config_of("llama", 61, 1)),
        lambda: render_text(chat_tokenizer, drawn.messages, "row 1", answer=True),
    ):
        with pytest.raises(DataError, match="it has 1 image, which no model here reads; remove the row"):
            encode()
