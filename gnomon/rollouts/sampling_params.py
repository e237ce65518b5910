"""Sampling settings, shared by every sampler."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from gnomon.core.config import Settings
from gnomon.core.ranges import Completions, Range, Temperature, Tokens, TopK, TopP


class Sampling(Settings):
    """Sampling settings.

    They apply in the order of the list: penalties change the logits, the temperature divides them, `top_k` and
    then `top_p` restrict them. Ids that end a completion are exempt from both penalties: most prompts contain
    them.

    Attributes:
        completions: K, completions for each prompt.
        max_tokens: length limit of a completion, in tokens.
        min_tokens: no id that ends a completion is drawn before this many tokens.
        repetition_penalty: logits of tokens that prompt or completion holds are divided by it if positive and
            multiplied if negative (Keskar et al. 2019); 1 changes nothing.
        no_repeat_ngram: no n-gram of this length in prompt and completion is completed a second time; 0 allows
            all. Lifted for a step on which it would leave nothing to draw.
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: keep this many tokens, and renormalize; 0 keeps all.
        top_p: keep the smallest set of tokens with at least this probability, and renormalize.
        stop: texts that end a completion; its tokens are kept as drawn, its text is cut before the first of them.
        stop_ids: ids that end a completion beside the template's end of a turn and the ends that the model lists.
        batch: completions drawn side by side.
    """

    completions: Completions = 1
    max_tokens: Tokens = 48
    min_tokens: Annotated[int, Range("it counts tokens", ge=0, le=2**27)] = 0
    repetition_penalty: Annotated[float, Range("it divides logits; 1 changes nothing", gt=0, le=1e6)] = 1.0
    no_repeat_ngram: Annotated[int, Range("it counts tokens; 0 allows all", ge=0, le=2**27)] = 0
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    top_k: TopK = 0
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    stop_ids: tuple[Annotated[int, Range("it is the id of a token", ge=0, lt=2**31)], ...] = ()
    batch: Annotated[int, Range("it counts completions drawn side by side", ge=1, le=10**6)] = 96

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens ({self.min_tokens}) is above max_tokens ({self.max_tokens})")
        return self

    @property
    def off_policy(self) -> list[str]:
        """Keys that make the sampling distribution differ from the model's at `temperature`."""
        neutral = {"min_tokens": 0, "repetition_penalty": 1, "no_repeat_ngram": 0, "top_p": 1, "top_k": 0}
        changed = [key for key, value in neutral.items() if getattr(self, key) != value]
        return changed + ["temperature"] * (self.temperature == 0)

    @property
    def on_policy(self) -> bool:
        """True if the log-probabilities are those of the model at `temperature`, as online training needs."""
        return not self.off_policy
