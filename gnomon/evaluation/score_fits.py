"""Fits on held-out pairs of an ensemble's scores: the rule that combines its members, and its probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gnomon.core.errors import DataError
from gnomon.core.lazy import special, torch
from gnomon.core.progress import console
from gnomon.core.storage.result_model import Number, ResultModel, Words
from gnomon.evaluation.results import CalibrationResult
from gnomon.evaluation.reward_models import calibration
from gnomon.evaluation.stacking import stacking_weights
from gnomon.losses.ensembles import gate_loss, preference_entropy, variance_ratio
from gnomon.models.settings import Combination
from gnomon.stats.calibration import Calibration, CalibrationMethod, fit_calibration

if TYPE_CHECKING:
    from torch import Tensor

    from gnomon.models.reward_ensemble import RewardPanel
    from gnomon.models.roles import RewardModel

BINS = 10
GATE_STEPS = 100  # of L-BFGS
GATE_DECAY = 1e-2  # of the gate's weights, which keeps it near the mean where pairs are few


@dataclass(frozen=True)
class MemberPairs:
    """Pairs of completions with the scores of E members.

    Which completion is the first does not depend on which people prefer.

    Attributes:
        first: scores of the first completions, `[E, M]`.
        second: scores of the second completions, `[E, M]`.
        probability: share of raters who prefer the first, `[M]`.
        prompts: id of each pair's prompt.
    """

    first: Tensor
    second: Tensor
    probability: Tensor
    prompts: Sequence[str]

    def select(self, rows: Sequence[int]) -> MemberPairs:
        """Select pairs by row."""
        at = list(rows)
        prompts = [self.prompts[row] for row in at]
        return MemberPairs(self.first[:, at], self.second[:, at], self.probability[at], prompts)

    def complete(self) -> MemberPairs:
        """Leave out pairs with a completion for which a member has no score."""
        finite = (self.first.isfinite() & self.second.isfinite()).all(dim=0)
        return self.select(finite.nonzero().flatten().tolist())

    def halves(self) -> tuple[MemberPairs, MemberPairs]:
        """Split by prompt: alternate prompts, in the order in which they first occur."""
        order = {prompt: number for number, prompt in enumerate(dict.fromkeys(self.prompts))}
        even = [order[prompt] % 2 == 0 for prompt in self.prompts]
        rows = range(len(self.prompts))
        return self.select([r for r in rows if even[r]]), self.select([r for r in rows if not even[r]])

    def margins(self, combine: Callable[[Tensor], Tensor]) -> NDArray[np.float64]:
        """Difference of the combined scores of each pair, `[M]`.

        Args:
            combine: maps members' scores `[E, N]` to one score each, `[N]`.
        """
        return (combine(self.first) - combine(self.second)).double().numpy()


class CalibrationReport(ResultModel):
    """How well probabilities fit people's preferences on prompts that neither training nor the fit used.

    Attributes:
        method: of the calibration.
        temperature: T of p = σ(Δ/T).
        fitted_pairs: pairs that the calibration was fitted on.
        pairs: pairs on which the errors are measured.
        accuracy: share of them that the scores order as most raters do; ties among raters are left out.
        before: errors of σ(Δ).
        after: errors of the calibrated probability; empty without a calibration.
        entropy: of an ensemble: mean entropy of its preference over the pairs, in nats.
        disagreement: the part of it that is due to members who differ (mutual information).
        variance_ratio: mean variance of a completion's score over members, relative to that over completions.
    """

    method: Words = ""
    temperature: Number = None
    fitted_pairs: Number = None
    pairs: Number = None
    accuracy: Number = None
    before: CalibrationResult | None = None
    after: CalibrationResult | None = None
    entropy: Number = None
    disagreement: Number = None
    variance_ratio: Number = None


def fit_combination(combination: Combination, pairs: MemberPairs) -> Combination:
    """Fit the weights of `stacked` or `gated`; any other rule is returned as it is.

    Args:
        combination: the rule.
        pairs: held-out pairs.

    Raises:
        DataError: there are no pairs.
    """
    if combination.rule not in ("stacked", "gated"):
        return combination
    if not len(pairs.prompts):
        raise DataError(f"combine: {combination.rule} has no held-out pairs to be fitted on; hold out more.")
    if combination.rule == "stacked":
        weights = stacking_weights((pairs.first - pairs.second).numpy(), pairs.probability.numpy())
        return combination.model_copy(update={"weights": weights.tolist()})
    return combination.model_copy(update={"gate": _fit_gate(pairs)})


def _fit_gate(pairs: MemberPairs) -> list[list[float]]:
    """Fit A and b of the gate by L-BFGS from 0, which is the mean; the rows are those of `[A, b]`."""
    count = len(pairs.first)
    parameters = torch.zeros(count, count + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=GATE_STEPS, line_search_fn="strong_wolfe")
    first, second, target = pairs.first.double(), pairs.second.double(), pairs.probability.double()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = gate_loss(first, second, target, parameters[:, :-1], parameters[:, -1])
        loss = loss + GATE_DECAY * parameters.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    rows: list[list[float]] = parameters.detach().tolist()
    return rows


def calibrate_pairs(
    method: CalibrationMethod | Literal["none"],
    fitted: MemberPairs,
    unseen: MemberPairs,
    combine: Callable[[Tensor], Tensor],
) -> tuple[Calibration | None, CalibrationReport]:
    """Fit a calibration on some held-out pairs, and measure its errors before and after on others.

    Args:
        method: of the calibration; `none` measures σ(Δ) only.
        fitted: pairs to fit on.
        unseen: pairs of other prompts to measure on.
        combine: maps members' scores `[E, N]` to one score each, `[N]`.

    Raises:
        DataError: there are too few pairs, or all have the same outcome.
    """
    own = None
    if method != "none":
        own = fit_calibration(method, fitted.margins(combine), fitted.probability.numpy())
    margins, observed = unseen.margins(combine), unseen.probability.double().numpy()
    decided = observed != 0.5
    agreement = np.sign(margins[decided]) * np.sign(observed[decided] - 0.5)
    return own, CalibrationReport(
        method=method,
        temperature=own.temperature if own and own.method == "temperature" else None,
        fitted_pairs=len(fitted.prompts) if own else None,
        pairs=len(unseen.prompts),
        accuracy=float((0.5 + agreement / 2).mean()) if decided.any() else None,
        before=calibration(special.expit(margins), observed, BINS),
        after=calibration(own.probability(margins), observed, BINS) if own else None,
        **uncertainty_of(unseen),
    )


def uncertainty_of(pairs: MemberPairs) -> dict[str, float]:
    """Mean uncertainties of an ensemble over pairs, by their names in the report; none of a single model."""
    if len(pairs.first) < 2 or not len(pairs.prompts):
        return {}
    entropy, disagreement = preference_entropy(pairs.first - pairs.second)
    ratio = variance_ratio(torch.cat([pairs.first, pairs.second], dim=1))
    values = {"entropy": entropy, "disagreement": disagreement, "variance_ratio": ratio}
    return {name: float(value.mean()) for name, value in values.items()}


def fit_on_pairs(model: RewardModel | RewardPanel, pairs: MemberPairs, method: Any) -> CalibrationReport:
    """Fit an ensemble's rule and the calibration on half of the prompts, and measure both on the others.

    Args:
        model: which keeps the rule and the calibration.
        pairs: scored by its members.
        method: of the calibration.

    Raises:
        DataError: there are too few pairs, or all have the same outcome.
    """
    fitted, unseen = pairs.complete().halves()
    from gnomon.models.reward_ensemble import RewardEnsemble, RewardPanel

    if isinstance(model, RewardEnsemble | RewardPanel):
        rule = fit_combination(model.record.combine, fitted)
        model.record = model.record.model_copy(update={"combine": rule})
    calibration, report = calibrate_pairs(method, fitted, unseen, combiner(model))
    model.calibrate(calibration)
    for label, errors in (("before", report.before), ("after", report.after)):
        if errors is not None and errors.ece is not None:
            console.print(f"  calibration error {label}: {errors.ece:.3f} on {report.pairs:.0f} unseen pairs")
    return report


def combiner(model: RewardModel | RewardPanel) -> Any:
    """The function by which a model's member scores become one, `[E, N] -> [N]`."""
    from gnomon.models.reward_ensemble import RewardPanel, combine_scores

    if isinstance(model, RewardPanel):
        return lambda scores: combine_scores(scores, model.record.combine)
    return model.combined
