"""Held-out prompts that were trained on, by any stage before the candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import write_rows

from gnomon.core.storage.files import read_json
from gnomon.pipeline.recipe import build_recipe
from gnomon.pipeline.run import run_recipe

TRAINING = {"micro_batch_tokens": 256, "epochs": 1, "warmup": 0}


def recipe(folder: Path, model: Path, **aligned: Any) -> dict[str, Any]:
    """SFT on prompts 1 and 2, a stage after it, an evaluation on prompts 1 to 5, the second in other spaces."""
    write_rows(folder / "sft.jsonl", [{"prompt": f"Prompt {n}", "completion": "Good."} for n in (1, 2)])
    write_rows(folder / "pairs.jsonl", [{"prompt": "Prompt 3", "chosen": "Good.", "rejected": "Bad."}])
    write_rows(folder / "online.jsonl", [{"prompt": "Prompt 4"}])
    write_rows(
        folder / "held_out.jsonl",
        [{"prompt": t} for t in ("Prompt 1", "Prompt  2 ", *map("Prompt {}".format, (3, 4, 5)))],
    )
    return {
        "run": str(folder / "run"),
        "model": {"name": str(model), "adapter": "none", "device": "cpu"},
        "stages": [
            {"name": "sft", "algorithm": "sft", "data": str(folder / "sft.jsonl"), "training": TRAINING},
            {"name": "aligned", "model": "sft", **aligned},
            {
                "name": "report", "evaluate": ["base", "aligned"], "prompts": str(folder / "held_out.jsonl"),
                "judges": ["vader"], "sampling": {"max_tokens": 4},
            },
        ],
    }  # fmt: skip


@pytest.mark.parametrize(("online", "count"), [(False, 3), (True, 3)])
def test_prompts_of_each_earlier_training_are_counted(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], online: bool, count: int
) -> None:
    """SFT has two of the five; DPO the third, or the online stage the fourth."""
    aligned: dict[str, Any] = (
        {
            "algorithm": "rloo", "prompts": str(tmp_path / "online.jsonl"), "reward": "vader",
            "training": {"steps": 1, "prompts_per_step": 1}, "sampling": {"max_tokens": 4, "completions": 2},
        }
        if online
        else {"algorithm": "dpo", "data": str(tmp_path / "pairs.jsonl"), "training": TRAINING}
    )  # fmt: skip
    page = run_recipe(build_recipe(recipe(tmp_path, tiny_model, **aligned), "test"))
    result = read_json(tmp_path / "run" / "report" / "result.json")
    assert (result["trained_prompts"], result["prompts"]) == (count, 5)
    printed = " ".join(capsys.readouterr().err.split())
    assert f"trained on {count} of 5 held-out prompts, the first at" in printed
    assert f"was trained on {count} of the 5 prompts" in page.read_text(encoding="utf-8")
