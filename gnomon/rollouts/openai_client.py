"""A chat model behind an OpenAI-compatible server: one conversation in, one text out.

Many servers have `POST …/chat/completions`: vLLM, llama.cpp, Ollama, and those of most vendors. Requests and
replies are texts, without token ids or log-probabilities, so on-policy training cannot use this as its sampler.

A key is sent only to the host it was set for, and is in no message and no representation. Redirects, which would
send it elsewhere, are not followed. httpx sends the requests; a proxy of the environment is used.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from gnomon.core.errors import DataError, ModelError
from gnomon.core.types import Message, Prompt
from gnomon.data.reading.media.parts import check_read_by_models
from gnomon.data.reading.messages import context_row
from gnomon.rollouts.http_endpoint import (
    LARGEST,
    RETRIED,
    GaveUpError,
    HttpEndpoint,
    HttpReply,
    TransientError,
    check_address,
    error_message,
)


@dataclass(frozen=True)
class Reply:
    """A server's reply.

    Attributes:
        finished: whether the text ended by itself, not at the length limit.
        served_by: the model and the fingerprint in the reply; empty if it has none.
    """

    text: str
    finished: bool
    served_by: dict[str, str] = field(default_factory=dict)


class ChatEndpoint:
    """A model at an address; safe to use from several threads.

    Args:
        url: base URL of the API, such as `http://localhost:8000/v1`.
        model: its name on the server.
        key: sent as a bearer token; `None` sends none.
        timeout: seconds without a byte after which a request fails.
        retries: number of retries after a transient failure.
        first_wait: seconds before the first retry; doubled for each later one, with jitter.

    Raises:
        ConfigError: the address is no HTTP address, or the key cannot be sent.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        first_wait: float = 0.5,
    ):
        check_address(url, key)
        base = url.split("#")[0].rstrip("/")
        self.url = base if base.endswith("/chat/completions") else f"{base}/chat/completions"
        self.model = model
        self._http = HttpEndpoint(self.url, key=key, timeout=timeout, retries=retries, first_wait=first_wait)
        self._limit = "max_tokens"  # newer models of OpenAI need another name
        self._seeded = True

    def __repr__(self) -> str:
        return f"ChatEndpoint({self.url!r}, {self.model!r})"

    def complete(self, prompt: Prompt, *, temperature: float, top_p: float, max_tokens: int, seed: int) -> Reply:
        """Request one completion of a conversation; transient failures are retried with growing waits.

        Args:
            prompt: the conversation.
            temperature: of sampling.
            top_p: of sampling.
            max_tokens: length limit of the completion.
            seed: of sampling, if the server takes one.

        Raises:
            DataError: the server refuses this conversation, or returns no text.
            ModelError: it cannot be reached, refuses the model or the key, or fails repeatedly.
        """
        messages = list(map(_chat_message, prompt.messages))
        beside, settings = context_row(prompt), {"temperature": temperature, "top_p": top_p}

        def attempt() -> Reply:
            limit, seeded = self._limit, self._seeded
            sent = {"model": self.model, "messages": messages, **beside, **settings, limit: max_tokens}
            return self._reply(self._send({**sent, "seed": seed} if seeded else sent, prompt.id))

        try:
            return self._http.retried(attempt)
        except GaveUpError as failed:
            problem = f"{self.model} at {self.url} {failed.reason}; tried {failed.attempts} times"
        raise ModelError(f"{problem}, so try again later.")

    @property
    def stopped(self) -> threading.Event:
        """When set, waits end, and nothing is sent again."""
        return self._http.stopped

    def close(self) -> None:
        """Close the connections to the server; later requests fail."""
        self._http.close()

    def _send(self, body: dict[str, Any], prompt: str) -> bytes:
        reply = self._http.post(body)
        if not reply.success:
            raise self._refusal(reply, body, prompt)
        if len(reply.content) > LARGEST:
            raise DataError(f"prompt '{prompt}': the reply is longer than {LARGEST >> 20} MiB; lower max_tokens.")
        return reply.content

    def _refusal(self, response: HttpReply, body: dict[str, Any], prompt: str) -> Exception:
        """Return the error of a status other than 200: transient, of the settings, or of this prompt."""
        status, detail = response.status, self._http.plain(error_message(response.content))
        reason = f"returned status {status}" + (f" ({detail})" if detail else "")
        if status in RETRIED:
            return TransientError(reason, response.retry_after)
        if 300 <= status < 400:
            return ModelError(f"{self.url} redirects ({status}); give the address that it redirects to.")
        if status in (401, 403):
            return ModelError(f"{self.url} {reason}: it refuses the key; see --key.")
        if status in (404, 405):
            return ModelError(f"{self.url} {reason}; is the address right, and '{self.model}' a model there?")
        if status in (400, 422) and "max_tokens" in body and "max_completion_tokens" in detail:
            self._limit = "max_completion_tokens"
            return TransientError(reason, 0.0)
        if status in (400, 422) and "seed" in body and "seed" in detail:
            self._seeded = False
            return TransientError(reason, 0.0)
        return DataError(f"prompt '{prompt}': {self.model} {reason}.")

    def _reply(self, raw: bytes) -> Reply:
        try:
            content = json.loads(raw)
            choice = content["choices"][0]
            text, ended = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            detail = self._http.plain(error_message(raw))[:80]
            raise TransientError(f"returned something that is no chat completion ({detail})") from None
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{self.model} returned no text ({self._http.plain(ended)}).")
        names = ("model", "system_fingerprint")
        return Reply(text, ended != "length", {name: str(content[name]) for name in names if content.get(name)})


def _chat_message(message: Message) -> dict[str, Any]:
    """A message as the chat API takes it: the arguments of tool calls are texts, reasoning is not sent.

    Raises:
        DataError: it has more than text.
    """
    check_read_by_models([message], f"a message of the {message.role}")
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    calls: list[Any] = list(map(json.loads, message.tool_calls))
    for call in calls:
        call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    beside = {"tool_calls": calls, "name": message.name, "tool_call_id": message.tool_call_id}
    return {**row, **{key: value for key, value in beside.items() if value}}
