"""Generated completions: each once, distinct, resumed after a stop; and the items created from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tiny import prompts_of

from gnomon.core.errors import DataError, ModelError
from gnomon.core.types import Completion, Prompt
from gnomon.feedback.generation.generate import GenerationResult, generate, run_generators
from gnomon.feedback.generation.generators import (
    GeneratedText,
    GenerationCache,
    GenerationRequest,
    Refusal,
    SaveCallback,
    message_texts,
)
from gnomon.feedback.generation.requests import GenerationSettings, request_for, too_similar
from gnomon.feedback.selection.items import create_items, prompt_completions
from gnomon.feedback.store.ingest import add_completions, add_prompts
from gnomon.feedback.store.schema import CompletionRow, ItemRow
from gnomon.feedback.store.store import BankPrompt, Project, Store

WORDS = ("ember", "quartz", "violin", "harbour", "meadow", "syrup", "lantern", "glacier", "thimble", "orchid")


class Writer:
    """A generator whose texts depend on the request alone, like a model of fixed weights."""

    def __init__(self, name: str, say: Callable[[GenerationRequest], str | Refusal]):
        self.name = name
        self.identity = {"digest": name}
        self.say = say
        self.orders: list[GenerationRequest] = []

    def write(
        self, requests: Sequence[GenerationRequest], save: SaveCallback
    ) -> Iterator[GeneratedText | Refusal]:
        for request in requests:
            self.orders.append(request)
            text = self.say(request)
            if isinstance(text, Refusal):
                yield text
                continue
            generated = GeneratedText(text, True, {"served_by": "v1"})
            save(request, generated)
            yield generated

    def close(self) -> None: ...


def various(request: GenerationRequest) -> str:
    """Texts that differ if the requests differ."""
    return " ".join(WORDS[int(digit)] for digit in str(request.seed))


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    feedback_store = Store(database)
    feedback_store.add_project(Project("films", "Which is better?", "pair", 1))
    yield feedback_store
    feedback_store.close()


@pytest.fixture
def prompts(store: Store) -> list[Prompt]:
    bank = prompts_of("Name a film.", "这部电影怎么样？", "Why?")
    add_prompts(store, "films", [BankPrompt(one) for one in bank])
    return bank


@pytest.fixture
def cache(tmp_path: Path) -> GenerationCache:
    return GenerationCache(tmp_path / "answers")


def rows(store: Store) -> list[CompletionRow]:
    with store.reading() as session:
        return list(session.scalars(select(CompletionRow).order_by(CompletionRow.key)))


def test_completions_are_stored_with_their_provenance(
    store: Store, prompts: list[Prompt], cache: GenerationCache
) -> None:
    writer, settings = (
        Writer("one", various),
        GenerationSettings(count=4, temperatures=(0.2, 0.9, 1.4), max_tokens=9, seed=3),
    )
    result = generate(store, "films", prompts, writer, settings, cache)
    assert result == GenerationResult(added=12)
    stored = rows(store)
    assert {row.source for row in stored} == {"one"}
    assert (
        sorted(row.generation["settings"]["temperature"] for row in stored) == [0.2] * 6 + [0.9] * 3 + [1.4] * 3
    )
    facts = stored[0].generation
    assert (facts["model"], facts["digest"], facts["served_by"], facts["tries"]) == ("one", "one", "v1", 1)
    assert facts["settings"] == {"temperature": 0.2, "top_p": 1.0, "max_tokens": 9}
    assert facts["seed"] == request_for(prompts[0], 0, 0, settings).seed
    assert len({row.generation["seed"] for row in stored}) == 12


def test_existing_completions_are_not_generated_again(
    store: Store, prompts: list[Prompt], cache: GenerationCache
) -> None:
    writer = Writer("one", various)
    generate(store, "films", prompts, writer, GenerationSettings(count=2), cache)
    assert len(writer.orders) == 6
    again = generate(store, "films", prompts, writer, GenerationSettings(count=3), cache)
    assert (again.added, again.known, len(writer.orders)) == (3, 6, 9)
    other = generate(store, "films", prompts, writer, GenerationSettings(count=1, seed=1), cache)
    assert (other.added, len(writer.orders)) == (3, 12)


def test_the_cache_serves_another_store(
    store: Store, prompts: list[Prompt], cache: GenerationCache, tmp_path: Path
) -> None:
    """The cache key has everything that the text depends on, and nothing else, such as the prompt's id."""
    writer = Writer("one", various)
    generate(store, "films", prompts, writer, GenerationSettings(), cache)
    other = Store(tmp_path / "other.db")
    other.add_project(Project("later", "Again", "pair", 1))
    renamed = [Prompt(f"q{n}", one.messages) for n, one in enumerate(prompts)]
    add_prompts(other, "later", [BankPrompt(one) for one in renamed])
    result = generate(other, "later", renamed, writer, GenerationSettings(), cache)
    assert (result.added, len(writer.orders)) == (6, 6)
    assert sorted(row.text for row in rows(other)) == sorted(row.text for row in rows(store))
    other.close()


