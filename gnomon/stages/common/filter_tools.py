"""The models that filters of data use, loaded by their names in the filters' settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gnomon.core.types import Completion, Prompt
from gnomon.data.quality.contract import Tools
from gnomon.data.quality.file_filters.embeddings import Embeddings
from gnomon.data.quality.file_filters.judge import Judge
from gnomon.data.quality.registry import build_filters
from gnomon.rewards.reward import Reward, numbers_of


def load_filter_tools(
    settings: Mapping[str, Any], load_judge: Callable[[str], Reward], tokenizer: Any = None
) -> Tools:
    """Load the judge and the embedding model that the settings of filters name.

    Args:
        settings: of filters by name.
        load_judge: loads a reward by its name.
        tokenizer: counts tokens; `None` without a model.
    """
    active = [one for one in build_filters(settings) if one.action != "off" and not one.idle]
    judges = [one.judge for one in active if isinstance(one, Judge)]
    models = [one.model for one in active if isinstance(one, Embeddings)]
    embed = None
    if models:
        from gnomon.stages.common.sentence_embeddings import load_embedder

        embed = load_embedder(models[0])
    return Tools(tokenizer, _scores(load_judge(judges[0])) if judges else None, embed)


def _scores(reward: Reward) -> Callable[[Sequence[Prompt], Sequence[Completion]], Sequence[float]]:
    def score(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Sequence[float]:
        return numbers_of(reward, prompts, completions)[0]

    return score
