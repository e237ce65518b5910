"""Requests of JSON to a server: connections, growing waits between retries, errors as one line.

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
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import chain, islice
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import httpx2

from gnomon.core.errors import ConfigError, ModelError
from gnomon.core.redaction import HIDDEN, redact

T = TypeVar("T")
RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}  # statuses of transient failures
LARGEST = 16 << 20  # bytes of a reply
LONGEST_WAIT = 120.0  # seconds of the longest `Retry-After` that is followed
LONGEST_BACKOFF = 30.0


@dataclass(frozen=True)
class HttpReply:
    """A server's reply.

    Attributes:
        status: of HTTP.
        content: the body, cut after `LARGEST` bytes and one more.
        retry_after: seconds that the server wants to be left alone.
    """

    status: int
    content: bytes
    retry_after: float | None = None

    @property
    def success(self) -> bool:
        """Whether the status is of success."""
        return 200 <= self.status < 300


class TransientError(Exception):
    """A failure that may not occur again; `wait` is the server's `Retry-After`, in seconds."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class GaveUpError(Exception):
    """The last of several attempts failed; `reason` says why, `attempts` counts them."""

    def __init__(self, reason: str, attempts: int):
        super().__init__(reason)
        self.reason = reason
        self.attempts = attempts


class HttpEndpoint:
    """An address that takes JSON; safe to use from several threads.

    Args:
        url: the address.
        key: sent as a bearer token; `None` sends none.
        timeout: seconds without a byte after which a request fails.
        retries: number of retries after a transient failure.
        first_wait: seconds before the first retry; doubled for each later one, with jitter.

    Attributes:
        stopped: when set, waits end, and nothing is sent again.
    """

    def __init__(self, url: str, *, key: str | None, timeout: float, retries: int, first_wait: float):
        self.url = url
        self.timeout = timeout
        self.retries = retries
        self.first_wait = first_wait
        self.stopped = threading.Event()
        self._key = key
        self._client = _client(key, timeout)  # reuses its connections

    def retried(self, attempt: Callable[[], T]) -> T:
        """Call until the call succeeds, with growing waits after transient failures.

        Args:
            attempt: the call; it raises `TransientError` to be called again.

        Raises:
            GaveUpError: the last attempt failed.
        """
        for number in range(self.retries + 1):
            try:
                return attempt()
            except TransientError as failed:
                reason, wait = str(failed), failed.wait
            backoff = min(LONGEST_BACKOFF, self.first_wait * 2**number) * random.uniform(0.5, 1.0)
            if wait is not None and wait > LONGEST_WAIT:
                reason += f", with a Retry-After of {wait:.0f} seconds"
                break
            if number < self.retries and self.stopped.wait(backoff if wait is None else max(wait, backoff / 4)):
                break
        raise GaveUpError(reason, number + 1)

    def post(self, body: Any) -> HttpReply:
        """Send JSON once.

        Raises:
            TransientError: the server cannot be reached, or sends nothing.
            ModelError: its certificate is not valid.
        """
        try:
            with self._client.stream("POST", self.url, content=json.dumps(body)) as response:
                content = bytes(islice(chain.from_iterable(response.iter_bytes()), LARGEST + 1))
        except httpx2.TimeoutException:
            raise TransientError(f"sent nothing for {self.timeout:g} seconds") from None
        except httpx2.RequestError as error:
            if problem := _certificate_problem(error):
                raise ModelError(f"the certificate of {self.url} is not valid ({problem}).") from None
            raise TransientError(f"cannot be reached ({self.plain(error)})") from None
        return HttpReply(response.status_code, content, retry_seconds(response.headers.get("Retry-After")))

    def close(self) -> None:
        """Close the connections to the server; later requests fail."""
        self._client.close()

    def plain(self, detail: object) -> str:
        """Format a server's message as one short line, without the key that it may repeat."""
        line = " ".join(str(detail).split())
        return (line.replace(self._key, "…") if self._key else line)[:200]


def check_address(url: str, key: str | None) -> None:
    """Refuse an address that is none of a server, and a key that cannot be sent.

    Args:
        url: the address, without a password or a query.
        key: the key, if any.

    Raises:
        ConfigError: with the address, without its password.
    """
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


def error_message(raw: bytes) -> str:
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


def retry_seconds(detail: str | None) -> float | None:
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
