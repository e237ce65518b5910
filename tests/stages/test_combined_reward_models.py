"""Ensembles of reward models that exist: of any vocabulary, averaged, stacked; and what is refused."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from project import Project, write_rows
from test_reward_ensembles import PROMPT, TEXTS, rows_with_noise
from tiny import CPU, byte_tokenizer, tiny_reward_model

from gnomon.core.errors import ConfigError, DataError, GnomonError, ModelError
from gnomon.core.storage.files import read_json
from gnomon.core.types import Completion, Message, Prompt
from gnomon.evaluation.score_fits import MemberPairs, calibrate_pairs, fit_combination, uncertainty_of
from gnomon.losses.ensembles import mean_score
from gnomon.models.encoders.scorer import open_scorer
from gnomon.models.loading import save_model
from gnomon.models.reward_ensemble import DropoutEnsemble, combine_scores
from gnomon.models.settings import Combination, DropoutPasses
from gnomon.pipeline.recipe import load_recipe
from gnomon.pipeline.resource_plan import plan_recipe
from gnomon.rewards.encoder_reward import reward_of_model
from gnomon.rewards.ensemble import EnsembleReward
from gnomon.rewards.reward import PlainReward
from gnomon.stages.common.independence.ancestry import ancestry


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three reward models: `a` and `b` of one vocabulary and shape, `c` of another vocabulary."""
    folder = tmp_path_factory.mktemp("judges")
    for name, seed, chat in (("a", 1, True), ("b", 2, True), ("c", 3, False)):
        model = tiny_reward_model(byte_tokenizer(chat=chat), seed=seed)
        model.network.score.weight.data *= 10.0 ** (seed - 1)  # scores of very different sizes
        save_model(model, folder / name)
    return folder


def combined(project: Project, judges: Path, names: Sequence[str], **settings: Any) -> Project:
    """The project with one stage that combines judges."""
    write_rows(project.folder / "held-out.jsonl", rows_with_noise(60))
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    row = {"name": "panel", "reward_models": [str(judges / name) for name in names], **settings}
    recipe["stages"] = [row]
    project.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return project


def member_scores(model: Any) -> torch.Tensor:
    reward = reward_of_model(model, "panel")
    assert isinstance(reward, EnsembleReward)
    members, failures = reward.member_scores([PROMPT] * 3, TEXTS)
    assert not failures
    return members


def test_members_of_other_vocabularies_are_each_scored_with_their_own_tokenizer(
    project: Project, judges: Path
) -> None:
    combined(project, judges, ["a", "c"], combine="minimum").go()
    panel = open_scorer(str(project.run / "panel"), CPU)
    alone = [
        reward_of_model(open_scorer(str(judges / name), CPU), name).score([PROMPT] * 3, TEXTS).values
        for name in ("a", "c")
    ]
    torch.testing.assert_close(member_scores(panel), torch.stack(alone))
    scores = reward_of_model(panel, "panel").score([PROMPT] * 3, TEXTS)
    torch.testing.assert_close(scores.values, torch.minimum(*alone))


def test_data_brings_members_to_one_zero_and_scale(project: Project, judges: Path) -> None:
    """Without that the deviation over members would be that of the member with the largest scores."""
    combined(
        project, judges, ["a", "b", "c"], data=str(project.folder / "held-out.jsonl"), calibration="none"
    ).go()
    panel = open_scorer(str(project.run / "panel"), CPU)
    rows = rows_with_noise(60)
    reward = reward_of_model(panel, "panel")
    prompts = [Prompt(str(n), (Message("user", row["prompt"]),)) for n, row in enumerate(rows)]
    texts = [Completion("", row[side]) for side in ("chosen", "rejected") for row in rows]
    members, _ = reward.member_scores(prompts * 2, texts)  # type: ignore[attr-defined]
    torch.testing.assert_close(members.mean(dim=1), torch.zeros(3), atol=1e-3, rtol=0)
    deviations = members.std(dim=1, unbiased=False)
    torch.testing.assert_close(deviations, deviations[:1].expand(3), rtol=1e-3, atol=0)
    report = read_json(project.run / "panel" / "result.json")["calibration"]
    assert report["before"]["ece"] is not None
    assert report["pairs"] == 30


