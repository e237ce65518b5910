"""Authors of answers: models in this process, and models behind an OpenAI-compatible server."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

from gnomon.core.errors import ConfigError, DataError
from gnomon.feedback.generation.generators import Author, Draft, Keep, Order, Refusal, settings_of
from gnomon.models.engine.device import find_compute
from gnomon.models.external import check_external_model, digest_model, open_policy
from gnomon.models.roles import Policy
from gnomon.rollouts.openai_client import ChatEndpoint, shown, split_address
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling

SIDE_BY_SIDE = 64  # answers that a model in this process draws before they are kept
KNOWN_KEYS = {"api.openai.com": "OPENAI_API_KEY"}


class LocalAuthor:
    """A language model in this process, loaded at its first answer."""

    def __init__(self, model: str):
        check_external_model(model, "policy")
        self.name = model
        self.identity = {"digest": digest_model(model)}
        self._policy: Policy | None = None

    def write(self, orders: Sequence[Order], keep: Keep) -> Iterator[Draft | Refusal]:
        """Answers drawn side by side, those of one temperature together."""
        for start in range(0, len(orders), SIDE_BY_SIDE):
            yield from self._draw(orders[start : start + SIDE_BY_SIDE], keep)

    def close(self) -> None:
        """Let go of the model's memory."""
        self._policy = None
        gc.collect()

    def _draw(self, orders: Sequence[Order], keep: Keep) -> list[Draft | Refusal]:
        found: dict[int, Draft | Refusal] = {}
        by_settings = sorted(range(len(orders)), key=lambda place: str(settings_of(orders[place])))
        for _, group in groupby(by_settings, key=lambda place: str(settings_of(orders[place]))):
            places = list(group)
            for place, draft in zip(places, self._alike([orders[place] for place in places]), strict=True):
                found[place] = draft
                if isinstance(draft, Draft):
                    keep(orders[place], draft)
        return [found[place] for place in range(len(orders))]

    def _alike(self, orders: Sequence[Order]) -> list[Draft | Refusal]:
        """Answers to orders of the same settings; a prompt that cannot be read leaves the others as they are."""
        if self._policy is None:
            self._policy = open_policy(self.name, find_compute())
        sampling = Sampling(**settings_of(orders[0]))
        prompts, seeds = [order.prompt for order in orders], [order.seed for order in orders]
        try:
            rollouts = NativeSampler(self._policy).sample(prompts, sampling, seed=0, seeds=seeds)
        except DataError as error:
            if len(orders) == 1:
                return [Refusal(str(error))]
            return [draft for order in orders for draft in self._alike([order])]
        return [Draft(rollout.completion.text.strip(), rollout.finished) for rollout in rollouts]


class EndpointAuthor:
    """A model behind a server; several requests are on their way at a time.

    What it is made of is the server's affair: the same name may stand for other weights tomorrow. So its answers
    say which model and fingerprint the server named.
    """

    def __init__(self, endpoint: ChatEndpoint, *, parallel: int = 4):
        self.endpoint = endpoint
        self.parallel = parallel
        self.name = endpoint.model
        self.identity = {"endpoint": endpoint.url, "asked_for": endpoint.model}

    def write(self, orders: Sequence[Order], keep: Keep) -> Iterator[Draft | Refusal]:
        """Answers in the order of the orders; those on their way when nobody asks on are kept too."""

        def one(order: Order) -> Draft | Refusal:
            try:
                reply = self.endpoint.complete(order.prompt, seed=order.seed, **settings_of(order))
            except DataError as error:
                return Refusal(str(error))
            draft = Draft(reply.text.strip(), reply.finished, reply.served_by)
            keep(order, draft)
            return draft

        pool = ThreadPoolExecutor(self.parallel, thread_name_prefix="author")
        try:
            yield from pool.map(one, orders)
        finally:
            self.endpoint.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self.endpoint.stopped.clear()

    def close(self) -> None:
        """Nothing is held between answers."""


def open_author(source: str, keys: Mapping[str, str], **settings: Any) -> Author:
    """The author that a source names: `http://host/v1#model`, or any name of a local model.

    Args:
        source: as a user gives it.
        keys: environment variables by host, as `read_keys` gives them.
        settings: `parallel`, `timeout` and `retries` of an endpoint.

    Raises:
        ConfigError: an address names no model, or the variable of its key is not set.
        ModelError: there is no such model.
    """
    if "://" not in source:
        return LocalAuthor(source)
    url, _, model = source.partition("#")
    if not model:
        raise ConfigError(f"{shown(url)} names no model; give it as http://localhost:8000/v1#model.")
    parts = split_address(url)
    host = (parts.hostname or "") if parts else ""
    variable = {**KNOWN_KEYS, **keys}.get(host)
    key = os.environ.get(variable, "").strip() if variable else None
    if variable and not key:
        raise ConfigError(f"the environment variable {variable} with the key for {host} is not set; set it.")
    parallel = int(settings.pop("parallel", 4))
    return EndpointAuthor(ChatEndpoint(url, model, key=key, **settings), parallel=parallel)


def read_keys(said: Sequence[str]) -> dict[str, str]:
    """`HOST=VARIABLE` as a mapping.

    Raises:
        ConfigError: one is not of that form; what it says is not repeated, for it may be the key itself.
    """
    found = {}
    for number, one in enumerate(said, start=1):
        host, equals, variable = one.partition("=")
        if not equals or not host or not variable.isidentifier():
            raise ConfigError(
                f"--key number {number} is not HOST=VARIABLE; name the environment variable that holds the key."
            )
        found[host] = variable
    return found
