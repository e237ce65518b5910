"""The environment of a run, as a report reads it from the run folder."""

from __future__ import annotations

import re

from pydantic import Field

from gnomon.core.storage.result_model import Number, ResultModel, Words


class SourceJudgements(ResultModel):
    """Provenance of data exported from a feedback store: its judgements, and a copy of their manifest."""

    project: Words = ""
    digest: Words = ""
    judgements: Number = None
    annotators: Number = None
    unchanged: bool = True
    manifest: Words = ""

    @property
    def link(self) -> str:
        """The path of the manifest relative to the report; "" for any other path."""
        return self.manifest if re.fullmatch(r"manifests/[0-9a-f]+\.json", self.manifest) else ""


class Environment(ResultModel):
    """Machine, versions and data of the run."""

    gnomon: Words = ""
    python: Words = ""
    torch: Words = ""
    transformers: Words = ""
    platform: Words = ""
    processor: Words = ""
    cores: Words = ""
    seed: Words = ""
    commit: Words = ""
    started: Words = ""
    command: Words = ""
    data: dict[str, Words] = Field(default_factory=dict)
    judgements: dict[str, SourceJudgements] = Field(default_factory=dict)