@pytest.mark.parametrize("change", [{"max_tokens": 5}, {"top_p": 0.5}, {"seed": 1}, {"temperatures": (0.1,)}])
def test_the_cache_key_covers_every_setting(
    store: Store, prompts: list[Prompt], cache: GenerationCache, change: dict[str, Any]
) -> None:
    writer, plain, changed = Writer("one", various), GenerationSettings(), GenerationSettings(**change)
    generate(store, "films", prompts, writer, plain, cache)
    request = request_for(prompts[0], 0, 0, plain)
    assert cache.find(writer, request) == GeneratedText(various(request), True, {"served_by": "v1"})
    assert cache.find(writer, request_for(prompts[0], 0, 0, changed)) is None
    assert cache.find(Writer("two", various), request) is None


def test_the_cache_key_covers_tools_and_variables_of_the_template(prompts: list[Prompt]) -> None:
    """That of a prompt without any stays what it was: the digest of roles and contents."""
    plain = prompts[0]
    tooled = replace(plain, tools=('{"name": "tide", "description": ""}',))
    switched = replace(plain, chat_template_kwargs='{"enable_thinking": false}')
    assert message_texts(plain) == [["user", plain.messages[0].content]]
    assert len({json.dumps(message_texts(one)) for one in (plain, tooled, switched)}) == 3


def test_a_damaged_cache_file_is_one_sentence(
    store: Store, prompts: list[Prompt], cache: GenerationCache
) -> None:
    writer = Writer("one", various)
    generate(store, "films", prompts[:1], writer, GenerationSettings(count=1), cache)
    (file,) = cache.folder.rglob("*.json")
    for content in ("{", json.dumps({"text": "x"}), "[]"):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=r"remove it.* again"):
            cache.find(writer, request_for(prompts[0], 0, 0, GenerationSettings(count=1)))


def test_similar_completions_are_retried_hotter_and_rephrased(
    store: Store, prompts: list[Prompt], cache: GenerationCache
) -> None:
    """This generator repeats one sentence, with one of two endings, until the prompt is rephrased."""

    def say(request: GenerationRequest) -> str:
        text = request.prompt.messages[-1].content
        if "\n\n" in text:
            return f"As you say: {text.rpartition(chr(10))[2]} {various(request)}"
        return "The answer that I always give to everybody" + ("!" if request.temperature < 1 else ".")

    writer = Writer("one", say)
    result = generate(store, "films", prompts, writer, GenerationSettings(count=2, temperatures=(0.7,)), cache)
    assert (result.added, result.forced, result.too_similar) == (6, 3, 0)
    third = [request for request in writer.orders if "\n\n" in request.prompt.messages[-1].content]
    assert len(writer.orders) == 6 + 3 + 3  # plain, hotter, rephrased
    assert {request.temperature for request in third} == {1.3}
    forced = [row for row in rows(store) if row.generation["tries"] == 3]
    rephrasings = {row.generation["wording"] for row in forced}
    assert {request.prompt.id for request in third} == {"p0", "p1", "p2"}
    assert rephrasings == {
        "Answer briefly, in your own words.",
        "请用自己的话简短回答。",
    }  # in the prompt's language
    assert all("wording" not in row.generation for row in rows(store) if row.generation["tries"] == 1)
    again = generate(store, "films", prompts, writer, GenerationSettings(count=2, temperatures=(0.7,)), cache)
    assert (again.known, again.added, len(writer.orders)) == (6, 0, 12)


def test_retries_are_limited(store: Store, prompts: list[Prompt], cache: GenerationCache) -> None:
    writer = Writer("one", lambda _: "Always the very same words.")
    result = generate(
        store,
        "films",
        prompts[:1],
        writer,
        GenerationSettings(count=2, temperatures=(1.9,), rephrasings=("Else?",)),
        cache,
    )
    assert (result.added, result.too_similar, result.whole) == (1, 1, True)
    assert [request.temperature for request in writer.orders] == [1.9, 1.9, 2.0, 2.0, 2.0]
    assert [o.prompt.messages[-1].content.endswith("\n\nElse?") for o in writer.orders] == [False] * 3 + [
        True
    ] * 2


def test_similarity_is_checked_against_people_too(
    store: Store, prompts: list[Prompt], cache: GenerationCache
) -> None:
    by_hand = Completion("mine", "Always the very same words!", "a person")
    add_completions(store, "films", [("p0", by_hand, {})])
    result = generate(
        store,
        "films",
        prompts[:1],
        Writer("one", lambda _: "Always the very same words."),
        GenerationSettings(),
        cache,
    )
    assert (result.added, result.too_similar) == (0, 2)


def test_near_duplicates() -> None:
    assert too_similar("  \n", [], 0.7)
    assert too_similar("It is a  GOOD film indeed.", ["It is a good film indeed."], 0.7)
    assert not too_similar("It is a good film.", ["Nobody should have to sit through this."], 0.7)
    assert too_similar("这部电影非常好看，我和家人都很喜欢它。", ["这部电影非常好看，我和家人都很喜欢它！"], 0.7)
    assert not too_similar("好看。", ["难看。"], 0.7)


