"""Scripts that texts are written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field, field_validator

from gnomon.core.config import did_you_mean
from gnomon.core.ranges import Share
from gnomon.data.quality.contract import Part, RecordFilter
from gnomon.data.quality.texts import named_texts, prompt_text
from gnomon.data.records import prompt_of_record
from gnomon.data.scripts import NAMES, script_counts


class Scripts(RecordFilter):
    """Finds texts mostly in other scripts than the wanted ones; without wanted scripts it finds nothing.

    A script is certain where a language is a guess: of a short text, light detectors guess wrong.

    Attributes:
        wanted: scripts, such as Latin and Han.
        max_other: share of letters in other scripts that a text may have.
    """

    name: ClassVar[str] = "scripts"
    part: ClassVar[Part] = "sound"
    wanted: list[str] = Field(default_factory=list)
    max_other: Share = 0.5

    @field_validator("wanted")
    @classmethod
    def _are_scripts(cls, value: list[str]) -> list[str]:
        known = set(NAMES.values())
        for one in value:
            if one not in known:
                raise ValueError(f"'{one}' is no script; {did_you_mean(one, known)}")
        return value

    @property
    def idle(self) -> bool:
        """Without wanted scripts."""
        return not self.wanted

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Count the letters of the prompt and of each completion by script."""
        prompt = prompt_of_record(record)
        texts = [] if prompt is None else [("prompt", prompt_text(prompt))]
        for name, text in (*texts, *named_texts(record)):
            counts = script_counts(text)
            other = {script: n for script, n in counts.items() if script not in self.wanted}
            if other and sum(other.values()) > self.max_other * counts.total():
                yield f"{name} is mostly {max(other, key=lambda script: other[script])}"
