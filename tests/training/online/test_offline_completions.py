"""Completions that others wrote in a round's groups: which, how many, and with whose log-probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from function_reward import FunctionReward
from loops import online, recorded, weights_of
from project import Project, write_rows
from tiny import prompts_of, shake

from gnomon.core.errors import ConfigError, DataError, Interrupted
from gnomon.core.progress import StopSignal
from gnomon.core.storage.files import read_jsonl
from gnomon.core.types import Completion, Demonstration, Message, Prompt
from gnomon.training.online.offline_completions import StoredCompletions, store_completions
from gnomon.training.online.round_metrics import on_policy_rows
from gnomon.training.runtime.model_bundle import TrainedModels
from gnomon.training.settings import Exploration, Replay

TEXTS = {"a": ["b", "c c", "a b c"], "b c": ["a a a a"]}


def stored(words: Any, *, share: float = 0.5, limit: int = 5) -> StoredCompletions:
    rows = [
        Demonstration(Prompt(f"other-{prompt}", (Message("user", prompt),)), Completion(f"{prompt}/{n}", text))
        for prompt, texts in TEXTS.items()
        for n, text in enumerate(texts)
    ]
    completions, rejected = store_completions(rows, words, share=share, limit=limit, micro_batch_tokens=8)
    assert len(rejected) == sum(len(text.split()) >= limit for texts in TEXTS.values() for text in texts)
    return completions


def test_they_fill_their_share_of_a_group(tmp_path: Path, words: Any) -> None:
    loop = online(tmp_path, words, prompts_per_step=4, sampling={"completions": 4})
    loop.stored = stored(words)
    rollouts = loop.sample(1)
    groups = {p.messages[0].content: [r for r in rollouts if r.prompt.id == p.id] for p in loop.prompts}  # type: ignore[union-attr]
    assert {prompt: sum(r.off_policy for r in group) for prompt, group in groups.items()} == {
        "a": 2, "b c": 1, "c c c": 0, "a b a": 0,
    }  # fmt: skip
    assert all(sum(not r.off_policy for r in group) == 2 for group in groups.values())
    drawn_texts = [r.completion.text for r in groups["a"] if r.off_policy]
    assert len(set(drawn_texts)) == 2
    assert set(drawn_texts) < set(TEXTS["a"])
    assert all(r.finished and r.token_ids[-1] == words.eos_token_id for r in rollouts if r.off_policy)
    assert on_policy_rows(rollouts) == [row for row, r in enumerate(rollouts) if not r.off_policy]


def test_the_policys_own_log_probabilities_stand_for_the_unknown_ones(tmp_path: Path, words: Any) -> None:
    loop = online(tmp_path, words, sampling={"completions": 4}, exploration=Exploration(reference_share=0.25))
    loop.stored = stored(words)
    shake(loop.models.policy)
    rollouts = loop.sample(1)
    recomputed = loop.evaluator.add_policy_logprobs(
        loop.assemble_experience(1, rollouts, torch.zeros(len(rollouts)))
    )
    assert recomputed.sampler_logprobs is not None
    gap = (recomputed.old_logprobs - recomputed.sampler_logprobs).abs().amax(1)
    written = torch.tensor([r.completion.id.startswith(("a/", "b c/")) for r in rollouts])
    reference = torch.tensor([r.off_policy for r in rollouts]) & ~written
    assert written.sum() >= 1
    assert gap[written].max() < 1e-5, "left out of the ratio"
    assert gap[reference].min() > 1e-3, "weighted"


def test_the_seed_decides_and_a_group_has_none_twice(words: Any, tmp_path: Path) -> None:
    policy, completions = online(tmp_path, words).models.policy, stored(words)
    prompts = prompts_of("a", "a")

    def draw(seed: int) -> list[list[str]]:
        drawn = completions.draw(
            policy, prompts, 2, temperature=1.0, seed=seed, policy_version=0, occurrences=[0, 1]
        )
        return [[r.completion.text for r in group] for group in drawn]

    first, second = draw(1)
    assert draw(1) == [first, second]
    assert sorted(first + second) == sorted(TEXTS["a"])
    assert len({tuple(draw(seed)[0]) for seed in range(20)}) > 1


def test_a_prompt_that_stands_twice_in_a_round_takes_others_the_second_time(words: Any, tmp_path: Path) -> None:
    loop = online(tmp_path, words, prompts_per_step=8, sampling={"completions": 4})
    loop.stored = stored(words, share=0.5)
    written = [r.completion.text for r in loop.sample(1) if r.completion.id.startswith("a/")]
    assert sorted(written) == sorted(TEXTS["a"])


def test_longer_ones_than_the_policy_may_write_are_refused(words: Any) -> None:
    assert stored(words, limit=3).answers.keys() == {(Message("user", "a"),)}


def test_a_batch_s_size_changes_nothing(words: Any, tmp_path: Path) -> None:
    policy, completions = online(tmp_path, words).models.policy, stored(words)
    other = StoredCompletions(completions.answers, completions.share, 10_000)
    draws = [
        s.draw(policy, prompts_of("a", "b c"), 3, temperature=0.7, seed=0, policy_version=0, occurrences=[0, 0])
        for s in (completions, other)
    ]
    for a, b in zip(*draws, strict=True):
        for one, two in zip(a, b, strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-5)


def test_the_policy_learns_to_write_what_scores(tmp_path: Path, words: Any) -> None:
    """A stored completion that alone is rewarded becomes likelier, although the policy hardly draws it."""
    only = FunctionReward(lambda prompt, text: float(text == "a b c"), "r")
    loop = online(tmp_path, words, reward=only, steps=12, sampling={"completions": 4}, truncation_score=None)
    loop.stored = stored(words, share=0.75)
    target = next(r for r in loop.sample(1) if r.completion.text == "a b c")

    def likelihood() -> float:
        (group,) = loop.stored.draw(  # type: ignore[union-attr]
            loop.models.policy, [target.prompt], 3, temperature=1.0, seed=0, policy_version=0, occurrences=[0]
        )
        return sum(next(r for r in group if r.completion.text == "a b c").logprobs)

    before = likelihood()
    loop.run()
    assert likelihood() > before + 0.5


def test_a_stop_goes_on_with_the_same(tmp_path: Path, words: Any) -> None:
    def run(name: str, **more: Any) -> TrainedModels:
        loop = online(tmp_path / name, words, replay=Replay(), sampling={"completions": 4}, **more)
        loop.stored = stored(words)
        loop.run()
        return loop.models

    stop = StopSignal()

    def before(call: int) -> None:
        stop.requested = stop.requested or call == 5

    whole = run("whole")
    with pytest.raises(Interrupted):
        run("cut", before=before, stop=stop)
    resumed = run("cut")
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    assert all(map(torch.equal, weights_of(resumed), weights_of(whole)))


def test_in_a_recipe(project: Project) -> None:
    """From the stage's own key; data that answers none of its prompts is refused."""
    rows = [
        {"prompt": row["prompt"], "completion": "Yes."} for row in read_jsonl(project.folder / "prompts.jsonl")
    ]
    write_rows(
        project.folder / "others.jsonl", [*rows, {"prompt": rows[0]["prompt"], "completion": "word " * 500}]
    )
    project.go(f"aligned.stored.data={project.folder / 'others.jsonl'}", "aligned.stored.share=0.5")
    (refused,) = read_jsonl(project.run / "aligned" / "rejected.jsonl")
    assert "sampling.max_tokens allows" in refused["reason"]
    write_rows(project.folder / "none.jsonl", [{"prompt": "Something else", "completion": "Yes."}])
    with pytest.raises(DataError, match=r"none\.jsonl answers none of the stage's prompts"):
        project.go(f"aligned.stored.data={project.folder / 'none.jsonl'}")


def test_some_of_a_group_are_the_policys(project: Project) -> None:
    with pytest.raises(ConfigError, match="stored ones and the reference's leave none to the policy"):
        project.go("aligned.stored.data=x.jsonl", "aligned.stored.share=0.9", "aligned.sampling.completions=4")
    with pytest.raises(ConfigError, match="sft has no use for the key 'stored'"):
        project.go("sft.stored.data=x.jsonl")