def test_a_stop_keeps_finished_completions(store: Store, prompts: list[Prompt], cache: GenerationCache) -> None:
    class Stop:
        def __bool__(self) -> bool:
            return len(writer.orders) >= 4

    writer = Writer("one", various)
    result = generate(store, "films", prompts, writer, GenerationSettings(count=3), cache, stop=Stop())
    assert (result.added, result.whole, len(rows(store))) == (4, False, 4)
    rest = generate(store, "films", prompts, writer, GenerationSettings(count=3), cache)
    assert (rest.known, rest.added, rest.whole, len(writer.orders)) == (4, 5, True, 9)


def test_a_crash_keeps_finished_completions(store: Store, prompts: list[Prompt], cache: GenerationCache) -> None:
    def say(request: GenerationRequest) -> str:
        if len(writer.orders) == 6:
            raise KeyboardInterrupt
        return various(request)

    writer = Writer("one", say)
    with pytest.raises(KeyboardInterrupt):
        generate(store, "films", prompts, writer, GenerationSettings(count=3), cache)
    assert len(rows(store)) == 5


def test_a_refused_prompt_does_not_stop_the_others(
    store: Store, prompts: list[Prompt], cache: GenerationCache
) -> None:
    writer = Writer("one", lambda request: Refusal("too long") if request.prompt.id == "p1" else various(request))
    result = generate(store, "films", prompts, writer, GenerationSettings(), cache)
    assert (result.added, result.refused) == (4, [("p1", "too long")] * 2)


def test_repeated_refusals_raise_an_error(store: Store, prompts: list[Prompt], cache: GenerationCache) -> None:
    writer = Writer("one", lambda _: Refusal("it has no words"))
    with pytest.raises(ModelError, match="one refused 5 prompts in a row; it has no words"):
        generate(store, "films", prompts, writer, GenerationSettings(count=9), cache)
    assert len(writer.orders) == 5


def test_a_generator_that_fails_is_recorded_or_raised(
    store: Store, prompts: list[Prompt], cache: GenerationCache
) -> None:
    """Three prompts with two completions each of the generator that works."""
    generators = [Writer("bad", lambda _: Refusal("it has no words")), Writer("good", various)]
    failures: dict[int, str] = {}
    result = run_generators(store, "films", prompts, generators, GenerationSettings(), cache, failures=failures)
    assert (result.added, list(failures)) == (6, [0])
    assert failures[0].startswith("bad refused 5 prompts in a row")
    with pytest.raises(ModelError, match="bad refused 5 prompts in a row"):
        run_generators(store, "films", prompts, generators, GenerationSettings(), cache)


def test_items_pair_different_sources(store: Store, prompts: list[Prompt], cache: GenerationCache) -> None:
    generators = (Writer("one", various), Writer("two", lambda request: various(request)[::-1]))
    for generator in generators:
        generate(store, "films", prompts, generator, GenerationSettings(), cache)
    result = create_items(store, "films")
    assert result.added == 3 * 4
    assert create_items(store, "films").added == 0  # each prompt has its items
    sources = {row.key: row.source for row in rows(store)}
    with store.reading() as session:
        items = [item.completions for item in session.scalars(select(ItemRow))]
    apart = sum(sources[a] != sources[b] for a, b in items)
    assert apart >= 9  # of 12; a fifth of each prompt's pairs, one of four, is drawn at random


def test_the_most_uncertain_pair_becomes_an_item(store: Store, prompts: list[Prompt]) -> None:
    """Of six completions, the two on which the ensemble's members differ become an item at once."""
    answers: list[tuple[str, Completion, dict[str, Any]]] = [
        (prompts[0].id, Completion(f"c{n}", WORDS[n], "one"), {}) for n in range(6)
    ]
    add_completions(store, "films", answers)
    first = [0.0, 9.0, 18.0, 27.0, 36.0, 36.0]
    second = [0.0, 9.0, 18.0, 27.0, 36.0, 32.0]
    for seed in range(3):
        result = create_items(store, "films", scores=lambda prompt, some: [first, second], count=6, seed=seed)
        assert result.added == (6 if seed == 0 else 0)
    (one, *_) = prompt_completions(store, "films")
    assert one.item_counts[frozenset(("c4", "c5"))] == 1


@pytest.mark.parametrize(("task", "sizes"), [("ranking", [3]), ("rating", [1] * 3), ("likert", [1] * 3)])
def test_items_of_other_tasks(store: Store, task: str, sizes: list[int]) -> None:
    store.add_project(Project("other", "How good?", task, 1, settings={"ranking_size": 3}))
    (prompt,) = prompts_of("Why?")
    add_prompts(store, "other", [BankPrompt(prompt)])
    add_completions(store, "other", [("p0", Completion(f"c{n}", WORDS[n]), {}) for n in range(3)])
    assert create_items(store, "other").added == len(sizes)
    assert create_items(store, "other").added == 0
    with store.reading() as session:
        assert [len(item.completions) for item in session.scalars(select(ItemRow))] == sizes
