"""Training of a reward model or an ensemble, and what is fitted afterwards on prompts that were held out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gnomon.core.errors import ConfigError, DataError
from gnomon.core.progress import console
from gnomon.core.storage.digests import digest
from gnomon.core.storage.files import read_json, read_jsonl, write_json, write_jsonl
from gnomon.data.batching import epoch_order, pack_by_tokens, token_groups
from gnomon.data.encoding import Example
from gnomon.data.example_columns import columns_of
from gnomon.evaluation.score_fits import CalibrationReport, MemberPairs, fit_on_pairs
from gnomon.models.library_patches import set_score_head
from gnomon.models.reward_ensemble import (
    EnsembleRecord,
    RewardEnsemble,
    RewardPanel,
    adapter_ensemble,
    head_ensemble,
    reset_member,
)
from gnomon.models.roles import Model, RewardModel
from gnomon.models.scalar_head import ScalarHead
from gnomon.models.score_parts.files import drop_parts
from gnomon.stages.common.encoded_data import EncodedData, encode_data
from gnomon.stages.common.load import load_trained
from gnomon.stages.common.results import LoopResult
from gnomon.stages.common.train_loops import last_step, train_offline
from gnomon.stages.train_settings import EnsembleSettings, TrainSettings
from gnomon.stages.workspace import Workspace
from gnomon.stats.calibration import FEWEST_PAIRS
from gnomon.training.offline.bootstrap import MemberLoss, MembersLoss, member_seed, poisson_weight
from gnomon.training.offline.lazy_sequence import LazySequence
from gnomon.training.outcome import outcome
from gnomon.training.runtime.checkpoints import remove_checkpoints

MEMBERS = "members"  # folder of members that are trained one after the other
WEIGHTS = "weights.safetensors"
HOLD_OUT = 1_001  # of the order of prompts, another one than that of a loop's validation
PASS_TOKENS = 4096
NOT_AVERAGED = ("step", "time")


@dataclass(frozen=True)
class RewardTraining:
    """What a reward stage has trained.

    Attributes:
        model: the reward model or ensemble.
        result: of the loop, or of all loops.
        calibration: measured on held-out prompts; `None` without the setting.
    """

    model: RewardModel | RewardPanel
    result: LoopResult
    calibration: CalibrationReport | None = None


def train_reward_model(stage: TrainSettings, work: Workspace, model: Model, folder: Path) -> RewardTraining:
    """Train a reward model, or the members of an ensemble; fit the rule and the calibration on held-out prompts.

    Args:
        stage: of a reward model.
        work: the run.
        model: as loaded for the stage; of an ensemble the trunk, or the first member.
        folder: of the stage.
    """
    assert isinstance(model, RewardModel)
    data = encode_data(stage, work, model, folder)
    training, held_out = hold_out_prompts(stage, data.examples, work.recipe.seed)
    data = replace(data, examples=training)
    trained: RewardModel | RewardPanel
    if stage.ensemble is None:
        trained, result = model, train_offline(stage, work, model, folder, data=data)
    elif stage.ensemble.kind == "heads":
        trained = heads_of(stage, model, work.recipe.seed)
        seed = work.recipe.seed if stage.ensemble.bagging else None
        algorithm = MembersLoss(stage.built_algorithm, seed)
        result = train_offline(stage, work, trained, folder, data=data, algorithm=algorithm)
    else:
        trained, result = _train_members(stage, stage.ensemble, work, model, folder, data)
    if stage.calibration is None:
        return RewardTraining(trained, result)
    pairs = score_pairs(trained, held_out, work.recipe.seed)
    try:
        return RewardTraining(trained, result, fit_on_pairs(trained, pairs, stage.calibration.method))
    except DataError as error:
        raise DataError(f"stage '{stage.name}': {error}") from None


def heads_of(stage: TrainSettings, model: RewardModel, seed: int) -> RewardEnsemble:
    """Give a stage's model the heads of its ensemble.

    Args:
        stage: with an ensemble of heads.
        model: as loaded.
        seed: of the run.
    """
    assert stage.ensemble is not None
    seeds = [member_seed(seed, member) for member in range(stage.ensemble.members)]
    ensemble = head_ensemble(model, stage.head, seeds, stage.ensemble.combine)
    ensemble.checkpoint_gradients(model.recomputes)
    return ensemble


def hold_out_prompts(
    stage: TrainSettings, examples: Sequence[Example], seed: int
) -> tuple[Sequence[Example], Sequence[Example]]:
    """Split a stage's examples into those to train on and those of held-out prompts for its calibration.

    Args:
        stage: with or without `calibration`.
        examples: encoded.
        seed: of the split.

    Raises:
        ConfigError: no prompt would be left to train on, or fewer than two are held out.
        DataError: the held-out prompts have too few pairs.
    """
    if stage.calibration is None:
        return examples, []
    prompt_ids = columns_of(examples).prompt_ids
    prompts = list(dict.fromkeys(prompt_ids))
    count = round(stage.calibration.share * len(prompts))
    if count < 2 or count >= len(prompts):
        raise ConfigError(
            f"stage '{stage.name}': calibration.share holds out {count} of {len(prompts)} prompts, and it takes "
            "at least 2, with some left to train on; change it, or leave calibration out."
        )
    chosen = {prompts[at] for at in epoch_order(len(prompts), seed, HOLD_OUT)[:count]}
    rows = range(len(prompt_ids))
    held_out = _select(examples, [row for row in rows if prompt_ids[row] in chosen])
    if (pairs := sum(len(example.pairs) for example in held_out)) < 2 * FEWEST_PAIRS:
        raise DataError(  # before the training, not after it
            f"stage '{stage.name}': calibration has {pairs} held-out pairs, fewer than {2 * FEWEST_PAIRS}, half "
            "to fit and half to measure; raise its share, or leave calibration out."
        )
    return _select(examples, [row for row in rows if prompt_ids[row] not in chosen]), held_out


def _select(examples: Sequence[Example], rows: Sequence[int]) -> Sequence[Example]:
    """Some of the examples; those on disk are read when they are indexed."""
    if isinstance(examples, list):
        return [examples[row] for row in rows]
    return LazySequence(len(rows), lambda at: examples[rows[at]])


def _train_members(
    stage: TrainSettings,
    settings: EnsembleSettings,
    work: Workspace,
    model: RewardModel,
    folder: Path,
    data: EncodedData,
) -> tuple[RewardModel | RewardPanel, LoopResult]:
    """Train adapters or separate models one after the other; a member that is finished is not trained again."""
    shared = settings.kind == "adapters"
    names = [str(number) for number in range(settings.members)]
    record = EnsembleRecord(kind=settings.kind, names=names, combine=settings.combine, head=stage.head)
    weights, offsets, models, results = [], [], [], []
    for member in range(settings.members):
        own = folder / MEMBERS / str(member)
        own.mkdir(parents=True, exist_ok=True)
        if shared:
            _start_adapter(stage, model, member_seed(work.recipe.seed, member))
            result = _train_member(stage, settings, work, model, own, data, member)
            weights.append({name: p.detach().clone() for name, p in model.trainable().items()})
            offsets.append(model.offset)
        else:
            torch.manual_seed(member_seed(work.recipe.seed, member))
            one = load_trained(stage, work, seed=member_seed(work.recipe.seed, member))
            assert isinstance(one, RewardModel)
            one.card = model.card
            result = _train_member(stage, settings, work, one, own, data, member)
            one.plain_network()
            models.append(one)
        results.append(result)
    if work.processes.main:
        write_jsonl(folder / "metrics.jsonl", mean_rows([folder / MEMBERS / name for name in names]))
    work.processes.barrier()
    rows = list(read_jsonl(folder / "metrics.jsonl"))
    merged = results[-1].model_copy(
        update={"final": rows[-1] if rows else {}, "steps": last_step(rows), "learning": outcome(rows)}
    )
    if not shared:
        return RewardPanel(models, record, model.card), merged
    record = record.model_copy(update={"offsets": offsets, "trainable": stage.trainable or _trainable_of(work)})
    return adapter_ensemble(model, weights, record), merged


def _trainable_of(work: Workspace) -> Any:
    """The recipe's trainable weights, without the model's other settings."""
    from gnomon.models.settings import Trainable

    recipe = work.recipe.model
    return Trainable(**{key: getattr(recipe, key) for key in Trainable.model_fields})


def _start_adapter(stage: TrainSettings, model: RewardModel, seed: int) -> None:
    """Give the shared model a fresh adapter and head for the next member."""
    drop_parts(model.network)
    if not isinstance(model.network.score, ScalarHead):
        head = ScalarHead(model.network.config.get_text_config().hidden_size, stage.head)
        set_score_head(model.network, head.to(model.device))
    reset_member(model, seed)


def _train_member(
    stage: TrainSettings,
    settings: EnsembleSettings,
    work: Workspace,
    model: RewardModel,
    folder: Path,
    data: EncodedData,
    member: int,
) -> LoopResult:
    """Train one member on the prompts of its bootstrap, or load the weights of one that is finished."""
    done = folder / WEIGHTS
    seed = work.recipe.seed
    examples, algorithm = data.examples, None
    if settings.bagging:
        rows = [row for row, example in enumerate(examples) if poisson_weight(seed, member, example.prompt_id)]
        examples, algorithm = _select(examples, rows), MemberLoss(stage.built_algorithm, seed, member)
    if not examples:
        raise DataError(
            f"stage '{stage.name}': the bootstrap of member {member} holds no prompt; give more data, or set "
            "ensemble.bagging to false."
        )
    if work.processes.broadcast(done.exists()):
        _restore(model, done)
        return LoopResult.model_validate(read_json(folder / "result.json"))
    if work.processes.main:
        console.print(f"  member {member + 1} of {settings.members}: {len(examples)} examples")
    own = replace(data, examples=examples, rejected=data.rejected if member == 0 else [])
    result = train_offline(
        stage, work, model, folder, data=own, algorithm=algorithm, seed=member_seed(seed, member)
    )
    if work.processes.main:
        write_json(folder / "result.json", result.content())
        tensors = {name: p.detach().cpu().contiguous() for name, p in model.trainable().items()}
        save_file({**tensors, "offset": torch.tensor([model.offset])}, done)
        remove_checkpoints(folder / "checkpoints")
    work.processes.barrier()
    return result


@torch.no_grad()
def _restore(model: RewardModel, path: Path) -> None:
    """Load the weights of a finished member."""
    saved = load_file(path)
    model.network.config.score_offset = float(saved.pop("offset"))
    for name, parameter in model.trainable().items():
        parameter.copy_(saved[name])


def mean_rows(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows of metrics that are means over members, step by step, as far as any member went.

    Args:
        folders: of the members, each with `metrics.jsonl`.
    """
    logs = [list(read_jsonl(folder / "metrics.jsonl")) for folder in folders]
    rows = []
    for step in itertools.zip_longest(*logs):
        present: list[Mapping[str, Any]] = [row for row in step if row]
        names = dict.fromkeys(name for row in present for name in row if name not in NOT_AVERAGED)
        means = {}
        for name in names:
            values = [float(row[name]) for row in present if row.get(name) is not None]
            means[name] = sum(values) / len(values) if values else None
        rows.append({"step": present[0]["step"], "time": sum(row["time"] for row in present), **means})
    return rows