def test_stacking_finds_the_member_that_is_right(project: Project, judges: Path) -> None:
    data = str(project.folder / "held-out.jsonl")
    combined(project, judges, ["a", "b", "c"], data=data, combine="stacked", calibration="none").go()
    result = read_json(project.run / "panel" / "result.json")
    assert len(result["weights"]) == 3
    panel = open_scorer(str(project.run / "panel"), CPU)
    expected = (torch.tensor(result["weights"])[:, None] * member_scores(panel)).sum(0)
    scores = reward_of_model(panel, "panel").score([PROMPT] * 3, TEXTS).values
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_average_weights_make_one_ordinary_reward_model(project: Project, judges: Path) -> None:
    combined(project, judges, ["a", "b"], average_weights=True).go()
    average: Any = open_scorer(str(project.run / "panel"), CPU)
    members: list[Any] = [open_scorer(str(judges / name), CPU) for name in ("a", "b")]
    states = [member.network.state_dict() for member in members]
    for key, tensor in average.network.state_dict().items():
        torch.testing.assert_close(tensor, (states[0][key] + states[1][key]) / 2)
    assert "reward_ensemble" not in read_json(project.run / "panel" / "model" / "config.json")


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["a"], {}, "names 1 model, which has no other to disagree with"),
        (["a", "a"], {}, "twice; remove one"),
        (["a", "gone"], {}, "no model folder at"),
        (["a", "c"], {"average_weights": True}, "has another vocabulary than"),
        (["a", "b"], {"average_weights": True, "combine": "median"}, "nothing to combine; remove combine"),
        (["a", "b"], {"combine": "gated"}, "fitted on held-out pairs; give them as data"),
        (["a", "b"], {"combine": {"rule": "weighted", "weights": [1]}}, "1 weights for 2 members"),
        (["a", "b"], {"combine": "best"}, "combine.rule"),
    ],
)
def test_what_cannot_be_combined_is_refused_in_one_sentence(
    project: Project, judges: Path, names: list[str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(GnomonError, match=message):
        combined(project, judges, names, **settings).go()


def test_a_reward_may_name_several_models_itself(project: Project, judges: Path) -> None:
    """Its parts in the metrics are of the ensemble; paths beside the recipe are found as anywhere in it."""
    recipe = yaml.safe_load(project.recipe.read_text(encoding="utf-8"))
    aligned = next(stage for stage in recipe["stages"] if stage["name"] == "aligned")
    aligned |= {"model": "base", "critic": "base", "reward": {"ensemble": ["a", "b"], "combine": "minimum"}}
    recipe["stages"] = [aligned]
    for name in ("a", "b"):
        shutil.copytree(judges / name, project.folder / name)
    project.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    project.go("aligned.training.steps=1")
    assert project.metrics("aligned")[0]["uncertainty"] > 0
    known = ancestry("aligned", project.run)
    assert {str(project.folder / name) for name in ("a", "b")} <= known.rewards
    for reward, message in (
        ({"ensemble": ["a"]}, "two or more different reward models"),
        ({"ensemble": ["a", "b"], "of": "c"}, "exactly one of the keys of, ensemble and rule"),
        ({"ensemble": ["a", "b"], "dropout": {}}, "dropout is for a single reward model"),
        ({"ensemble": ["a", "b"], "combine": "mean - -1 * std"}, "below 0 it would reward disagreement"),
        ([{"of": "a", "dropout": {"passes": 1}}], "one pass has no other to differ from"),
        ([{"of": "vader", "combine": "median"}], "combine is for reward models; remove it"),
        ([{"ensembel": ["a", "b"]}], "did you mean 'ensemble'"),
    ):
        aligned["reward"] = reward
        project.recipe.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load_recipe(project.recipe)


def test_a_missing_member_is_named(project: Project, judges: Path) -> None:
    combined(project, judges, ["a", "b"]).go()
    member = project.run / "panel" / "model" / "members" / "1"
    member.rename(project.folder / "moved")
    with pytest.raises(ModelError, match=r"lacks its member '.*b' at"):
        open_scorer(str(project.run / "panel"), CPU)


class Fixed(PlainReward):
    """Known scores, with a reason where there is none."""

    def __init__(self, scores: list[float], reason: str = ""):
        self.name, self.scores, self.reason = "fixed", scores, reason

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Any:
        missing = [row for row, score in enumerate(self.scores) if score != score]
        return self.scores, [(row, self.reason) for row in missing] if self.reason else []


def test_a_row_without_a_members_score_fails_with_that_members_reason() -> None:
    nan = float("nan")
    sources = [Fixed([1.0, 2.0, 3.0]), Fixed([1.0, nan, 3.0], "it is too long"), Fixed([1.0, 2.0, nan])]
    reward = EnsembleReward("panel", sources, ["a", "b", "c"], Combination())
    members, _ = reward.member_scores([PROMPT] * 3, TEXTS)
    assert members.isnan().tolist() == [[False, True, True]] * 3  # nobody averages the others of such a row
    scores = reward.score([PROMPT] * 3, TEXTS)
    assert scores.values.isnan().tolist() == [False, True, True]
    assert scores.uncertainties["panel"].isnan().tolist() == [False, True, True]
    assert list(scores.failures) == [
        (1, "member 'b': it is too long"),
        (2, "member 'c': its score is not a finite number"),
    ]


def test_a_rule_that_does_not_fit_is_refused() -> None:
    sources = [Fixed([1.0] * 3), Fixed([2.0] * 3)]
    for rule, message in (
        (Combination(rule="weighted", weights=[1.0]), "1 weights for 2 members"),
        (Combination(rule="stacked"), "which is not fitted"),
        (Combination(rule="gated", gate=[[0.0, 0.0]]), "a gate of another shape"),
    ):
        with pytest.raises(ConfigError, match=message):
            EnsembleReward("panel", sources, ["a", "b"], rule)
        with pytest.raises(ModelError, match=message):
            combine_scores(torch.zeros(2, 3), rule)
    with pytest.raises(ConfigError, match="is a single model, and combine is for ensembles"):
        reward_of_model(tiny_reward_model(byte_tokenizer(chat=True)), "judge", None, Combination())


def pairs_of(members: int, count: int, right: int) -> MemberPairs:
    """Pairs of which member `right` knows the margin, and the others only noise; outcomes follow the margin."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(members, count, generator=generator)
    second = torch.randn(members, count, generator=generator)
    margin = first[right] - second[right]
    observed = (torch.rand(count, generator=generator) < torch.sigmoid(2 * margin)).float()
    return MemberPairs(first, second, observed, [str(n) for n in range(count)])


def test_stacking_and_the_gate_trust_the_member_that_is_right() -> None:
    pairs = pairs_of(3, 2_000, right=1)
    stacked = fit_combination(Combination(rule="stacked"), pairs)
    assert stacked.weights is not None
    assert stacked.weights[1] == pytest.approx(2.0, abs=0.3)  # outcomes are drawn with σ(2Δ)
    assert max(abs(stacked.weights[0]), abs(stacked.weights[2])) < 0.2
    gated = fit_combination(Combination(rule="gated"), pairs)
    fitted, unseen = pairs.halves()

    def accuracy(rule: Combination) -> float:
        _, report = calibrate_pairs("none", fitted, unseen, lambda s: combine_scores(s, rule))
        assert report.accuracy is not None
        return report.accuracy

    assert accuracy(gated) > accuracy(Combination()) + 0.05
    assert accuracy(stacked) >= accuracy(gated) - 0.01
    assert fit_combination(Combination(rule="median"), pairs) == Combination(rule="median")
    with pytest.raises(DataError, match="no held-out pairs"):
        fit_combination(Combination(rule="gated"), pairs.select([]))


def test_a_calibration_lowers_the_error_of_overconfident_scores_on_other_prompts() -> None:
    pairs = pairs_of(1, 2_000, right=0)
    loud = MemberPairs(8 * pairs.first, 8 * pairs.second, pairs.probability, pairs.prompts)
    fitted, unseen = loud.halves()
    assert not set(fitted.prompts) & set(unseen.prompts)
    for method in ("temperature", "isotonic"):
        own, report = calibrate_pairs(method, fitted, unseen, mean_score)
        assert own is not None
        assert report.before is not None
        assert report.after is not None
        assert report.before.ece is not None
        assert report.after.ece is not None
        assert report.after.ece < report.before.ece / 2
        assert report.pairs == 1_000
    own, _ = calibrate_pairs("temperature", fitted, unseen, mean_score)
    assert own is not None
    assert own.temperature == pytest.approx(4.0, rel=0.15)


def test_the_report_has_the_uncertainties_of_an_ensemble_and_none_of_a_single_model() -> None:
    """Two members with margins ±2: the preference is undecided, log 2, of which H(σ(2)) is not disagreement."""
    first, second = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.0], [1.0]])
    report = uncertainty_of(MemberPairs(first, second, torch.ones(1), ["p"]))
    p = 1 / (1 + math.exp(-2))
    own = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert report["entropy"] == pytest.approx(math.log(2))
    assert report["disagreement"] == pytest.approx(math.log(2) - own)
    # Over members 1.5² and 0.5²; the means 0.5 and 0.5 do not differ, so the floor of 1e-6 divides.
    assert report["variance_ratio"] == pytest.approx((2.25 + 0.25) / 2 / 1e-6)
    assert uncertainty_of(MemberPairs(first[:1], second[:1], torch.ones(1), ["p"])) == {}


def test_dropout_makes_an_ensemble_of_one_model() -> None:
    model = tiny_reward_model(byte_tokenizer(chat=True))
    reward = reward_of_model(
        DropoutEnsemble(model, DropoutPasses(passes=400, rate=0.3), 0, Combination()), "judge"
    )
    plain = reward_of_model(model, "judge").score([PROMPT] * 3, TEXTS).values
    members, _ = reward.member_scores([PROMPT] * 3, TEXTS)  # type: ignore[attr-defined]
    assert members.shape == (400, 3)
    error = members.std(dim=0) / 20  # of the mean of 400 passes
    assert ((members.mean(dim=0) - plain).abs() < 5 * error).all()
    alone, _ = reward.member_scores([PROMPT], TEXTS[1:2])  # type: ignore[attr-defined]
    torch.testing.assert_close(alone[:, 0], members[:, 1])  # a pass is one model, whatever is scored with it
    states = torch.linalg.vector_norm(members[:, 0] - members[:, 1])
    assert states > 0


def test_the_queue_is_ordered_by_the_disagreement_of_an_ensembles_members(project: Project, judges: Path) -> None:
    from gnomon.api.feedback.automation import score_with

    combined(project, judges, ["a", "b"]).go()
    scores = score_with([str(project.run / "panel")])(PROMPT, TEXTS)
    assert torch.tensor(scores).shape == (2, 3)
    torch.testing.assert_close(torch.tensor(scores), member_scores(open_scorer(str(project.run / "panel"), CPU)))


def test_a_dry_run_estimates_the_stage_and_what_follows(project: Project, judges: Path) -> None:
    """Later stages load what the estimate saved; nothing is fitted on data that a dry run may not have."""
    data = str(project.folder / "held-out.jsonl")
    combined(project, judges, ["a", "b"], data=data, combine="stacked")
    plans = plan_recipe(load_recipe(project.recipe)).stages
    assert [plan.name for plan in plans] == ["panel"]
    assert plans[0].bytes["weights"] > 0
    assert not project.run.exists()
