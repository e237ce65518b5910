"""Python calls behind `gnomon feedback generate`, `reorder` and `auto-annotate`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gnomon.api.feedback.projects import Name, only_project, open_store
from gnomon.core.errors import ConfigError, DataError, Interrupted, RunError
from gnomon.core.progress import StopSignal, progress

if TYPE_CHECKING:  # heavy, so imported by the calls that use it: the command line starts through here
    from gnomon.core.types import Completion, Prompt
    from gnomon.feedback.annotators.programmatic import ProgramAnnotator, WorkSummary
    from gnomon.feedback.annotators.simulated import Utility
    from gnomon.feedback.generation.generate import GenerationResult
    from gnomon.feedback.generation.generators import CompletionGenerator, GenerationCache
    from gnomon.feedback.generation.requests import GenerationSettings
    from gnomon.feedback.selection.priority import ScoreFunction
    from gnomon.feedback.store.store import Store


class GenerateResult(NamedTuple):
    """Result of `feedback_generate`.

    Attributes:
        completions: counts of the requested completions.
        items: number of items created.
    """

    completions: GenerationResult
    items: int


def feedback_generate(
    url: Name,
    project: str | None,
    sources: Sequence[str],
    generation: GenerationSettings,
    *,
    prompts: Name | None = None,
    max_prompts: int | None = None,
    keys: Sequence[str] = (),
    cache: Name | None = None,
    uncertainty_from: Sequence[str] = (),
    random_share: float = 0.2,
    pairs: int | None = None,
    **settings: Any,
) -> GenerateResult:
    """Generate completions of a project's prompts with models, and create items from them.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        sources: local models, or `http://host/v1#model`.
        generation: number of completions and sampling settings.
        prompts: file of prompts that are added first; only these get completions.
        max_prompts: number of prompts, selected by the default mix; `None`: all.
        keys: `HOST=VARIABLE`, the environment variables with the API keys of endpoints.
        cache: folder for completions; `None`: Gnomon's own.
        uncertainty_from: reward models; the items they are most uncertain about come first.
        random_share: share of those items placed at random in the order.
        pairs: items per prompt; `None`: as many as completions.
        settings: `parallel`, `timeout` and `retries` of endpoints.

    Raises:
        ConfigError: a source, a key or a setting is invalid.
        Interrupted: the user stopped it; finished completions are in the store.
    """
    from gnomon.data.reading.downloads import cache_folder
    from gnomon.feedback.generation.backends import open_generator, read_keys
    from gnomon.feedback.generation.generators import GenerationCache
    from gnomon.feedback.selection.items import create_items
    from gnomon.feedback.selection.priority import check_orderable

    if not sources:
        raise ConfigError("no model is given; name one with --from.")
    variables = read_keys(keys)
    generators = [open_generator(source, variables, **settings) for source in dict.fromkeys(sources)]
    texts = GenerationCache(Path(cache) if cache is not None else cache_folder() / "answers")
    with closing(open_store(url)) as store:
        project = project or only_project(store)
        _check_has_completions(store, project)
        if uncertainty_from:
            check_orderable(project, store.project(project).task)
        selected = _prompts(store, project, prompts, max_prompts, generation.seed)
        result = _run_generators(store, project, selected, generators, generation, texts)
        ids, scores = (
            [prompt.id for prompt in selected],
            score_with(uncertainty_from) if uncertainty_from else None,
        )
        items = create_items(
            store, project, ids, scores=scores, count=pairs, seed=generation.seed, random_share=random_share
        ).added
    return GenerateResult(result, items)


def _check_has_completions(store: Store, project: str) -> None:
    """Refuse a project whose answers people write: programs neither complete its prompts nor judge texts.

    Raises:
        ConfigError: it is a project of demonstrations.
        DataError: there is no such project.
    """
    from gnomon.feedback.task_types import DEMONSTRATION

    if store.project(project).task == DEMONSTRATION:
        raise ConfigError(
            f"project '{project}' collects answers that people write; use programs in a project of pairs, "
            "rankings or ratings."
        )


def _run_generators(
    store: Store,
    project: str,
    prompts: Sequence[Prompt],
    generators: Sequence[CompletionGenerator],
    generation: GenerationSettings,
    cache: GenerationCache,
) -> GenerationResult:
    """Run one generator after the other; raise if the user stops or no completion exists at the end."""
    from gnomon.feedback.generation.generate import run_generators

    stop = StopSignal(waits=True)
    total = len(prompts) * len(generators) * generation.count
    with stop.listening(), progress("completions", total) as bar:
        result = run_generators(store, project, prompts, generators, generation, cache, stop=stop, progress=bar)
    if not result.whole:
        raise Interrupted(
            f"stopped; {result.added} completions were added, and the same command continues from there."
        )
    if not result.added and not result.known:
        reason = result.refused[0][1] if result.refused else "all completions are nearly the same"
        raise RunError(f"no completion was added: {reason.rstrip('.')}.")
    return result


def _prompts(store: Store, project: str, file: Name | None, max_prompts: int | None, seed: int) -> list[Prompt]:
    """The prompts to complete: those of the file, after adding them, or all; limited by the default mix."""
    from gnomon.core.types import Prompt
    from gnomon.data.reading.sources import check_source
    from gnomon.data.reported_rows import read_reported
    from gnomon.feedback.selection.items import prompt_completions
    from gnomon.feedback.selection.prompts import PromptMix, select_prompts
    from gnomon.feedback.store.ingest import add_prompts
    from gnomon.feedback.store.store import BankPrompt

    store.project(project)
    ids = None
    if file is not None:
        check_source(Path(file), "give a file of prompts.")
        read = read_reported(Prompt, Path(file))
        ids = set(add_prompts(store, project, [BankPrompt(one) for one in read]).ids.values())
    bank = [one for one in store.bank(project) if ids is None or one.prompt.id in ids]
    if not bank:
        raise DataError(f"project '{project}' has no prompts; give a file of them with --prompts.")
    if max_prompts is None:
        return [one.prompt for one in bank]
    times = {
        one.prompt.id: one.items for one in prompt_completions(store, project, [one.prompt.id for one in bank])
    }
    return [one.prompt.prompt for one in select_prompts(bank, max_prompts, PromptMix(), times, seed)]


def feedback_reorder(
    url: Name,
    project: str | None,
    judges: Sequence[str] = (),
    *,
    random_share: float = 0.2,
    seed: int = 0,
) -> list[float]:
    """Reorder open items: those that reward models are most uncertain about first; see `selection.priority`.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        judges: reward models; without any, items come in the order in which they were added.
        random_share: share of items placed at random in the order.
        seed: seed of the random share.

    Returns:
        The priority of each open item.

    Raises:
        ConfigError: a judge or the share is invalid, or the project's items are single completions.
        RunError: a judge fails on a completion.
    """
    from gnomon.feedback.selection.priority import open_items, reorder

    with closing(open_store(url)) as store:
        project = project or only_project(store)
        store.project(project)
        if not judges:
            return reorder(store, project, None)
        with progress("items", len(open_items(store, project))) as bar:
            return reorder(store, project, score_with(judges), share=random_share, seed=seed, progress=bar.at)


def score_with(names: Sequence[str]) -> ScoreFunction:
    """A function that scores a prompt's completions with reward models: `[models, completions]`.

    Each member of an ensemble counts as a model.

    Raises:
        RunError: a model fails on a completion.
    """
    from gnomon.api.score import reward_named
    from gnomon.rewards.ensemble import EnsembleReward

    rewards = [reward_named(name) for name in names]

    def score(prompt: Prompt, completions: Sequence[Completion]) -> list[list[float]]:
        rows: list[list[float]] = []
        for reward in rewards:
            prompts = [prompt] * len(completions)
            if isinstance(reward, EnsembleReward):
                members, failures = reward.member_scores(prompts, completions)
            else:
                scores = reward.score(prompts, completions)
                members, failures = scores.values[None], list(scores.failures)
            if not bool(members.isfinite().all()):
                reason = failures[0][1] if failures else "a score is not a finite number"
                raise RunError(f"the judge '{reward.name}' failed on prompt '{prompt.id}': {reason}.")
            rows += members.tolist()
        return rows

    return score


def feedback_auto_annotate(
    url: Name,
    project: str | None,
    annotators: Sequence[str],
    *,
    replicas: int = 1,
    max_judgements: int | None = None,
    tie: float = 0.0,
    utility: str | None = None,
    seed: int = 0,
) -> dict[str, WorkSummary]:
    """Annotate a project's items with programs, one after the other; returns a summary by name.

    Args:
        url: address of the store.
        project: id of the project; `None`: the only one.
        annotators: `rule:longer`, `model:PATH`, `simulated:careful`; see `open_annotator`.
        replicas: replicas of each simulated annotator, with independent errors.
        max_judgements: limit of judgements of each program in this call.
        tie: scores that differ by at most this much are a tie.
        utility: utility of simulated annotators: a reward model, a function, a rule; `None`: random ones.
        seed: seed of simulated annotators.

    Raises:
        ConfigError: there is no such program.
        Interrupted: the user stopped it; finished judgements are in the store.
    """
    from gnomon.feedback.annotators.programmatic import judge_items, register
    from gnomon.feedback.tasks.queue import Queue

    if not annotators:
        raise ConfigError("no annotator is given; name a program with --annotator.")
    programs = open_annotators(annotators, replicas=replicas, tie=tie, utility=utility, seed=seed)
    summaries: dict[str, WorkSummary] = {}
    stop = StopSignal(waits=True)
    with closing(open_store(url)) as store, stop.listening():
        project = project or only_project(store)
        _check_has_completions(store, project)
        for program in programs:
            left = Queue(store, project).remaining_count(register(store, program))
            total = left if max_judgements is None else min(left, max_judgements)
            with progress(program.name, total) as bar:
                summaries[program.name] = judge_items(
                    store, project, program, max_judgements=max_judgements, stop=stop, progress=bar
                )
            if stop:
                judged = sum(one.judged for one in summaries.values())
                raise Interrupted(
                    f"stopped; {judged} judgements were added, and the same command continues from there."
                )
    return summaries


def open_annotators(
    specs: Sequence[str], *, replicas: int = 1, tie: float = 0.0, utility: str | None = None, seed: int = 0
) -> list[ProgramAnnotator]:
    """Create programmatic annotators from their specifications; each simulated one in replicas.

    Args:
        specs: specifications, as `open_annotator` takes them; repeated ones count once.
        replicas: replicas of each simulated annotator, with seeds that follow each other.
        tie: largest difference of two scores that are a tie.
        utility: utility of simulated annotators; see `feedback_auto_annotate`.
        seed: seed of simulated annotators.

    Raises:
        ConfigError: a specification is invalid.
    """
    return [
        open_annotator(one, tie=tie, utility=utility, seed=seed + replica)
        for one in dict.fromkeys(specs)
        for replica in range(replicas if one.startswith("simulated:") else 1)
    ]


def open_annotator(spec: str, *, tie: float = 0.0, utility: str | None = None, seed: int = 0) -> ProgramAnnotator:
    """Create a programmatic annotator from its specification.

    - `rule:longer`, `rule:contains=TEXT`, …: see `annotators.rules.rule_annotator`.
    - `model:NAME`: a reward model, `vader`, or `path/to/file.py:function`.
    - `simulated:BEHAVIOR`, also `simulated:noisy,position=0.5`: see `annotators.simulated.BEHAVIORS`.

    Args:
        spec: specification, as above.
        tie: largest difference of two scores that are a tie.
        utility: utility of simulated annotators; see `feedback_auto_annotate`.
        seed: seed of simulated annotators.

    Raises:
        ConfigError: it is none of these.
        ModelError: there is no such reward model.
    """
    kind, _, name = spec.partition(":")
    if not name or kind not in ("rule", "model", "simulated"):
        raise ConfigError(f"'{spec}' is no annotator; give rule:…, model:… or simulated:….")
    if kind == "rule":
        from gnomon.feedback.annotators.rules import rule_annotator

        return rule_annotator(name, tie=tie)
    if kind == "model":
        from gnomon.api.score import reward_named
        from gnomon.feedback.annotators.programmatic import ScoringAnnotator

        identity = {"judge": name, "digest": _judge_digest(name)}
        return ScoringAnnotator(reward_named(name), "judge", identity, tie=tie, name=name)
    from gnomon.feedback.annotators.simulated import SimulatedAnnotator, parse_behavior, random_utility

    utility_function = random_utility if utility is None else _utility(utility)
    name = f"{spec} #{seed}"
    return SimulatedAnnotator(
        parse_behavior(spec.partition(":")[2]),
        utility_function,
        seed=seed,
        utility_name=utility or "made up",
        name=name,
    )


def _judge_digest(name: str) -> str:
    """Digest of what a judge's scores depend on beside its name."""
    from gnomon.models.external import digest_model
    from gnomon.rewards.python_reward import function_digest, is_function
    from gnomon.rewards.registry import REWARDS

    if is_function(name):
        return function_digest(name)
    if name in REWARDS.names():
        return REWARDS.digest(name) if REWARDS.is_outside(name) else ""
    return digest_model(name)


def _utility(name: str) -> Utility:
    """A utility function from a reward or a rule.

    Raises:
        ConfigError: there is none of that name.
        RunError: it fails on a completion.
    """
    from gnomon.api.score import reward_named
    from gnomon.feedback.annotators.rules import rule_annotator

    kind, _, rule = name.partition(":")
    reward = rule_annotator(rule).reward if kind == "rule" else reward_named(name.removeprefix("model:"))

    def utility(prompt: Prompt, completion: Completion) -> float:
        scores = reward.score([prompt], [completion])
        if not bool(scores.values.isfinite().all()):
            raise RunError(f"'{name}' has no score for completion '{completion.id}'; give another --utility.")
        return float(scores.values[0])

    return utility
