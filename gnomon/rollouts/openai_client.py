"""A chat model behind an OpenAI-compatible server: one conversation in, one text out.

Many servers have `POST …/chat/completions`: vLLM, llama.cpp, Ollama, and those of most vendors. Requests and
replies are texts, without token ids or log-probabilities, so on-policy training cannot use this as its sampler.

A key is sent only to the host it was set for, and is in no message and no representation. Redirects, which would
send it elsewhere, are not followed. httpx sends the requests; a proxy of the environment is used.
"""

from __future__ import annotations

import json
import math
import random
import ssl
import threading
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import chain, islice
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx2

from gnomon.core.errors import ConfigError, DataError, ModelError
from gnomon.core.redaction import HIDDEN, redact
from gnomon.core.types import Message, Prompt
from gnomon.data.reading.media.parts import check_read_by_models
from gnomon.data.reading.messages import context_row

RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}  # statuses of transient failures
LARGEST = 16 << 20  # bytes of a reply
LONGEST_WAIT = 120.0  # seconds of the longest `Retry-After` that is followed
LONGEST_BACKOFF = 30.0


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


class _Transient(Exception):
    """A failure that may not occur again; `wait` is the server's `Retry-After`, in seconds."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


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
        parts = split_address(url)
        if (
            parts is None
            or parts.scheme not in ("http", "https")
            or not parts.hostname
            or "@" in parts.netloc
            or parts.query
        ):
            raise ConfigError(f"{shown(url)} is no address of a server; give one as http://localhost:8000/v1.")
        if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError(f"the key for {parts.hostname} has characters that no key has; set it again.")
        base = url.split("#")[0].rstrip("/")
        self.url = base if base.endswith("/chat/completions") else f"{base}/chat/completions"
        self.model = model
        self.timeout = timeout
        self.retries = retries
        self.first_wait = first_wait
        self.stopped = threading.Event()  # when set, waits end, and nothing is sent again
        self._key = key
        self._client = _client(key, timeout)  # reuses its connections
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
        for attempt in range(self.retries + 1):
            limit, seeded = self._limit, self._seeded
            sent = {"model": self.model, "messages": messages, **beside, **settings, limit: max_tokens}
            try:
                return self._reply(self._send({**sent, "seed": seed} if seeded else sent, prompt.id))
            except _Transient as failed:
                reason, wait = str(failed), failed.wait
            backoff = min(LONGEST_BACKOFF, self.first_wait * 2**attempt) * random.uniform(0.5, 1.0)
            if wait is not None and wait > LONGEST_WAIT:
                reason += f", with a Retry-After of {wait:.0f} seconds"
                break
            if attempt < self.retries and self.stopped.wait(backoff if wait is None else max(wait, backoff / 4)):
                break
        raise ModelError(f"{self.model} at {self.url} {reason}; tried {attempt + 1} times, so try again later.")

    def close(self) -> None:
        """Close the connections to the server; later requests fail."""
        self._client.close()

    def _send(self, body: dict[str, Any], prompt: str) -> bytes:
        try:
            with self._client.stream("POST", self.url, content=json.dumps(body)) as response:
                content = bytes(islice(chain.from_iterable(response.iter_bytes()), LARGEST + 1))
        except httpx2.TimeoutException:
            raise _Transient(f"sent nothing for {self.timeout:g} seconds") from None
        except httpx2.RequestError as error:
            if problem := _certificate_problem(error):
                raise ModelError(f"the certificate of {self.url} is not valid ({problem}).") from None
            raise _Transient(f"cannot be reached ({self._plain(error)})") from None
        if not response.is_success:
            raise self._refusal(response, content, body, prompt)
        if len(content) > LARGEST:
            raise DataError(f"prompt '{prompt}': the reply is longer than {LARGEST >> 20} MiB; lower max_tokens.")
        return content

    def _refusal(self, response: httpx2.Response, content: bytes, body: dict[str, Any], prompt: str) -> Exception:
        """Return the error of a status other than 200: transient, of the settings, or of this prompt."""
        status, detail = response.status_code, self._plain(_message(content))
        reason = f"returned status {status}" + (f" ({detail})" if detail else "")
        if status in RETRIED:
            return _Transient(reason, _seconds(response.headers.get("Retry-After")))
        if 300 <= status < 400:
            return ModelError(f"{self.url} redirects ({status}); give the address that it redirects to.")
        if status in (401, 403):
            return ModelError(f"{self.url} {reason}: it refuses the key; see --key.")
        if status in (404, 405):
            return ModelError(f"{self.url} {reason}; is the address right, and '{self.model}' a model there?")
        if status in (400, 422) and "max_tokens" in body and "max_completion_tokens" in detail:
            self._limit = "max_completion_tokens"
            return _Transient(reason, 0.0)
        if status in (400, 422) and "seed" in body and "seed" in detail:
            self._seeded = False
            return _Transient(reason, 0.0)
        return DataError(f"prompt '{prompt}': {self.model} {reason}.")

    def _reply(self, raw: bytes) -> Reply:
        try:
            content = json.loads(raw)
            choice = content["choices"][0]
            text, ended = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            detail = self._plain(_message(raw))[:80]
            raise _Transient(f"returned something that is no chat completion ({detail})") from None
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{self.model} returned no text ({self._plain(ended)}).")
        names = ("model", "system_fingerprint")
        return Reply(text, ended != "length", {name: str(content[name]) for name in names if content.get(name)})

    def _plain(self, detail: object) -> str:
        """Format a server's message as one short line, without the key that it may repeat."""
        line = " ".join(str(detail).split())
        return (line.replace(self._key, "…") if self._key else line)[:200]


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


def _client(key: str | None, timeout: float) -> httpx2.Client:
    """Create a client that sends the key, follows no redirects and stores no cookies.

    Raises:
        ConfigError: the environment has a proxy that cannot be used.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "gnomon"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    limits = httpx2.Limits(max_connections=None)
    try:
        return httpx2.Client(headers=headers, cookies=no_cookies, timeout=timeout, limits=limits)
    except (ImportError, ValueError, httpx2.InvalidURL):  # the message may quote a proxy's password
        raise ConfigError(
            "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is no address of an HTTP proxy; give one as http://host:port."
        ) from None


def _certificate_problem(error: BaseException | None) -> str:
    """Return the fault of a server's certificate, if that is why a request failed; "" otherwise."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__context__
    return error.verify_message if error else ""


def split_address(url: str) -> SplitResult | None:
    """Split an address into its parts; `None` if it is none, for example because its port is no number."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # parsed when it is read
    except ValueError:
        return None
    return parts


def shown(url: str) -> str:
    """Format an address for messages, without a password or a query, which may hold keys."""
    kind, separator, _ = url.partition("://")
    if "@" in url:
        return f"'{redact(url).rpartition('@')[2].split('?')[0]}'"
    if split_address(url) is None:  # its port may be the start of a password
        return f"'{kind}://{HIDDEN}'" if separator else f"'{HIDDEN}'"
    return f"'{url.split('?')[0]}'"


def _message(raw: bytes) -> str:
    """Extract the message from an error's body, in any of the usual forms."""
    text = raw.decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(content, dict):
        content = content.get("error", content)
    if isinstance(content, dict):
        content = next((content[name] for name in ("message", "detail") if name in content), content)
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _seconds(detail: str | None) -> float | None:
    """Parse `Retry-After`: seconds, or a date (RFC 9110, 10.2.3); `None` if it is neither."""
    if not detail:
        return None
    try:
        seconds = float(detail)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(detail).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
