"""A reward server as a reward: one of `gnomon serve`, or one with OpenRLHF's protocol.

`http://host:8000` is Gnomon's, which gets messages; an address that ends in `/get_reward` is OpenRLHF's, which
gets texts by the policy's chat template. A token is taken from the environment variable `GNOMON_REWARD_TOKEN`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from gnomon.core.errors import ConfigError, RunError
from gnomon.core.types import Completion, Message, Prompt
from gnomon.data.reading.messages import context_row, message_row
from gnomon.data.templates.chat_template import TemplateInputs, render_text, turn_end
from gnomon.data.templates.rendering import prompt_label
from gnomon.rewards.reward import Numbers, PlainReward, Report, no_report
from gnomon.rollouts.http_endpoint import (
    RETRIED,
    GaveUpError,
    HttpEndpoint,
    HttpReply,
    TransientError,
    check_address,
    error_message,
)

TOKEN = "GNOMON_REWARD_TOKEN"
OPENRLHF = "/get_reward"
ROWS = 256  # rows of a request
TIMEOUT = 180.0  # seconds without a byte, as OpenRLHF's client waits
RETRIES = 4


def is_remote(spec: str) -> bool:
    """Return whether a recipe's reward is the address of a server."""
    return spec.startswith(("http://", "https://"))


class RemoteReward(PlainReward):
    """Scores of a reward server.

    Args:
        url: address of the server.
        tokenizer: of the completions' ids, whose chat template writes the texts for OpenRLHF's protocol.
        timeout: seconds without a byte after which a request fails; `None` for the default.
        retries: number of retries after a transient failure.
        first_wait: seconds before the first retry; doubled for each later one.

    Attributes:
        report: called with the number of scored rows after each request.

    Raises:
        ConfigError: the address or the token cannot be used, or OpenRLHF's protocol has no chat template.
    """

    def __init__(
        self,
        url: str,
        tokenizer: Any = None,
        *,
        timeout: float | None = None,
        retries: int = RETRIES,
        first_wait: float = 0.5,
    ):
        token = os.environ.get(TOKEN) or None
        if "@" in url:
            raise ConfigError(f"the address of a reward holds a password; put it into the variable {TOKEN}.")
        check_address(url, token)
        base = url.rstrip("/")
        self.rendered = base.endswith(OPENRLHF)
        if self.rendered and tokenizer is None:
            raise ConfigError(
                f"'{url}' takes texts by a policy's chat template, and there is no policy here; name a server of "
                "gnomon serve without /get_reward."
            )
        self.name = url
        self.tokenizer = tokenizer
        self.report: Report = no_report
        address = base if self.rendered or base.endswith("/v1/score") else f"{base}/v1/score"
        self._address, self._token = address, token
        self._timeout, self._retries, self._first_wait = timeout or TIMEOUT, retries, first_wait

    def numbers(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Numbers:
        """The server's scores; rows of a request that fails in every attempt are failures, with its reason.

        Raises:
            RunError: the server refuses the token, or has no such address.
        """
        values: list[float] = []
        reasons: list[tuple[int, str]] = []
        waits: dict[str, Any] = {"retries": self._retries, "first_wait": self._first_wait}
        with closing(HttpEndpoint(self._address, key=self._token, timeout=self._timeout, **waits)) as http:
            for start in range(0, len(completions), ROWS):
                rows = slice(start, start + ROWS)
                scores, failures = self._request(http, prompts[rows], completions[rows])
                values += scores
                reasons += [(start + row, reason) for row, reason in failures]
                self.report(len(values))
        return values, reasons

    def _request(
        self, http: HttpEndpoint, prompts: Sequence[Prompt], completions: Sequence[Completion]
    ) -> Numbers:
        count = len(completions)
        body = self._rendered_body(prompts, completions) if self.rendered else _body(prompts, completions)
        try:
            return http.retried(lambda: self._scores(http, http.post(body), count))
        except GaveUpError as failed:
            reason = f"the reward server {failed.reason}; tried {failed.attempts} times"
        except _RefusedError as refused:
            reason = f"the reward server {refused}"
        return [math.nan] * count, [(row, reason) for row in range(count)]

    def _scores(self, http: HttpEndpoint, reply: HttpReply, count: int) -> Numbers:
        """Read the scores of a reply."""
        if not reply.success:
            detail = http.plain(error_message(reply.content))
            reason = f"returned status {reply.status}" + (f" ({detail})" if detail else "")
            if reply.status in RETRIED:
                raise TransientError(reason, reply.retry_after)
            if reply.status in (401, 403):
                raise RunError(f"the reward server {self.name} {reason}; set the variable {TOKEN}.")
            if 300 <= reply.status < 400 or reply.status in (404, 405):
                raise RunError(f"the reward server {self.name} {reason}; is its address right?")
            raise _RefusedError(reason)
        try:
            content = json.loads(reply.content)
            numbers = _rewards(content) if self.rendered else _results(content)
            if len(numbers[0]) != count:
                raise TransientError(f"returned {len(numbers[0])} scores for {count} rows")
            return numbers
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            detail = http.plain(reply.content.decode("utf-8", "replace"))[:80]
            raise TransientError(f"returned something that has no scores ({detail})") from None

    def _rendered_body(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> dict[str, Any]:
        """The body of OpenRLHF's protocol: whole texts, their prompts, and the right answers as labels."""
        end = str(self.tokenizer.convert_ids_to_tokens(turn_end(self.tokenizer)))
        starts = [
            render_text(self.tokenizer, p.messages, prompt_label(p), answer=True, inputs=TemplateInputs.of(p))
            for p in prompts
        ]
        return {
            "query": [start + c.text + end for start, c in zip(starts, completions, strict=True)],
            "prompts": starts,
            "labels": [prompt.answer for prompt in prompts],
        }


class _RefusedError(Exception):
    """The server refuses this request, and would again."""


def _body(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> dict[str, Any]:
    """The body of `/v1/score`."""

    def rows(messages: Sequence[Message]) -> list[dict[str, Any]]:
        return [message_row(message) for message in messages]

    return {
        "prompts": [{"messages": rows(p.messages), **context_row(p)} for p in prompts],
        "completions": [c.text if c.turns is None else rows(c.turns) for c in completions],
    }


def _results(content: Any) -> Numbers:
    """The scores and failures of a reply of `/v1/score`."""
    results = content["results"]
    values = [math.nan if row["score"] is None else float(row["score"]) for row in results]
    reasons = [(n, str(row["reason"])) for n, row in enumerate(results) if row["score"] is None]
    return values, reasons


def _rewards(content: Any) -> Numbers:
    """The scores of a reply of OpenRLHF's protocol; some servers put each into a list of its own."""
    values = [float(one[0] if isinstance(one, list) and len(one) == 1 else one) for one in content["rewards"]]
    reasons = [(n, "its score is not a finite number") for n, one in enumerate(values) if not math.isfinite(one)]
    return [value if math.isfinite(value) else math.nan for value in values], reasons
