"""Stages on rows with images: each is rejected with its reason, and a stage with nothing else ends with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from media_rows import REFUSAL
from project import Project, Ran, write_rows
from tiny import tiny_policy, tiny_reward_model

from gnomon.core.errors import DataError
from gnomon.core.progress import StopSignal
from gnomon.core.storage.files import read_json, read_jsonl
from gnomon.core.types import Completion, Demonstration, Prompt
from gnomon.data.records import parse_record, read_records
from gnomon.data.reported_rows import readable_records
from gnomon.models.engine.device import find_compute
from gnomon.pipeline.preflight import check_inputs
from gnomon.pipeline.recipe import build_recipe, load_recipe
from gnomon.rewards.encoder_reward import EncoderReward
from gnomon.rewards.reward import LearnedReward
from gnomon.rollouts.openai_client import _chat_message
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling
from gnomon.stages.common import encoded_data
from gnomon.stages.feedback import FeedbackStage, rated_texts
from gnomon.stages.workspace import Workspace
from gnomon.training.online.offline_completions import store_completions

DRAWN = {"images": ["a.png"]}
# Of each stage the rows that are read, those that are refused, and the examples: pairs of one prompt are joined.
LEFT = {"sft": (8, 4, 8), "judge": (5, 3, 4), "aligned": (3, 1, 3)}
FILES = {"sft": "demonstrations", "judge": "preferences", "aligned": "prompts"}


def add_images(project: Project, *, all_rows: bool = False) -> None:
    """Give every third row of the project's files, or each row, an image."""
    for name in FILES.values():
        path = project.folder / f"{name}.jsonl"
        rows = [{**row, **(DRAWN if all_rows or n % 3 == 1 else {})} for n, row in enumerate(read_jsonl(path))]
        write_rows(path, rows)


@pytest.mark.parametrize("on_disk", [False, True])
def test_each_stage_learns_from_the_other_rows(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    on_disk: bool,
) -> None:
    """12 demonstrations, 8 preferences and 4 prompts, of which 4, 3 and 1 have an image."""
    add_images(project)
    monkeypatch.setenv("GNOMON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoded_data, "is_large", lambda path: on_disk)
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    recipe["stages"] = recipe["stages"][: 2 if on_disk else 4]
    project.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    project.go("sft.training.log_samples_every=1")
    for stage, (read, refused, examples) in LEFT.items():
        if on_disk and stage == "aligned":
            continue
        rejected = list(read_jsonl(project.run / stage / "rejected.jsonl"))
        assert [row["where"].rpartition(", ")[2] for row in rejected] == [
            f"line {number}" for number in range(2, read + refused + 1, 3)
        ]
        assert {row["reason"] for row in rejected} == {f"{REFUSAL}; remove the row"}
        if stage != "aligned":
            result = read_json(project.run / stage / "result.json")
            assert (result["examples"], result["rejected"]) == (examples, refused)
    assert list(read_jsonl(project.run / "sft" / "samples.jsonl"))
    if not on_disk:
        samples = list(read_jsonl(project.run / "report" / "samples.jsonl"))
        assert {one["prompt"] for one in samples} == {
            "How was Solaris?",
            "How was Playtime?",
            "How was 花样年华?",
        }
    printed = " ".join(capsys.readouterr().err.split())
    assert "4 of 12 rows of" in printed
    assert f"refused, the first at line 2: {REFUSAL}" in printed


def test_data_with_nothing_but_images_ends_before_the_first_stage(
    project: Project, ask: Callable[..., Ran]
) -> None:
    add_images(project, all_rows=True)
    code, _, err = ask("run", project.recipe)
    assert code == 2
    assert f"none of its 12 records is text alone, the first at line 1: {REFUSAL}" in err.replace("\n", " ")
    assert ask("check", project.recipe)[0] == 2
    assert not project.run.exists()


@pytest.mark.parametrize("name", FILES.values())
def test_each_kind_of_data_is_checked(project: Project, name: str) -> None:
    path = project.folder / f"{name}.jsonl"
    write_rows(path, [{**row, **DRAWN} for row in read_jsonl(path)])
    with pytest.raises(DataError, match=f"{name}.jsonl: none of its .* records is text alone"):
        check_inputs(load_recipe(project.recipe, []))
    write_rows(path, list(read_jsonl(path))[:1])
    with pytest.raises(DataError, match=f"{name}.jsonl: its only record, line 1: {REFUSAL}; give other data"):
        check_inputs(load_recipe(project.recipe, []))


def test_a_stage_without_readable_records_names_the_row() -> None:
    drawn: Prompt = parse_record(Prompt, {"prompt": "Q", "images": ["a", "b"]})
    plain: Prompt = parse_record(Prompt, {"prompt": "Q"})
    readable, rejected = readable_records({"x.jsonl": [drawn, plain], "y.jsonl": [plain]}, "aligned")
    assert readable == {"x.jsonl": [plain], "y.jsonl": [plain]}
    assert [(row.where, row.content) for row in rejected] == [(f"prompt '{drawn.id}'", "Q")]
    with pytest.raises(DataError) as error:
        readable_records({"x.jsonl": [drawn]}, "aligned")
    assert str(error.value).startswith("stage 'aligned': x.jsonl: its only row is refused, prompt")
    assert "it has 2 images, which no model here reads; remove the row" in str(error.value)


def ratings(count: int, **more: Any) -> list[dict[str, Any]]:
    rows = ({"id": f"{n}", "prompt": "Q", "text": f"Film {n}.", "ratings": [n % 5, n % 3]} for n in range(count))
    return [{**row, **more} for row in rows]


def test_rated_texts_about_images_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ratings.jsonl"
    content = {"run": "run", "model": {"name": "m"}, "stages": [{"name": "people", "feedback": str(path)}]}
    recipe = build_recipe(content, "recipe.yaml")
    (stage,) = recipe.stages
    assert isinstance(stage, FeedbackStage)
    work = Workspace(tmp_path / "run", recipe, find_compute("cpu", "float32"), StopSignal())
    write_rows(path, [*ratings(3), {**ratings(4)[3], **DRAWN}])
    items, rejected = rated_texts(stage, work)
    assert [item.id for item in items] == ["0", "1", "2"]
    assert [(row.where, row.reason) for row in rejected] == [(f"{path}, line 4", f"{REFUSAL}; remove the row")]
    write_rows(path, ratings(2, **DRAWN))
    with pytest.raises(DataError) as error:
        rated_texts(stage, work)
    assert f"{path}: all 2 rows are refused, 2 of them as line 1: {REFUSAL}; remove the row." in str(error.value)


def test_sampling_refuses_by_row(tmp_path: Path, tiny_model: Path, ask: Callable[..., Ran], words: Any) -> None:
    """Before the model is loaded; and in the sampler itself."""
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"prompt": "Q"}, {"prompt": "Q", **DRAWN}])
    code, _, err = ask("sample", tiny_model, "--prompts", path)
    assert (code, err) == (2, f"error: {path}, line 2: {REFUSAL}; remove the row.\n")
    with pytest.raises(DataError, match=REFUSAL):
        NativeSampler(tiny_policy(words)).sample(read_records(Prompt, path)[1:], Sampling(max_tokens=2), seed=0)


