"""The ancestry of models whose algorithm or kind of stage comes from outside, without running their code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gnomon.core.storage.files import write_json
from gnomon.core.types import Demonstration, Preference
from gnomon.stages.common.independence.ancestry import TrainingData, ancestry


def stage(run: Path, name: str, settings: dict[str, Any], **record: Any) -> None:
    (run / name / "model").mkdir(parents=True)
    write_json(run / name / "stage.json", {"key": "0", "stage": {"name": name, **settings}, **record})


def rows(path: Path) -> str:
    path.write_text(json.dumps({"prompt": "q"}) + "\n", encoding="utf-8")
    return str(path)


def test_an_algorithm_from_outside_has_the_data_of_its_record(tmp_path: Path) -> None:
    pairs = rows(tmp_path / "pairs.jsonl")
    settings = {"algorithm": "gone.py:Margin", "data": pairs}
    code = {"gone.py:Margin": {"digest": "0", "consumes": "Preference", "trains": "reward"}}
    stage(tmp_path, "judge", settings, code=code)
    stage(tmp_path, "unknown", settings)
    known = ancestry("judge", tmp_path)
    assert known.judgements == known.data == {TrainingData(Path(pairs).resolve(), Preference)}
    assert ancestry("unknown", tmp_path).data == set()


def test_a_stage_from_outside_has_the_inputs_of_its_record(tmp_path: Path) -> None:
    shown = rows(tmp_path / "shown.jsonl")
    stage(tmp_path, "judge", {"algorithm": "reward_model", "data": rows(tmp_path / "pairs.jsonl")})
    inputs = {"models": ["judge"], "data": {shown: ["Demonstration"]}, "scorers": ["judge", "vader"]}
    stage(tmp_path, "distilled", {"teacher": "judge"}, inputs=inputs)
    known = ancestry("distilled", tmp_path)
    assert known.rewards == {str((tmp_path / "judge" / "model").resolve()), "vader"}
    assert TrainingData(Path(shown).resolve(), Demonstration) in known.data
    assert {one.path.name for one in known.judgements} == {"pairs.jsonl"}
