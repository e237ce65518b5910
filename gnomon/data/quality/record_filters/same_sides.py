"""Completions of one record that are equal, so that nothing is preferred."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, ClassVar

from gnomon.core.types import Preference, Ranking
from gnomon.data.quality.completion_roles import completion_roles
from gnomon.data.quality.contract import Action, Part, RecordFilter
from gnomon.data.quality.texts import completion_texts, nfc
from gnomon.data.records import completions_of


class SameSides(RecordFilter):
    """Finds preferences whose chosen completion equals the rejected one, and rankings with equal completions."""

    name: ClassVar[str] = "same_sides"
    part: ClassVar[Part] = "consistent"
    kinds: ClassVar[tuple[type, ...]] = (Preference, Ranking)
    default: ClassVar[Action] = "drop"

    def check(self, record: Any, tokenizer: Any) -> Iterator[str]:
        """Compare the completions in normal form."""
        texts = [tuple(map(nfc, completion_texts(one))) for one in completions_of(record)]
        for one, other in combinations(range(len(texts)), 2):
            if texts[one] == texts[other]:
                roles = completion_roles(record)
                yield f"{roles[one].name} and {roles[other].name} are equal"
                return