def test_a_reward_model_gives_such_a_row_no_score(chat_tokenizer: Any) -> None:
    reward = LearnedReward(tiny_reward_model(chat_tokenizer), "judge")
    prompts = [parse_record(Prompt, {"prompt": "Q", **more}) for more in ({}, DRAWN)]
    scores = reward.score(prompts, [Completion("a", "A")] * 2)
    assert scores.values.isfinite().tolist() == [True, False]
    assert [(row, reason) for row, reason in scores.failures] == [(1, f"{REFUSAL}; remove the row")]


def test_an_encoder_that_reads_one_message_refuses_its_image() -> None:
    reward = EncoderReward(None, "encoder")  # type: ignore[arg-type]
    scores = reward.score([parse_record(Prompt, {"prompt": "Q", **DRAWN})], [Completion("a", "A")])
    assert (scores.values.isnan().tolist(), scores.failures) == ([True], [(0, REFUSAL)])


def test_no_judge_scores_such_a_row_as_if_it_had_no_image(tmp_path: Path, ask: Callable[..., Ran]) -> None:
    """A lexicon reads texts alone too: a picture is nothing that it could leave out."""
    path, out = tmp_path / "rows.jsonl", tmp_path / "scored.jsonl"
    rows = [{"prompt": "Q", "completion": f"Good {n}."} for n in range(3)]
    write_rows(path, [rows[0], {**rows[1], **DRAWN}, rows[2]])
    code, printed, err = ask("score", "vader", path, "--out", out)
    assert code == 0
    assert f"{path}, line 2 has no score: {REFUSAL}" in " ".join((printed + err).split())
    scored = list(read_jsonl(out))
    assert [row["score"] is None for row in scored] == [False, True, False]
    assert parse_record(Demonstration, scored[1]).prompt.messages[0].media[0].source == "a.png"
    write_rows(path, [{**rows[0], **DRAWN}])
    code, _, err = ask("score", "vader", path)
    assert code == 2
    assert f"failed on every completion: {REFUSAL}." in " ".join(err.split())


def test_stored_completions_of_such_prompts_are_rejected(chat_tokenizer: Any) -> None:
    rows = [parse_record(Demonstration, {"prompt": "Q", "completion": "A", **more}) for more in ({}, DRAWN)]
    stored, rejected = store_completions(rows, chat_tokenizer, share=0.5, limit=9, micro_batch_tokens=99)
    assert list(stored.answers) == [rows[0].prompt.context]
    assert [row.reason for row in rejected] == [f"{REFUSAL}; remove the row"]


def test_no_image_goes_to_a_server() -> None:
    drawn: Prompt = parse_record(Prompt, {"prompt": "Q", **DRAWN})
    with pytest.raises(DataError, match=f"a message of the user: {REFUSAL}"):
        _chat_message(drawn.messages[0])
