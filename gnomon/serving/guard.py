"""Access to a scoring server: the token, requests of web pages, and the size of a request."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gnomon.core.boundary import first_line
from gnomon.core.errors import ConfigError

MAX_BYTES = 8 << 20  # bytes of a request
DRAINED = 64 << 20  # bytes of a request that is too large which are read, so that its sender gets the response
SHORTEST_TOKEN = 16
OPEN = ("/health",)  # paths that need no token


class TooLargeError(Exception):
    """A request has more than `MAX_BYTES` bytes."""


class ScoringGuard:
    """ASGI middleware: refuses requests without the token, and those of web pages.

    The token is in `Authorization: Bearer TOKEN`, or the password of `Authorization: Basic`, which clients send
    for an address such as `http://any:TOKEN@host:8000`. A web page that a user visits could send requests to a
    server on their machine; browsers add `Origin` to these.

    Args:
        app: the application.
        token: `None` to need none.
    """

    def __init__(self, app: ASGIApp, token: str | None):
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        response = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (response or self.app)(scope, receive, send)

    def _refusal(self, request: Request) -> JSONResponse | None:
        if "origin" in request.headers:
            return JSONResponse({"detail": "Requests of web pages are refused."}, status_code=403)
        if self.token is None or request.url.path in OPEN:
            return None
        if hmac.compare_digest(_sent_token(request).encode(), self.token.encode()):
            return None
        detail = "Send the server's token as Authorization: Bearer TOKEN."
        return JSONResponse({"detail": detail}, status_code=401, headers={"WWW-Authenticate": "Bearer"})


def _sent_token(request: Request) -> str:
    """Return the token of a request, "" if it has none."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return ""


async def read_body(request: Request) -> bytes:
    """Read the body of a request.

    Raises:
        TooLargeError: it has more than `MAX_BYTES` bytes.
    """
    body, count = bytearray(), 0
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > DRAINED:
        raise TooLargeError
    async for chunk in request.stream():
        count += len(chunk)
        if count <= MAX_BYTES:
            body += chunk
        elif count > DRAINED:
            break
    if count > MAX_BYTES:
        raise TooLargeError
    return bytes(body)


def read_token(path: Path) -> str:
    """Read a token from a file that holds nothing else.

    Raises:
        ConfigError: the file cannot be read, or its content is no token.
    """
    try:
        token = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {path} cannot be read ({first_line(error)}).") from None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"--token-file {path} must hold one token of at least {SHORTEST_TOKEN} ASCII characters without "
            "blanks, such as that of: python -c 'import secrets; print(secrets.token_urlsafe())'."
        )
    return token
