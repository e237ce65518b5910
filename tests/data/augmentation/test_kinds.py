"""Each augmentation on preferences small enough to write down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gnomon.core.errors import ConfigError
from gnomon.core.types import Completion, Message, Preference, Prompt
from gnomon.data.augmentation.contract import Augmentation, AugmentationTools, Augmented
from gnomon.data.augmentation.registry import all_augmentations, build_augmentations, parse_kinds


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> Preference:
    return Preference(
        Prompt(prompt, (Message("user", prompt),)),
        Completion(chosen, chosen),
        Completion(rejected, rejected),
        **more,
    )


def no_score(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> list[float]:
    raise AssertionError("it needs no score")


def no_writer(by: str, prompts: Sequence[Prompt]) -> list[str | None]:
    raise AssertionError("it needs no writer")


def build(name: str, **settings: Any) -> Augmentation:
    return build_augmentations({name: settings}, "kinds")[0]


def augment(
    one: Augmentation, rows: Sequence[Preference], score: Any = no_score, write: Any = no_writer
) -> Augmented:
    return one.augment(rows, AugmentationTools(score, write), 0)


def sides(rows: Sequence[Preference]) -> list[tuple[str, str, str]]:
    return [(one.prompt.id, one.chosen.text, one.rejected.text) for one in rows]


def test_all_kinds_are_listed() -> None:
    assert set(all_augmentations()) == {
        "other_prompts",
        "chains",
        "soft_labels",
        "paraphrase",
        "back_translation",
    }


def test_an_answer_of_another_prompt_loses() -> None:
    rows = [pair("p", "a", "b", weight=2.0), pair("q", "c", "d")]
    made = augment(build("other_prompts", share=1, ties=False, weight=0.5), rows).preferences
    assert sides(made) == [("p", "a", "c"), ("q", "c", "a")]
    assert [one.weight for one in made] == [1.0, 0.5]
    both = augment(build("other_prompts", share=1, ties=False, against="both"), rows).preferences
    assert sides(both) == [("p", "a", "c"), ("p", "b", "c"), ("q", "c", "a"), ("q", "d", "a")]


def test_two_answers_of_other_prompts_tie() -> None:
    rows = [pair("p", "a", "b"), pair("q", "c", "d"), pair("r", "e", "f")]
    made = augment(build("other_prompts", share=1), rows).preferences
    own = [one for one in made if one.prompt.id == "p"]
    assert own[0].chosen.text == "a"
    assert {own[1].chosen.text, own[1].rejected.text} == {"c", "e"}
    assert (own[0].probability, own[1].probability) == (1.0, 0.5)


def test_answers_of_the_same_prompt_are_not_foreign() -> None:
    rows = [pair("p", "a", "b"), pair("p", "c", "d")]
    made = augment(build("other_prompts", share=1), rows)
    assert made.preferences == []
    assert made.left_out == {"no other prompt": 2}


def test_a_share_of_the_preferences_and_the_seed() -> None:
    rows = [pair(f"p{n}", f"a{n}", f"b{n}") for n in range(10)]
    one = build("other_prompts", share=0.3, ties=False)
    assert len(augment(one, rows).preferences) == 3
    assert augment(one, rows) == augment(one, rows)


def test_a_chain_concludes_with_less_weight_and_never_against_a_vote() -> None:
    rows = [
        pair("p", "a", "b", probability=0.9, margin=2.0),
        pair("p", "b", "c", probability=0.8, margin=1.0),
        pair("q", "a", "b"),
        pair("q", "b", "c"),
        pair("q", "c", "a", weight=0.5),
    ]
    made = augment(build("chains", factor=0.4), rows)
    assert sides(made.preferences) == [("p", "a", "c")]
    only = made.preferences[0]
    assert only.probability == pytest.approx(0.8)
    assert only.margin == pytest.approx(0.4)
    assert only.weight == pytest.approx(0.4)
    assert made.left_out == {"in cycles": 1}, "q votes that c beats a, so nothing is concluded against it"


def test_soft_labels_by_hand() -> None:
    """λ = 0.4: 0.6·1 + 0.4·σ(−2) = 0.647681; for a tie with σ(−2) the sides change places."""
    rows = [pair("p", "a", "b"), pair("p", "c", "d", probability=0.5, margin=1.0), pair("p", "e", "f")]
    scores = {"a": 0.0, "b": 2.0, "c": 1.0, "d": 3.0, "e": math.nan, "f": 0.0}
    made = augment(build("soft_labels", share=0.4), rows, lambda _, ones: [scores[one.text] for one in ones])
    first, second, third = made.preferences
    assert first.probability == pytest.approx(0.6476812)
    assert sides([second]) == [("p", "d", "c")]
    assert second.probability == pytest.approx(1 - (0.3 + 0.4 * 0.1192029), abs=1e-6)
    assert second.margin == -1.0
    assert third == rows[2]
    assert made.left_out == {"without a score": 1}


def writer(texts: Mapping[str, str | None]) -> Any:
    def write(by: str, prompts: Sequence[Prompt]) -> list[str | None]:
        assert by == "model"
        return [texts.get(one.messages[0].content.rpartition("\n\n")[2]) for one in prompts]

    return write


def test_both_sides_are_rewritten_and_the_label_stays() -> None:
    rows = [pair("p", "one two", "three four", probability=0.8, weight=2.0)]
    texts = {"one two": " two ones ", "three four": "four threes"}
    made = augment(build("paraphrase", by="model", weight=0.5), rows, write=writer(texts)).preferences
    assert sides(made) == [("p", "two ones", "four threes")]
    assert (made[0].probability, made[0].weight, made[0].chosen.source) == (0.8, 1.0, "model")
    assert made[0].chosen.id != rows[0].chosen.id


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"one two": "two ones"}, "not written"),
        ({"one two": "two ones", "three four": "  "}, "not written"),
        ({"one two": "two ones", "three four": "three four"}, "written as before"),
        (
            {"one two": "two ones", "three four": "three four and much more than there was"},
            "much shorter or longer",
        ),
        ({"one two": "two ones", "three four": "3"}, "much shorter or longer"),
        ({"one two": "the same", "three four": "the same"}, "both sides became equal"),
    ],
)
def test_a_pair_without_two_good_rewrites_is_left_out(texts: dict[str, str | None], reason: str) -> None:
    made = augment(build("paraphrase", by="model"), [pair("p", "one two", "three four")], write=writer(texts))
    assert made == Augmented([], {reason: 1})


def test_a_translation_goes_there_and_back() -> None:
    asked: list[str] = []

    def write(by: str, prompts: Sequence[Prompt]) -> list[str | None]:
        asked.extend(one.messages[0].content for one in prompts)
        return [one.messages[0].content.rpartition("\n\n")[2] + "'" for one in prompts]

    made = augment(
        build("back_translation", by="model", language="Chinese"), [pair("p", "aa", "bb")], write=write
    )
    assert sides(made.preferences) == [("p", "aa''", "bb''")]
    assert [text.split(". ")[0] for text in asked] == [
        "Translate the following text to French",
        "Translate the following text to French",
        "Translate the following text to Chinese",
        "Translate the following text to Chinese",
    ]


def test_answers_of_several_turns_are_not_rewritten() -> None:
    row = pair("p", "a", "b")
    row = replace(row, chosen=replace(row.chosen, turns=(Message("assistant", "a"), Message("user", "?"))))
    made = augment(build("paraphrase", by="model"), [row], write=writer({}))
    assert made == Augmented([], {"of several turns": 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chain": {}}, "kinds: 'chain' is no augmentation; did you mean 'chains'"),
        ({"chains": 0.5}, "kinds.chains is no mapping"),
        ({"chains": {"factor": 1.5}}, "a conclusion is weaker than a vote"),
        ({"paraphrase": {}}, "by"),
        ({"other_prompts": {"weight": 2}}, "weighs no more than a vote"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_augmentations(settings, "kinds")


def test_kinds_of_the_command_line() -> None:
    given = ["chains", "other_prompts.share=0.3", "other_prompts.ties=false", "soft_labels={share: 0.2}"]
    assert parse_kinds(given) == {
        "chains": {},
        "other_prompts": {"share": 0.3, "ties": False},
        "soft_labels": {"share": 0.2},
    }
    for wrong in ("chains=0.5", ".x=1", "chains.factor"):
        with pytest.raises(ConfigError, match="--kind"):
            parse_kinds([wrong])
