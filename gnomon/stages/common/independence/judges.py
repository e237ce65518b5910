"""Whether a judge took no part in the training of the models that it judges.

A recipe declares a judge independent; this module checks that against the run folders. A judge is dependent if
it, or a model it was trained from, rewarded the training, or if it was trained on texts that the training read.
For models without a training folder beside them nothing can be checked, and the recipe's declaration counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from gnomon.core.progress import console
from gnomon.core.storage.digests import digest_file, digest_of
from gnomon.core.types import Demonstration, Label, Preference, Prompt, Ranking, RatedText
from gnomon.data.records import read_records
from gnomon.stages.common.independence.ancestry import Ancestry, TrainingData, ancestry, identity_of, path_of
from gnomon.stages.references import TEXT_JUDGES, is_not_a_model
from gnomon.stages.workspace import Workspace

Reason = Literal["reward", "derived", "weights", "rows"]
SHARED = 0.01  # share of a judge's texts that training may have read too, as chance overlap
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
        """The reason as a sentence for the console."""
        return SENTENCES[self.reason].format(count=self.count, of=self.of)


class JudgedStage(Protocol):
    """The settings of an evaluation that name its models and judges."""

    @property
    def evaluate(self) -> Sequence[str]:
        """The compared models."""

    @property
    def judges(self) -> Sequence[str]:
        """All judges."""

    @property
    def independent(self) -> Sequence[str]:
        """The judges that are declared independent."""

    @property
    def judge_holdout(self) -> str | None:
        """The texts that the judge `ridge` learns from."""


def judges_of(stage: JudgedStage, work: Workspace) -> list[dict[str, Any]]:
    """Each judge of an evaluation, whether it is independent, and why not where the recipe declares it so."""
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


def dependence(judge: str, stage: JudgedStage, work: Workspace, trained: Ancestry) -> Dependence | None:
    """The reason why a judge is not independent of a training, or `None` if there is none or it is unknown.

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
    if is_not_a_model(judge):
        return None
    own = ancestry(judge, work.folder)
    if own.models & trained.rewards:
        return Dependence("derived")
    if any(same_weights(Path(identity), Path(other)) for other in trained.rewards):
        return Dependence("weights")
    return _shared_rows(own.judgements, trained.data)


def same_weights(one: Path, other: Path) -> bool:
    """Whether two model folders hold the same weights; files are compared only if their sizes are equal."""
    sizes = [{f.name: f.stat().st_size for f in folder.glob("*.safetensors")} for folder in (one, other)]
    if not sizes[0] or sizes[0] != sizes[1]:
        return False
    return all(digest_file(one / name) == digest_file(other / name) for name in sizes[0])


def _shared_rows(own: Set[TrainingData], trained: Set[TrainingData]) -> Dependence | None:
    """The dependence by shared texts: how many of a judge's texts training read too; `None` at chance level."""
    if not own or not trained:
        return None
    (judge_pairs, judge_texts), (training_pairs, training_texts) = _texts(own), _texts(trained)
    # Where one side has no prompts, texts are compared without prompts on both.
    no_prompts = not judge_pairs or not training_pairs
    count = len(judge_pairs & training_pairs) or (len(judge_texts & training_texts) if no_prompts else 0)
    total = len(judge_pairs) or len(judge_texts)
    return Dependence("rows", count, total) if count > SHARED * total else None


def _texts(some: Iterable[TrainingData]) -> tuple[set[str], set[str]]:
    """Digests of the texts in some files: with their prompts, where there are any, and without."""
    pairs: set[str] = set()
    alone: set[str] = set()
    for one in some:
        for prompt, text in _read(one):
            alone.add(digest_of(text))
            if prompt is not None:
                turns = [(m.role, m.content, *m.tool_calls, *map(repr, m.media)) for m in prompt.messages]
                pairs.add(digest_of([*turns, *prompt.tools, text]))
    return pairs, alone


def _read(one: TrainingData) -> list[tuple[Prompt | None, str]]:
    result: list[tuple[Prompt | None, str]] = []
    records: list[Any] = read_records(one.kind, one.path, layout=one.layout)
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
