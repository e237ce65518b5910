"""Generators: models in this process, and models behind an OpenAI-compatible server."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

from gnomon.core.errors import ConfigError, DataError
from gnomon.feedback.generation.generators import (
    CompletionGenerator,
    GeneratedText,
    GenerationRequest,
    Refusal,
    SaveCallback,
    settings_of,
)
from gnomon.models.engine.device import find_compute
from gnomon.models.external import check_external_model, digest_model, model_path, open_policy, require_kind
from gnomon.models.roles import Policy
from gnomon.rollouts.http_endpoint import shown, split_address
from gnomon.rollouts.openai_client import ChatEndpoint
from gnomon.rollouts.sampler import NativeSampler
from gnomon.rollouts.sampling_params import Sampling

BATCH_SIZE = 64  # texts that a local model samples before they are saved
KNOWN_KEYS = {"api.openai.com": "OPENAI_API_KEY"}


class LocalGenerator:
    """A language model in this process, loaded at its first request."""

    def __init__(self, model: str):
        check_external_model(model, "policy")
        self.name = model
        self.identity = {"digest": digest_model(model)}
        self._policy: Policy | None = None

    def write(
        self, requests: Sequence[GenerationRequest], save: SaveCallback
    ) -> Iterator[GeneratedText | Refusal]:
        """Sample in batches, grouped by sampling settings."""
        for start in range(0, len(requests), BATCH_SIZE):
            yield from self._write_batch(requests[start : start + BATCH_SIZE], save)

    def close(self) -> None:
        """Release the model's memory."""
        self._policy = None
        gc.collect()

    def _write_batch(
        self, requests: Sequence[GenerationRequest], save: SaveCallback
    ) -> list[GeneratedText | Refusal]:
        texts: dict[int, GeneratedText | Refusal] = {}
        by_settings = sorted(range(len(requests)), key=lambda index: str(settings_of(requests[index])))
        for _, group in groupby(by_settings, key=lambda index: str(settings_of(requests[index]))):
            indices = list(group)
            for index, text in zip(indices, self._sample([requests[i] for i in indices]), strict=True):
                texts[index] = text
                if isinstance(text, GeneratedText):
                    save(requests[index], text)
        return [texts[index] for index in range(len(requests))]

    def _sample(self, requests: Sequence[GenerationRequest]) -> list[GeneratedText | Refusal]:
        """Sample texts for requests of the same settings; an invalid prompt does not affect the others."""
        if self._policy is None:
            self._policy = open_policy(self.name, find_compute())
        sampling = Sampling(**settings_of(requests[0]))
        prompts, seeds = [request.prompt for request in requests], [request.seed for request in requests]
        try:
            rollouts = NativeSampler(self._policy).sample(prompts, sampling, seed=0, seeds=seeds)
        except DataError as error:
            if len(requests) == 1:
                return [Refusal(str(error))]
            return [text for request in requests for text in self._sample([request])]
        return [GeneratedText(rollout.completion.text.strip(), rollout.finished) for rollout in rollouts]


class EndpointGenerator:
    """A model behind a server, with concurrent requests.

    A server may change the weights behind a model name, so each text records the model and fingerprint that
    the server reported.
    """

    def __init__(self, endpoint: ChatEndpoint, *, parallel: int = 4):
        self.endpoint = endpoint
        self.parallel = parallel
        self.name = endpoint.model
        self.identity = {"endpoint": endpoint.url, "asked_for": endpoint.model}

    def write(
        self, requests: Sequence[GenerationRequest], save: SaveCallback
    ) -> Iterator[GeneratedText | Refusal]:
        """Yield texts in the order of the requests; those still in flight at a stop are saved too."""

        def one(request: GenerationRequest) -> GeneratedText | Refusal:
            try:
                reply = self.endpoint.complete(request.prompt, seed=request.seed, **settings_of(request))
            except DataError as error:
                return Refusal(str(error))
            text = GeneratedText(reply.text.strip(), reply.finished, reply.served_by)
            save(request, text)
            return text

        pool = ThreadPoolExecutor(self.parallel, thread_name_prefix="generator")
        try:
            yield from pool.map(one, requests)
        finally:
            self.endpoint.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self.endpoint.stopped.clear()

    def close(self) -> None:
        """Close the connections to the server; afterwards nothing can be requested."""
        self.endpoint.close()


def open_generator(source: str, keys: Mapping[str, str], **settings: Any) -> CompletionGenerator:
    """Create the generator of a source: `http://host/v1#model`, or the name of a local model.

    Args:
        source: name of the source, as given by the user.
        keys: environment variables by host, from `read_keys`.
        settings: `parallel`, `timeout` and `retries` of an endpoint.

    Raises:
        ConfigError: an address names no model, or the variable of its key is not set.
        ModelError: there is no such model.
    """
    if "://" not in source:
        return LocalGenerator(source)
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
    return EndpointGenerator(ChatEndpoint(url, model, key=key, **settings), parallel=parallel)


def check_generator(source: str, keys: Mapping[str, str], **settings: Any) -> None:
    """Refuse a source that can never generate, without loading a model; a name on the hub takes a request.

    Args:
        source: name of the source, as given by the user.
        keys: environment variables by host, from `read_keys`.
        settings: `parallel`, `timeout` and `retries` of an endpoint.

    Raises:
        ConfigError: an address names no model, or the variable of its key is not set.
        ModelError: there is no such model, or it is a reward model.
    """
    open_generator(source, keys, **settings).close()
    if "://" not in source:
        require_kind(model_path(source), "policy")


def read_keys(specs: Sequence[str]) -> dict[str, str]:
    """Parse `HOST=VARIABLE` into a mapping.

    Raises:
        ConfigError: an entry has another form; it is not quoted, because it may be the key itself.
    """
    variables = {}
    for number, one in enumerate(specs, start=1):
        host, equals, variable = one.partition("=")
        if not equals or not host or not variable.isidentifier():
            raise ConfigError(
                f"--key number {number} is not HOST=VARIABLE; name the environment variable that holds the key."
            )
        variables[host] = variable
    return variables
