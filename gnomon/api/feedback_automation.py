"""Programs that answer and programs that judge, as typed calls: `gnomon feedback generate` and `judge`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnomon.api.feedback import Name, only_project, open_store
from gnomon.core.errors import ConfigError, DataError, Interrupted, RunError
from gnomon.core.progress import StopSignal, progress

if TYPE_CHECKING:  # heavy, so imported by the calls that use it: the command line starts through here
    from gnomon.core.types import Completion, Prompt
    from gnomon.feedback.annotators.programmatic import Rater, Worked
    from gnomon.feedback.annotators.simulated import Utility
    from gnomon.feedback.generation.generate import Made
    from gnomon.feedback.generation.requests import Drawing
    from gnomon.feedback.selection.priority import Scoring
    from gnomon.feedback.store.store import Store


@dataclass(frozen=True)
class Generated:
    """What became of the answers, and the items that were made of them."""

    made: Made
    items: int


def feedback_generate(
    url: Name,
    project: str | None,
    sources: Sequence[str],
    drawing: Drawing,
    *,
    prompts: Name | None = None,
    most: int | None = None,
    keys: Sequence[str] = (),
    cache: Name | None = None,
    uncertain_by: Sequence[str] = (),
    random_share: float = 0.2,
    pairs: int | None = None,
    **settings: Any,
) -> Generated:
    """Have models answer the prompts of a bank, and make items of the answers.

    Args:
        url: of the store.
        project: its id; the only one where nothing is said.
        sources: local models, or `http://host/v1#model`.
        drawing: how many answers, and how they are drawn.
        prompts: a file of prompts that are added to the bank first; these are answered.
        most: prompts to answer, chosen by the bank's mix; `None`: all.
        keys: `HOST=VARIABLE`, the environment variables that hold the keys of endpoints.
        cache: a folder for answers; `None` takes Gnomon's own.
        uncertain_by: reward models; items of which they are uncertain are asked first.
        random_share: of those items, the share that stands at a random place of the order.
        pairs: items a prompt; `None`: as many as answers.
        settings: `parallel`, `timeout` and `retries` of endpoints.

    Raises:
        ConfigError: a source, a key or a setting is wrong.
        Interrupted: the user stopped it; what was made is in the store.
    """
    from gnomon.data.reading.downloads import cache_folder
    from gnomon.feedback.generation.backends import open_author, read_keys
    from gnomon.feedback.generation.generate import Made, generate
    from gnomon.feedback.generation.generators import Cache
    from gnomon.feedback.selection.items import ask_about
    from gnomon.feedback.selection.priority import check_orderable

    if not sources:
        raise ConfigError("nobody is asked; name a model with --from.")
    named = read_keys(keys)
    authors = [open_author(source, named, **settings) for source in dict.fromkeys(sources)]
    kept = Cache(Path(cache) if cache is not None else cache_folder() / "answers")
    with closing(open_store(url)) as store:
        project = project or only_project(store)
        if uncertain_by:
            check_orderable(project, store.project(project).task)
        asked = _asked(store, project, Path(prompts) if prompts is not None else None, most, drawing.seed)
        made, stop = Made(), StopSignal(waits=True)
        with stop.listening(), progress("answers", len(asked) * len(authors) * drawing.count) as bar:
            for author in authors:
                with closing(author):
                    generate(store, project, asked, author, drawing, kept, stop=stop, watch=bar, made=made)
        if not made.whole:
            raise Interrupted(
                f"stopped; {made.added} answers were added, and the same command goes on from there."
            )
        if not made.added and not made.known:
            reason = made.refused[0][1] if made.refused else "all answers are nearly the same"
            raise RunError(f"no prompt was answered: {reason.rstrip('.')}.")
        names = [prompt.id for prompt in asked]
        items = ask_about(
            store,
            project,
            names,
            scores=scoring(uncertain_by) if uncertain_by else None,
            count=pairs,
            seed=drawing.seed,
            random_share=random_share,
        ).added
    return Generated(made, items)


def _asked(store: Store, project: str, file: Path | None, most: int | None, seed: int) -> list[Prompt]:
    """The prompts to answer: those of a file, which the bank gets, or the bank's; so many by its mix."""
    from gnomon.core.types import Prompt
    from gnomon.data.reading.reported_rows import read_reported
    from gnomon.feedback.selection.items import answered, bank_of
    from gnomon.feedback.selection.prompts import Mix, select
    from gnomon.feedback.store.ingest import add_prompts
    from gnomon.feedback.store.store import BankPrompt

    store.project(project)
    wanted = None
    if file is not None:
        if not file.exists():
            raise DataError(f"no data at {file}; give a file of prompts.")
        read = read_reported(Prompt, file)
        wanted = set(add_prompts(store, project, [BankPrompt(one) for one in read]).ids.values())
    bank = [one for one in bank_of(store, project) if wanted is None or one.prompt.id in wanted]
    if not bank:
        raise DataError(f"project '{project}' has no prompts; give a file of them with --prompts.")
    if most is None:
        return [one.prompt for one in bank]
    times = {one.prompt.id: one.items for one in answered(store, project, [one.prompt.id for one in bank])}
    return [one.prompt.prompt for one in select(bank, most, Mix(), times, seed)]