@torch.no_grad()
def score_pairs(model: RewardModel | RewardPanel, examples: Sequence[Example], seed: int) -> MemberPairs:
    """Score the pairs of encoded examples by each member; which completion is the first is drawn from the seed.

    Args:
        model: whose tokens the examples hold.
        examples: with pairs.
        seed: of the draw.
    """
    models = model.members if isinstance(model, RewardPanel) else [model]
    first: list[Tensor] = []
    second: list[Tensor] = []
    probability: list[float] = []
    prompts: list[str] = []
    for rows in pack_by_tokens([example.cost for example in examples], PASS_TOKENS):
        batch = [examples[row] for row in rows]
        scores = torch.cat([one.member_scores(token_groups(batch)).float().cpu() for one in models])  # [E, N]
        start = 0
        for example in batch:
            for number, pair in enumerate(example.pairs):
                sides = [scores[:, start + pair.chosen], scores[:, start + pair.rejected]]
                swap = int(digest([seed, example.prompt_id, number])[:8], 16) % 2
                first.append(sides[swap])
                second.append(sides[1 - swap])
                probability.append(1 - pair.probability if swap else pair.probability)
                prompts.append(example.prompt_id)
            start += len(example.completions)
    if not prompts:
        raise DataError("no held-out prompt has a pair to calibrate on; hold out more, or leave calibration out.")
    return MemberPairs(torch.stack(first, 1), torch.stack(second, 1), torch.tensor(probability), prompts)
