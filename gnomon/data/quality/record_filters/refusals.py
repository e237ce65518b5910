"""Refusals and boilerplate of language models, in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from gnomon.core.ranges import Range
from gnomon.data.quality.contract import Part, RecordFilter
from gnomon.data.quality.texts import named_texts, nfc

BOILERPLATE = (
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b",
    r"\b(?:i'm|i am) (?:just |only )?an? (?:ai|(?:large )?language model)\b",
    r"\bi (?:can(?:no|')t|could ?n'?o?t|am unable to|'m unable to|am not able to|'m not able to|won't|will not) "
    r"(?:assist|help|provide|comply|fulfil|fulfill|support|engage|create|generate|write|answer|discuss)\b",
    r"\b(?:i'm |i am )?sorry,? (?:but )?i (?:can(?:no|')t|am unable|'m unable|am not able|'m not able|won't)\b",
    r"\bi (?:do not|don't) feel comfortable\b",
    r"\bmy (?:training|knowledge) (?:data )?(?:only )?(?:goes|cut-?off|extends)\b",
    r"作为(?:一个|一名|一款)?(?:人工智能|AI|ＡＩ|大?语言模型|大模型|聊天机器人)",
    r"我(?:只是|是)(?:一个|一名|一款)?(?:人工智能|AI|大?语言模型)",
    r"(?:对不起|抱歉|很遗憾|不好意思)[，,。！!\s]{0,2}(?:但)?(?:我|本助手)?(?:无法|不能|没有办法|没法)",
    r"我(?:无法|不能|没有办法|没法|不会)(?:为您|为你|给您|给你)?"
    r"(?:提供|帮助|协助|回答|满足|完成|生成|讨论|继续|参与|撰写)",
)
APOSTROPHES = str.maketrans("’ʼ＇", "'''")


class Refusals(RecordFilter):
    """Finds completions that start with a refusal or with a model's words about itself.

    In data on safety a refusal is the right completion: look at the report before dropping.

    Attributes:
        within: characters at the start of a completion that are searched.
        patterns: more regular expressions, without regard to case.
    """

    name: ClassVar[str] = "refusals"
    part: ClassVar[Part] = "sound"
    within: Annotated[int, Range("it counts characters", ge=1, le=10**6)] = 200
    patterns: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)

    def model_post_init(self, context: Any, /) -> None:
        """Compile the patterns.

        Raises:
            ValueError: one is no regular expression.
        """
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"patterns: '{pattern}' is no regular expression ({error})") from None

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Search the start of each completion."""
        expression = "|".join([*BOILERPLATE, *(f"(?:{one})" for one in self.patterns)])
        for name, text in named_texts(record):
            start = nfc(text[: self.within]).translate(APOSTROPHES)
            if match := re.search(expression, start, re.IGNORECASE):  # re caches the compiled expression
                yield f"{name} refuses or is boilerplate: “{match[0]}”"
