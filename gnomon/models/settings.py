"""Settings of models: device and precision, trainable weights, the shape of a head. Needs no torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from gnomon.core.config import Settings
from gnomon.core.ranges import Finite, Range

WHOLE_CONVERSATION = "whole_conversation"  # key of config.json: where a reward model of others is scored
VALUE_HEAD = "value_head"  # key of a saved critic's config.json: its head predicts values, not scores
Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]


class Trainable(Settings):
    """Trainable weights of a model.

    Attributes:
        adapter: `lora` (Hu et al. 2021) trains two thin matrices beside each linear layer and leaves the model
            unchanged; `none` trains the weights themselves.
        rank: width of the adapter.
        alpha: the adapter's output is scaled by alpha / rank.
        layers: number of upper layers that learn; `None` is all. Layers below need no backward pass.
    """

    adapter: Literal["lora", "none"] = "lora"
    rank: Annotated[int, Range("a wider matrix fits no memory", ge=1, le=2**16)] = 16
    alpha: Annotated[
        float,
        Range("at 0 nothing would be learned", gt=0, le=1e6),
    ] = 32.0
    layers: Annotated[int, Range("it counts layers; null is all", ge=0, le=10**4)] | None = None


FROZEN = Trainable(adapter="none", layers=0)


class ModelSettings(Trainable):
    """The model that stages start from, and which of its weights are trained.

    Attributes:
        name: a catalog name such as `smollm2-135m`, a folder, a GGUF file or a Hugging Face name.
        device: `auto` uses a GPU if there is one.
        precision: of matrix products; `auto` is bfloat16 on processors with bfloat16 instructions.
        chat_template: `plain` writes turns as `Human: …` and `Assistant: …`; or the path of a Jinja file;
            `None` uses the tokenizer's own.
    """

    name: str
    device: Device = "auto"
    precision: Precision = "auto"
    chat_template: str | None = None

    @field_validator("chat_template")
    @classmethod
    def _is_there(cls, value: str | None) -> str | None:
        if value not in (None, "plain") and not Path(str(value)).expanduser().is_file():
            raise ValueError(f"no file at {value}; give plain or the path of a Jinja file")
        return value


class HeadSettings(Settings):
    """The shape of a scalar head.

    Attributes:
        head: `linear` is one linear map (Ziegler et al. 2019); `mlp` has one hidden layer of tanh units, which
            are bounded, so that one outlier component of a state cannot dominate the score.
        pooling: states that are read: `last`, that of the last token, which attends to everything; `first`, that
            of the first completion token; `mean` and `max`, component by component over the completion's tokens;
            `attention`, a mean with learned weights (a softmax over the tokens, initially equal).
        hidden: width of the hidden layer; `None` is the model's own width.
    """

    head: Literal["linear", "mlp"] = "linear"
    pooling: Literal["last", "mean", "max", "first", "attention"] = "last"
    hidden: Annotated[int, Range("a wider layer fits no memory", ge=1, le=2**20)] | None = None

    @property
    def plain(self) -> bool:
        """True if this is the head of `AutoModelForSequenceClassification`: linear, on the last token."""
        return self.head == "linear" and self.pooling == "last"

    def __str__(self) -> str:
        return f"{self.head} on {self.pooling}"


PLAIN_HEAD = HeadSettings()


def split_head(name: str) -> tuple[str, str | None]:
    """Split the name of a model with several heads, `model#head`, into the model's name and the head's.

    This is the one form in which a head is named: on the command line, in recipes and in Python calls. The
    head is `None` where none is named; an existing path that holds `#` is a path.
    """
    path, mark, head = name.rpartition("#")
    if not mark or not path or Path(name).expanduser().exists():
        return name, None
    return path, head


CombinationRule = Literal[
    "mean", "median", "trimmed_mean", "minimum", "mean_minus_std", "weighted", "gated", "stacked"
]
FITTED = ("gated", "stacked")  # rules whose numbers come from held-out pairs
PENALIZED_MEAN = re.compile(r"mean\s*-\s*(\S+)\s*\*?\s*std")  # "mean - 1.0 * std"


class Combination(Settings):
    """How the scores of an ensemble's members become one; a text such as `median` is the rule alone.

    Attributes:
        rule: `mean`, `median`, `trimmed_mean`, `minimum`; `mean_minus_std`, also written `mean - 1.0 * std`: the
            mean less `coef` standard deviations over members; `weighted`: a sum with `weights`; `gated` and
            `stacked`: weights that are fitted on held-out pairs, for each completion or for all.
        coef: λ of `mean_minus_std`.
        trim: share of the members that `trimmed_mean` leaves out at each end.
        weights: one for each member, for `weighted`; those that were fitted, for `stacked`.
        gate: for `gated`, once it is fitted: for each member its row of A and its b, of `softmax(A·s + b)`.
    """

    rule: CombinationRule = "mean"
    coef: Annotated[float, Range("below 0 it would reward disagreement", ge=0, le=1e6)] = 1.0
    trim: Annotated[float, Range("half or more at each end leaves no member", ge=0, lt=0.5)] = 0.2
    weights: list[Finite] | None = None
    gate: list[list[Finite]] | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Combination:
        if self.rule == "weighted" and not self.weights:
            raise ValueError("the rule weighted needs weights, one for each member")
        if self.weights is not None and self.rule not in ("weighted", "stacked"):
            raise ValueError(f"the rule {self.rule} has no weights; remove them, or set rule to weighted")
        return self

    def misfit(self, members: int) -> str | None:
        """Describe why the rule cannot combine so many members, as a clause; `None` if it can."""
        if self.weights is not None and len(self.weights) != members:
            return f"{len(self.weights)} weights for {members} members; give one for each"
        if self.gate is not None and [len(row) for row in self.gate] != [members + 1] * members:
            return f"a gate of another shape than {members} members have; fit it again"
        if self.rule in FITTED and self.weights is None and self.gate is None:
            return f"the rule {self.rule}, which is not fitted; fit it on held-out pairs in a stage of its own"
        return None

    def __str__(self) -> str:
        return f"mean - {self.coef:g} * std" if self.rule == "mean_minus_std" else self.rule


def _combination_of_text(value: Any) -> Any:
    """A rule, or `mean - λ * std`, written as a text."""
    if not isinstance(value, str):
        return value
    penalized = PENALIZED_MEAN.fullmatch(value.strip())
    return {"rule": "mean_minus_std", "coef": penalized[1]} if penalized else {"rule": value}


class DropoutPasses(Settings):
    """Monte Carlo dropout of a single reward model (Gal and Ghahramani 2016).

    Attributes:
        passes: number of masks; each is a member of the ensemble.
        rate: share of a state's components that the head does not read.
    """

    passes: Annotated[int, Range("one pass has no other to differ from", ge=2, le=1000)] = 20
    rate: Annotated[float, Range("at 0 all passes are the same, and at 1 nothing is read", gt=0, lt=1)] = 0.1


Combine = Annotated[Combination, BeforeValidator(_combination_of_text)]
EnsembleKind = Literal["heads", "adapters", "models"]


StepCombination = Literal["min", "product", "last"]


class StepSettings(Settings):
    """How a process reward model scores an answer.

    Attributes:
        combine: the smallest probability of a step, their product, or that of the last step, which is the whole
            answer's.
        separator: the text between two steps.
    """

    combine: StepCombination = "last"
    separator: str = "\n"
