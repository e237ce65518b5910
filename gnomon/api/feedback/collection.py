"""Python call behind `gnomon feedback collect`: judgements until a number of valid preferences exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.api.feedback.automation import open_annotators, score_with
from gnomon.api.feedback.projects import Name, feedback_import, only_project, open_store
from gnomon.api.feedback.server import serving
from gnomon.core.errors import ConfigError
from gnomon.core.progress import StopSignal

if TYPE_CHECKING:  # heavy, so imported by the call that uses it: the command line starts through here
    from gnomon.feedback.collection.summary import CollectSummary
    from gnomon.feedback.export.exporter import ExportSpec
    from gnomon.feedback.generation.generators import CompletionGenerator
    from gnomon.feedback.generation.requests import GenerationSettings


def feedback_collect(
    url: Name,
    project: str | None,
    until: int,
    *,
    max_judgements: int | None = None,
    max_hours: float | None = None,
    prompts: Name | None = None,
    mix: Mapping[str, float] | None = None,
    sources: Sequence[str] = (),
    generation: GenerationSettings | None = None,
    pairs: int | None = None,
    uncertainty_from: Sequence[str] = (),
    random_share: float = 0.2,
    keys: Sequence[str] = (),
    cache: Name | None = None,
    annotators: Sequence[str] = (),
    replicas: int = 1,
    tie: float = 0.0,
    utility: str | None = None,
    serve: bool | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    https: bool = False,
    spec: ExportSpec | None = None,
    **settings: Any,
) -> CollectSummary:
    """Select prompts, generate completions and have items judged, in rounds, until there are enough preferences.

    A preference is valid if an export with `valid_only` writes it. The first Ctrl-C ends the collection after the
    current step; a later call continues from there.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        until: valid preferences that the project shall have.
        max_judgements: judgements of this collection at most.
        max_hours: hours of this collection at most.
        prompts: file of prompts that are added first.
        mix: shares of the mix by which prompts are selected.
        sources: local models, or `http://host/v1#model`; without any, only existing completions are judged.
        generation: number of completions and sampling settings.
        pairs: items per prompt; `None`: as many as completions.
        uncertainty_from: reward models; the items they are most uncertain about come first.
        random_share: share of those items placed at random in the order.
        keys: `HOST=VARIABLE`, the environment variables with the API keys of endpoints.
        cache: folder for completions; `None`: Gnomon's own.
        annotators: programs that judge; see `feedback_auto_annotate`.
        replicas: replicas of each simulated annotator, with independent errors.
        tie: scores that differ by at most this much are a tie.
        utility: utility of simulated annotators.
        serve: whether people judge on the project's page; `None`: if there are no programs.
        host: address of the page.
        port: port of the page; 0 takes a free one.
        https: browsers connect through a TLS proxy.
        spec: aggregation, excluded annotators and filters of the export.
        settings: `parallel`, `timeout` and `retries` of endpoints.

    Returns:
        Why the collection ended, and what it added.

    Raises:
        ConfigError: a setting, a source or an annotator is invalid, or nobody judges.
        BusyError: another process collects the project.
    """
    from gnomon.core.config import validate
    from gnomon.data.reading.downloads import cache_folder
    from gnomon.feedback.collection.collector import Collector, CollectTools
    from gnomon.feedback.collection.lock import only_collection
    from gnomon.feedback.collection.plan import CollectPlan, CollectTarget
    from gnomon.feedback.collection.programs import ProgramTeam
    from gnomon.feedback.collection.state import valid_spec
    from gnomon.feedback.export.exporter import ExportSpec, start_export
    from gnomon.feedback.generation.generators import GenerationCache
    from gnomon.feedback.generation.requests import GenerationSettings
    from gnomon.feedback.selection.priority import check_orderable
    from gnomon.feedback.selection.prompts import PromptMix

    limits = {"until": until, "max_judgements": max_judgements, "max_hours": max_hours}
    plan = CollectPlan(
        target=validate(CollectTarget, limits, "collect"),
        sources=tuple(dict.fromkeys(sources)),
        spec=spec or ExportSpec(),
        mix=validate(PromptMix, dict(mix or {}), "--mix"),
        generation=generation or GenerationSettings(),
        pairs=pairs,
        random_share=random_share,
    )
    people = not annotators if serve is None else serve
    if not people and not annotators:
        raise ConfigError("nobody judges; name programs with --annotator, or let people judge with --serve.")

    def open_source(source: str) -> CompletionGenerator:
        from gnomon.feedback.generation.backends import open_generator, read_keys

        return open_generator(source, read_keys(keys), **settings)

    if plan.sources:
        from gnomon.feedback.generation.backends import check_generator, read_keys

        for source in plan.sources:  # a wrong name is refused before anything is done
            check_generator(source, read_keys(keys), **settings)
    texts = GenerationCache(Path(cache) if cache is not None else cache_folder() / "answers")
    with closing(open_store(url)) as store:
        name = project or only_project(store)
        start_export(store.project(name), valid_spec(plan.spec))
        if uncertainty_from:
            check_orderable(name, store.project(name).task)
        programs = open_annotators(
            annotators, replicas=replicas, tie=tie, utility=utility, seed=plan.generation.seed
        )
        stop = StopSignal(waits=True)
        with only_collection(store, name), stop.listening():
            if prompts is not None:
                feedback_import(url, name, prompts, bare=True)
            tools = CollectTools(
                open_generator=open_source,
                cache=texts,
                scores=score_with(uncertainty_from) if uncertainty_from else None,
                team=ProgramTeam(store, name, programs) if programs else None,
                people=partial(serving, store, name, host=host, port=port, https=https) if people else None,
            )
            return Collector(store, name, plan, tools, stop).run()
