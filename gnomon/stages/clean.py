"""The clean stage: filters of data quality; later stages use the cleaned rows as data."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from gnomon.core.progress import console
from gnomon.core.storage.digests import digest_file
from gnomon.core.storage.result_model import Number, ResultModel, Words
from gnomon.data.quality.clean import clean_file
from gnomon.data.quality.contract import Filter
from gnomon.data.quality.file_filters.judge import Judge
from gnomon.data.quality.registry import build_filters
from gnomon.data.reading.counting import counted
from gnomon.data.record_kinds import KINDS
from gnomon.stages.contract import Cell, Result, Stage
from gnomon.stages.references import DataInput, Inputs, ModelInput, is_not_a_model
from gnomon.stages.workspace import StageRecipe, Workspace

HELD_OUT = "held_out"  # the filter's name, and the stage's setting


class FilterResult(ResultModel):
    """What a filter found in the data."""

    action: Words = ""
    records: Number = None
    figures: dict[str, Cell] = Field(default_factory=dict)


class CleanResult(Result):
    """The result of a clean stage."""

    view: ClassVar[str] = "clean"
    kind: Words = "clean"
    source: Words = ""
    records: Words = ""
    rows: Number = None
    clean: Number = None
    rejected: Number = None
    unreadable: Number = None
    quality: Number = None
    parts: dict[str, Number] = Field(default_factory=dict)
    filters: dict[str, FilterResult] = Field(default_factory=dict)


class CleanStage(Stage):
    """Clean data by filters: `<stage>/clean` holds the rows that are left, `rejected.jsonl` the others.

    Attributes:
        clean: the data: `<stage>/<part>`, or a path.
        filters: name of a filter → `off`, `report`, `drop` or `mask`, or a mapping of its settings; see
            `gnomon data filters`.
        held_out: data whose prompts are to be left out, likewise.
    """

    key: ClassVar[str] = "clean"
    result_type: ClassVar[type[Result]] = CleanResult
    data_keys: ClassVar[tuple[str, ...]] = (
        "clean",
        "held_out",
        "filters.held_out.files",
        "filters.lexicon.files",
    )
    model_keys: ClassVar[tuple[str, ...]] = ("filters.judge.judge", "filters.embeddings.model")
    clean: str
    filters: dict[str, Any] = Field(default_factory=dict)
    held_out: list[str] = Field(default_factory=list)

    def check(self, recipe: StageRecipe, where: str) -> None:
        """Check the settings of the filters."""
        build_filters(self.filters, f"{where}, filters")

    def inputs(self) -> Inputs:
        """The data, the held-out data, and the judge."""
        judges = [one.judge for one in self._named() if isinstance(one, Judge) and one.judge]
        models = tuple(
            ModelInput("filters.judge.judge", name, ("reward",)) for name in judges if not is_not_a_model(name)
        )
        held_out = tuple(DataInput(source, KINDS, may_be_broken=True) for source in self.held_out)
        return Inputs(models, (DataInput(self.clean, KINDS, may_be_broken=True), *held_out), tuple(judges))

    def parts(self) -> frozenset[str]:
        """The cleaned rows."""
        return frozenset({"clean"})

    def describe(self) -> str:
        """What the stage does, in a word."""
        return "clean"

    def semantic_settings(self) -> dict[str, Any]:
        """The settings, and digests of the lexicons."""
        names = [file for one in self._named() for file in one.files_of_checks()]
        files = [Path(name).expanduser() for name in names]
        digests = [
            digest_file(file) for file in files if file.is_file()
        ]  # a missing one is refused by the filter
        return {**super().semantic_settings(), **({"lexicons": digests} if digests else {})}

    def run(self, work: Workspace) -> CleanResult:
        """Write the cleaned rows, the rejected rows and the report, and return the stage's result."""
        from gnomon.stages.common.filter_tools import load_filter_tools
        from gnomon.stages.common.reward_factory import make_reward

        started = time.monotonic()
        settings = self._with_held_out(work)
        tools = load_filter_tools(
            settings, lambda name: make_reward(name, work, None), self._tokenizer(work, settings)
        )
        report = clean_file(
            work.data_path(self.clean),
            work.stage_folder(self.name) / "clean.jsonl",
            settings,
            tools=tools,
            layout=work.recipe.layout_of(self.clean),
            overwrite=True,
        )
        result = CleanResult(
            kind="clean",
            seconds=time.monotonic() - started,
            source=self.clean,
            records=report.kind,
            rows=report.rows,
            clean=report.clean,
            rejected=report.rejected,
            unreadable=report.unreadable,
            quality=report.quality,
            parts=dict(report.parts),
            filters={
                name: FilterResult(action=one.action, records=one.records, figures=dict(one.figures))
                for name, one in report.filters.items()
            },
        )
        rows = counted(report.rows, "rows")
        console.print(f"  {rows} = {report.clean:,} clean + {report.rejected:,} rejected", highlight=False)
        return result

    def _named(self) -> list[Filter]:
        """The filters, with their settings."""
        return build_filters(self.filters)

    def _with_held_out(self, work: Workspace) -> Mapping[str, Any]:
        """The settings of the filters, with the files behind the held-out data."""
        if not self.held_out:
            return self.filters
        files = [str(work.data_path(source)) for source in self.held_out]
        given = self.filters.get(HELD_OUT, {})
        own = dict(given) if isinstance(given, Mapping) else {"action": given}
        return {**self.filters, HELD_OUT: {**own, "files": [*own.get("files", []), *files]}}

    def _tokenizer(self, work: Workspace, settings: Mapping[str, Any]) -> Any:
        """The tokenizer of the recipe's model, where a filter counts tokens."""
        active = [one for one in build_filters(settings) if one.action != "off" and not one.idle]
        if not any("tokenizer" in one.needs() for one in active):
            return None
        from gnomon.models.external import model_path
        from gnomon.models.loading import load_tokenizer

        return load_tokenizer(model_path(work.recipe.model.name), work.recipe.model.chat_template)