def feedback_reorder(
    url: Name,
    project: str | None,
    judges: Sequence[str] = (),
    *,
    random_share: float = 0.2,
    seed: int = 0,
) -> list[float]:
    """Reorder the items that wait: those of which reward models are uncertain first; see `feedback.priority`.

    Args:
        url: of the store.
        project: its id; `None`: the only one.
        judges: reward models; none: items come in the order in which they were added.
        random_share: the share of items that stands at a random place of the order.
        seed: of that share.

    Returns:
        The priority of each waiting item.

    Raises:
        ConfigError: a judge is none, the share cannot be, or the project's items compare nothing.
        RunError: a judge fails on an answer.
    """
    from gnomon.feedback.selection.priority import reorder, waiting

    with closing(open_store(url)) as store:
        project = project or only_project(store)
        store.project(project)
        if not judges:
            return reorder(store, project, None)
        with progress("items", len(waiting(store, project))) as bar:
            return reorder(store, project, scoring(judges), share=random_share, seed=seed, watch=bar.at)


def scoring(names: Sequence[str]) -> Scoring:
    """What reward models say of a prompt's answers: `[members, answers]`.

    Raises:
        RunError: one of them fails on an answer.
    """
    from gnomon.api.score import reward_named

    rewards = [reward_named(name) for name in names]

    def found(prompt: Prompt, answers: Sequence[Completion]) -> list[list[float]]:
        rows = []
        for reward in rewards:
            scores = reward.score([prompt] * len(answers), answers)
            if not bool(scores.values.isfinite().all()):
                reason = scores.failures[0][1] if scores.failures else "a score is not a finite number"
                raise RunError(f"the judge '{reward.name}' failed on prompt '{prompt.id}': {reason}.")
            rows.append([float(value) for value in scores.values])
        return rows

    return found


def feedback_judge(
    url: Name,
    project: str | None,
    judges: Sequence[str],
    *,
    copies: int = 1,
    most: int | None = None,
    tie: float = 0.0,
    truth: str | None = None,
    seed: int = 0,
) -> dict[str, Worked]:
    """Have programs judge a project's items, one program after the other; by name, what each did.

    Args:
        url: of the store.
        project: its id; the only one where nothing is said.
        judges: `rule:longer`, `model:PATH`, `simulated:careful`; see `rater_named`.
        copies: of each simulated annotator, which err independently.
        most: judgements of each program in this call.
        tie: scores that differ by no more are equally good.
        truth: what utilities simulated annotators see: a reward model, a function, a rule; `None`: made-up ones.
        seed: of simulated annotators.

    Raises:
        ConfigError: a program is none.
        Interrupted: the user stopped it; what was judged is in the store.
    """
    from gnomon.feedback.annotators.programmatic import enrol, work
    from gnomon.feedback.tasks.queue import Queue

    if not judges:
        raise ConfigError("nobody judges; name a program with --by.")
    raters = [
        rater_named(one, tie=tie, truth=truth, seed=seed + copy)
        for one in dict.fromkeys(judges)
        for copy in range(copies if one.startswith("simulated:") else 1)
    ]
    found: dict[str, Worked] = {}
    stop = StopSignal(waits=True)
    with closing(open_store(url)) as store, stop.listening():
        project = project or only_project(store)
        store.project(project)
        for rater in raters:
            left = Queue(store, project).left_for(enrol(store, rater))
            with progress(rater.name, left if most is None else min(left, most)) as bar:
                found[rater.name] = work(store, project, rater, most=most, stop=stop, watch=bar)
            if stop:
                judged = sum(one.judged for one in found.values())
                raise Interrupted(
                    f"stopped; {judged} judgements are in, and the same command goes on from there."
                )
    return found


def rater_named(said: str, *, tie: float = 0.0, truth: str | None = None, seed: int = 0) -> Rater:
    """A program that judges, by what a user calls it.

    - `rule:longer`, `rule:contains=TEXT`, …: see `feedback.rule_raters.rule_rater`.
    - `model:NAME`: a reward model, `vader`, or `path/to/file.py:function`.
    - `simulated:MANNER`, also `simulated:noisy,position=0.5`: see `feedback.simulated.MANNERS`.

    Raises:
        ConfigError: it is none of these.
        ModelError: there is no such reward model.
    """
    kind, _, name = said.partition(":")
    if not name or kind not in ("rule", "model", "simulated"):
        raise ConfigError(f"'{said}' is no program that judges; give rule:…, model:… or simulated:….")
    if kind == "rule":
        from gnomon.feedback.annotators.rules import rule_rater

        return rule_rater(name, tie=tie)
    if kind == "model":
        from gnomon.api.score import reward_named
        from gnomon.feedback.annotators.programmatic import ScoredRater

        identity = {"judge": name, "digest": _judge_digest(name)}
        return ScoredRater(reward_named(name), "judge", identity, tie=tie, name=name)
    from gnomon.feedback.annotators.simulated import SimulatedRater, made_up_utility, manner_of

    utility = made_up_utility if truth is None else _utility(truth)
    name = f"{said} #{seed}"
    return SimulatedRater(
        manner_of(said.partition(":")[2]), utility, seed=seed, truth=truth or "made up", name=name
    )


def _judge_digest(name: str) -> str:
    """What a judge's scores depend on beside its name."""
    from gnomon.models.external import digest_model
    from gnomon.rewards.python_reward import function_digest, is_function

    if name == "vader":
        return ""
    return function_digest(name) if is_function(name) else digest_model(name)


def _utility(truth: str) -> Utility:
    """Utilities by a reward or a rule.

    Raises:
        ConfigError: there is none of that name.
        RunError: it fails on a completion.
    """
    from gnomon.api.score import reward_named
    from gnomon.feedback.annotators.rules import rule_rater

    kind, _, name = truth.partition(":")
    reward = rule_rater(name).reward if kind == "rule" else reward_named(truth.removeprefix("model:"))

    def found(prompt: Prompt, completion: Completion) -> float:
        scores = reward.score([prompt], [completion])
        if not bool(scores.values.isfinite().all()):
            raise RunError(f"'{truth}' has no score for completion '{completion.id}'; give another --truth.")
        return float(scores.values[0])

    return found
