"""Whether a judge took no part in the training of the models that it judges.

A recipe calls a judge independent; here that is held against all that is known. A judge is not if it, or a model
it comes from, rewarded the training, or if it learned from texts that the training read too. Nothing is known of
models that have no folder of a training beside them, and then the recipe's word counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gnomon.core.progress import console
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.types import Demonstration, Label, Preference, Prompt, Ranking, RatedText
from gnomon.data.reading.records import read_records
from gnomon.stages.ancestry import Ancestry, TrainingData, ancestry, identity_of, path_of
from gnomon.stages.settings import TEXT_JUDGES, EvaluateStage, made_of_no_model
from gnomon.stages.workspace import Workspace

Reason = Literal["reward", "derived", "weights", "rows"]
SHARED = 0.01  # of a judge's texts, beyond which it counts as trained on what the training read
SENTENCES = {
    "reward": "training used it as its reward",
    "derived": "it was trained from a model that rewarded the training",
    "weights": "its weights are those of a model that rewarded the training",
    "rows": "{count} of the {of} texts it learned from were read by the training too",
}


@dataclass(frozen=True)
class Dependence:
    """Why a judge is not independent.

    Attributes:
        reason: a key of `SENTENCES`.
        count: of `rows`, the judge's texts that training read.
        of: of `rows`, the judge's texts.
    """

    reason: Reason
    count: int = 0
    of: int = 0

    @property
    def sentence(self) -> str:
        """For the console."""
        return SENTENCES[self.reason].format(count=self.count, of=self.of)


def judges_of(stage: EvaluateStage, work: Workspace) -> list[dict[str, Any]]:
    """Each judge of an evaluation with whether it is independent, and if the recipe wrongly said so, why not."""
    trained = Ancestry()
    for name in stage.evaluate:
        trained |= ancestry(name, work.folder)
    result = []
    for judge in stage.judges:
        claimed = judge in stage.independent
        counts = claimed or judge in TEXT_JUDGES
        why = dependence(judge, stage, work, trained) if counts else None
        if claimed and why is not None:
            console.print(
                f"  [yellow]{judge} does not count as independent[/yellow]: {why.sentence}", soft_wrap=True
            )
        row = {"name": judge, "independent": counts and why is None}
        result.append(row | ({"dependence": asdict(why)} if claimed and why is not None else {}))
    return result


def dependence(judge: str, stage: EvaluateStage, work: Workspace, trained: Ancestry) -> Dependence | None:
    """Why a judge is not independent of a training, if that can be known.

    Args:
        judge: as the stage names it.
        stage: the evaluation.
        work: the run.
        trained: what the judged models learned from.
    """
    if judge == "ridge":
        path = path_of(stage.judge_holdout or "", work.folder)
        return _shared_rows({TrainingData(path, RatedText)} if path else set(), trained.data)
    identity = identity_of(judge, work.folder)
    if identity in trained.rewards:
        return Dependence("reward")
    if made_of_no_model(judge):
        return None
    own = ancestry(judge, work.folder)
    if own.models & trained.rewards:
        return Dependence("derived")
    if any(same_weights(Path(identity), Path(other)) for other in trained.rewards):
        return Dependence("weights")
    return _shared_rows(own.judgements, trained.data)


def same_weights(one: Path, other: Path) -> bool:
    """Whether two model folders hold the same weights; their files are compared where they are as large."""
    sizes = [{f.name: f.stat().st_size for f in place.glob("*.safetensors")} for place in (one, other)]
    if not sizes[0] or sizes[0] != sizes[1]:
        return False
    return all(digest_file(one / name) == digest_file(other / name) for name in sizes[0])


def _shared_rows(own: Set[TrainingData], trained: Set[TrainingData]) -> Dependence | None:
    """What share of a judge's texts training read too; `None` where it is as small as chance may make it."""
    if not own or not trained:
        return None
    (mine, alone), (theirs, read) = _texts(own), _texts(trained)
    # A text that stands without its prompt on one side is compared without it on both.
    count = len(mine & theirs) or (len(alone & read) if not mine or not theirs else 0)
    total = len(mine) or len(alone)
    return Dependence("rows", count, total) if count > SHARED * total else None


def _texts(some: Iterable[TrainingData]) -> tuple[set[str], set[str]]:
    """Digests of the texts in some files, with their prompts where each has one, and without."""
    pairs: set[str] = set()
    alone: set[str] = set()
    for one in some:
        for prompt, text in _read(one):
            alone.add(digest_of(text))
            if prompt is not None:
                pairs.add(digest_of([*((m.role, m.content) for m in prompt.messages), text]))
    return pairs, alone


def _read(one: TrainingData) -> list[tuple[Prompt | None, str]]:
    result: list[tuple[Prompt | None, str]] = []
    records: list[Any] = read_records(one.kind, one.path)
    for record in records:
        if isinstance(record, RatedText):
            result.append((record.prompt, record.text))
        elif isinstance(record, Preference | Ranking | Label | Demonstration):
            result += [(record.prompt, completion.text) for completion in completions_of(record)]
    return result


def completions_of(record: Preference | Ranking | Label | Demonstration) -> Sequence[Any]:
    """The completions of a record."""
    if isinstance(record, Preference):
        return (record.chosen, record.rejected)
    return record.completions if isinstance(record, Ranking) else (record.completion,)
