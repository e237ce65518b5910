"""Arguments of a user's reward function: texts, and the columns that its parameters name.

The first two parameters are the prompt (the text of the last user message) and the completion; a function whose
first two are called `prompts` and `completions` gets lists of them. Every further parameter is looked up by its
name: `raw_completion` (`raw_completions`) is the completion with its special tokens, and with a `<think>` that
the generation prompt opens; `record` (`records`) is the prompt's whole row, and any other name a column of that
row, such as `answer`. `**columns` gets every column that no parameter names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.core.types import Completion, JsonText, Prompt
from gnomon.data.templates.chat_template import answer_opening, turn_end

RAW, RECORD = "raw_completion", "record"


@dataclass(frozen=True)
class FunctionParameters:
    """The parameters of a reward function beside prompt and completion.

    Attributes:
        batched: whether the function takes lists.
        required: names of parameters without a default value.
        optional: names of parameters with a default value.
        every_column: whether the function takes all other columns too (`**columns`).
        texts: names of the parameters that get prompt and completion.
    """

    batched: bool = False
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    every_column: bool = False
    texts: tuple[str, ...] = ()

    def row_arguments(self, prompt: Prompt, completion: Completion, tokenizer: Any) -> dict[str, Any]:
        """Keyword arguments for one completion.

        Args:
            prompt: prompt with its columns.
            completion: completion of the prompt.
            tokenizer: tokenizer of the completion's ids.

        Raises:
            LookupError: the prompt's row has no such column.
        """
        columns, arguments = record_of(prompt), dict[str, Any]()
        for name in (*self.required, *self.optional):
            if name in (RAW, RAW + "s"):
                arguments[name] = raw_text(completion, tokenizer, prompt.chat_template_kwargs)
            elif name in (RECORD, RECORD + "s"):
                arguments[name] = columns
            elif name in columns:
                arguments[name] = columns[name]
            elif name in self.required:
                raise LookupError(f"the prompt's row has no '{name}'; it has {', '.join(sorted(columns))}")
        if self.every_column:
            arguments |= {name: value for name, value in columns.items() if self._is_free(name, arguments)}
        return arguments

    def batch_arguments(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], tokenizer: Any
    ) -> dict[str, list[Any]]:
        """Keyword arguments for a batch: lists, with `None` if a row lacks a column that another has.

        Args:
            prompts: N prompts with their columns.
            completions: N completions.
            tokenizer: tokenizer of the completions' ids.

        Raises:
            LookupError: no row has a column that the function requires.
        """
        records = [record_of(prompt) for prompt in prompts]
        known = {name for record in records for name in record}
        arguments: dict[str, list[Any]] = {}
        for name in (*self.required, *self.optional):
            if name in (RAW, RAW + "s"):
                arguments[name] = [
                    raw_text(completion, tokenizer, prompt.chat_template_kwargs)
                    for prompt, completion in zip(prompts, completions, strict=True)
                ]
            elif name in (RECORD, RECORD + "s"):
                arguments[name] = list(records)
            elif name in known:
                arguments[name] = [record.get(name) for record in records]
            elif name in self.required:
                raise LookupError(f"no prompt's row has '{name}'; they have {', '.join(sorted(known))}")
        if self.every_column:
            free = [name for name in sorted(known) if self._is_free(name, arguments)]
            arguments |= {name: [record.get(name) for record in records] for name in free}
        return arguments

    def _is_free(self, name: str, arguments: Mapping[str, Any]) -> bool:
        """Return whether a column can be one of `**columns`."""
        return name not in arguments and name not in self.texts


def parameters_of(function: Callable[..., Any]) -> FunctionParameters:
    """Read a function's parameters beside prompt and completion; none if it has no signature."""
    try:
        everything = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return FunctionParameters()
    batched = [p.name for p in everything[:2]] == ["prompts", "completions"]
    named = [p for p in everything[2:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return FunctionParameters(
        batched,
        tuple(p.name for p in named if p.default is p.empty),
        tuple(p.name for p in named if p.default is not p.empty),
        any(p.kind is p.VAR_KEYWORD for p in everything),
        tuple(p.name for p in everything[:2]),
    )


def record_of(prompt: Prompt) -> dict[str, Any]:
    """The prompt's row: its columns, its id, and its answer if it has one."""
    answer = {} if prompt.answer is None else {"answer": prompt.answer}
    return {**prompt.columns, "id": prompt.id, **answer}


def raw_text(completion: Completion, tokenizer: Any, kwargs: JsonText = "") -> str:
    """A completion with its special tokens and with the tag that the generation prompt opened, without its end.

    Without token ids, the plain text.

    Args:
        completion: completion of a prompt.
        tokenizer: tokenizer of its ids.
        kwargs: the prompt's variables of the chat template.
    """
    if completion.token_ids is None or tokenizer is None:
        return completion.text
    ids = list(completion.token_ids)
    if ids and ids[-1] == turn_end(tokenizer):
        ids = ids[:-1]
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return (answer_opening(tokenizer, kwargs) + text).strip()


def names_special_token(pattern: str, tokenizer: Any) -> bool:
    """Return whether a pattern has a special token, or the generation prompt's open tag, escaped or not."""
    bare = pattern.replace("\\", "")
    tokens: list[str] = [
        *(getattr(tokenizer, "all_special_tokens", None) or []),
        answer_opening(tokenizer).strip(),
    ]
    return any(token in bare for token in tokens if token)
