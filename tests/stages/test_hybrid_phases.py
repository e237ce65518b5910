"""What a phase of a hybrid stage begins with, and where a killed one goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from loops import Killed
from project import Project
from safetensors.torch import load_file
from torch import Tensor

from gnomon.core.storage.files import read_jsonl
from gnomon.training.runtime.loop import TrainingLoop
from gnomon.training.runtime.optimizer import Optimizer
from gnomon.training.settings import OptimizerSettings


def with_phases(project: Project, folder: Path) -> Project:
    """DPO, then RLOO, then DPO again on what is left of the project's recipe, a checkpoint after each step."""
    content = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    pairs = {"algorithm": "dpo", "data": str(project.folder / "preferences.jsonl")}
    training = {"batch_size": 2, "epochs": 2, "learning_rate": 0.01, "checkpoint_seconds": 0.0}
    rounds = {"steps": 3, "prompts_per_step": 3, "truncation_score": None, "checkpoint_seconds": 0.0}
    (project.folder / "brief.py").write_text("def score(prompt, text):\n    return -len(text) / 10\n")
    sampled: dict[str, Any] = {
        "reward": f"{project.folder / 'brief.py'}:score",
        "prompts": str(project.folder / "prompts.jsonl"),
    }
    sampled["sampling"] = {"completions": 3, "max_tokens": 6}
    phases: list[dict[str, Any]] = [
        {"name": "warm-up", **pairs, "training": training},
        {"name": "main", "algorithm": "rloo", **sampled, "training": rounds},
        {"name": "settle", **pairs, "training": training},
    ]
    (sft, *_) = content["stages"]
    content["stages"] = [sft, {"name": "aligned", "model": "sft", "phases": phases}]
    folder.mkdir(exist_ok=True)
    recipe = folder / "phases.yaml"
    recipe.write_text(yaml.safe_dump(content), encoding="utf-8")
    return Project(folder, recipe)


def test_a_phase_begins_with_moments_that_know_nothing_of_the_former(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adam's first step from zero moments is rate·g/|g|, weight by weight; with any past it would not be."""
    firsts: list[tuple[OptimizerSettings, Tensor, Tensor]] = []
    step = Optimizer.step

    def watched(self: Optimizer, of: str = "") -> float:
        if self.step_count:
            return step(self, of)
        assert self.tensors() == {}
        old = [p.detach().clone() for p in self.parameters.values()]
        pull = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.parameters.values()]
        norm = step(self, of)
        new = [p.detach() for p in self.parameters.values()]
        moved = torch.cat([(a - b).flatten() for a, b in zip(new, old, strict=True)])
        pulled = torch.cat([g.flatten() for g in pull]) * min(1.0, self.settings.max_grad_norm / norm)
        firsts.append((self.settings, pulled, moved))
        return norm

    monkeypatch.setattr(Optimizer, "step", watched)
    with_phases(project, project.folder / "phases").go()
    assert len(firsts) == 4  # SFT and three phases
    for settings, pull, moved in firsts[1:]:
        strong = pull.abs() > 200 * settings.epsilon  # elsewhere the epsilon beside |g| can be seen
        assert strong.sum() > 50
        rate = settings.learning_rate
        torch.testing.assert_close(moved[strong], -rate * pull[strong].sign(), rtol=0.01, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(("phase", "step", "left"), [("warm-up", 2, 3), ("main", 2, 2), ("settle", 3, 2)])
def test_killed_inside_a_phase_it_goes_on_at_that_phases_checkpoint(
    project: Project, monkeypatch: pytest.MonkeyPatch, phase: str, step: int, left: int
) -> None:
    """Killed before the step's checkpoint is written: `left` steps are left, and the end is the same."""
    whole, cut = (with_phases(project, project.folder / name) for name in ("whole", "cut"))
    whole.go()
    taken: list[tuple[str, int]] = []
    after_step = TrainingLoop.after_step
    armed = True

    def counted(self: TrainingLoop, now: int, planned: int) -> None:
        taken.append((self.folder.name, now))
        if armed and taken[-1] == (phase, step):
            raise Killed
        after_step(self, now, planned)

    monkeypatch.setattr(TrainingLoop, "after_step", counted)
    with pytest.raises(Killed):
        cut.go()
    folder = cut.run / "aligned" / phase
    assert not (folder / "result.json").exists()
    (checkpoint,) = (folder / "checkpoints").iterdir()
    assert checkpoint.name.endswith(str(step - 1))
    taken.clear()
    armed = False
    cut.go()
    assert [now for name, now in taken if name == phase] == list(range(step, step + left))
    order = ["warm-up", "main", "settle"]
    assert list(dict.fromkeys(name for name, _ in taken)) == order[order.index(phase) :]
    for name in order:
        assert cut.metrics(f"aligned/{name}") == whole.metrics(f"aligned/{name}")
        ends = [load_file(p.run / "aligned" / name / "weights.safetensors") for p in (whole, cut)]
        assert all(torch.equal(weight, ends[1][key]) for key, weight in ends[0].items())
    rows = [list(read_jsonl(p.run / "aligned" / "main" / "samples.jsonl")) for p in (whole, cut)]
    assert rows[0] == rows[1]
