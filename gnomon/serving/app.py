"""The scoring server: scores and decisions of one reward, as JSON over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from gnomon.core.errors import BusyError, ConfigError, GnomonError
from gnomon.rewards.encoder_reward import EncoderReward
from gnomon.rewards.ensemble import EnsembleReward
from gnomon.rewards.rendered_texts import RenderedTextReward, reads_rendered_texts
from gnomon.rewards.reward import LearnedReward, Reward, ScoreFunction
from gnomon.serving.calibration import calibration_mapping, calibration_of_reward
from gnomon.serving.guard import MAX_BYTES, ScoringGuard, TooLargeError, read_body
from gnomon.serving.payloads import (
    DecisionBody,
    QuestionBody,
    QuestionsBody,
    RenderedBody,
    RequestRow,
    ScoreBody,
    Turns,
    check_lengths,
    parse_body,
    parse_object,
    request_row,
)
from gnomon.serving.portable.decision_questions import (
    ChoiceProbabilities,
    answer_of,
    choice_probabilities,
    parse_questions,
)
from gnomon.serving.scoring_queue import RowScore, ScoringQueue

ROWS, RENDERED = "rows", "rendered"  # kinds of requests in the queue
router = APIRouter()
T = TypeVar("T")


class ServedReward:
    """The reward behind a server's routes.

    Attributes:
        reward: scores rows.
        name: of the model, in responses.
        calibration: map from score differences to probabilities; `None` if the reward has none.
        logits: whether score differences are log-odds of being preferred, so that probabilities follow from them.
        queue: of the requests.
    """

    def __init__(self, reward: Reward, name: str):
        self.reward = reward
        self.name = name
        self.calibration = calibration_mapping(calibration_of_reward(reward))
        self.logits = is_preference_model(reward)
        functions: dict[str, ScoreFunction] = {ROWS: reward.score}
        if reads_rendered_texts(reward):
            functions[RENDERED] = RenderedTextReward(reward).score
        self.queue = ScoringQueue(functions)

    async def scores(self, kind: str, prompts: list[Any], completions: list[Any]) -> list[RowScore]:
        """Score rows together with those of other requests.

        Args:
            kind: `ROWS` or `RENDERED`.
            prompts: of the rows.
            completions: of the rows.
        """
        rows = await asyncio.wrap_future(self.queue.submit(kind, prompts, completions))
        return [replace(row, parts=self._named(row.parts)) for row in rows]

    def _named(self, parts: Mapping[str, float | None]) -> dict[str, float | None]:
        """Return the parts of a score, those of the model under its name in responses, which shows no path."""
        own = self.reward.name
        shown = {part: part.replace(own, self.name, 1) for part in parts if f"{part}#".startswith(f"{own}#")}
        return {shown.get(part, part): value for part, value in parts.items()}

    async def score_rows(self, rows: list[RequestRow]) -> list[RowScore]:
        """Score rows; those that cannot be scored keep their reason."""
        valid = [row for row in rows if row.reason is None]
        prompts, completions = [row.prompt for row in valid], [row.completion for row in valid]
        scored = iter(await self.scores(ROWS, prompts, completions) if valid else [])
        return [next(scored) if row.reason is None else RowScore(None, reason=row.reason) for row in rows]

    def probabilities(self, scores: list[float]) -> ChoiceProbabilities | None:
        """Compute probabilities of choices; `None` if the scores are no logits and not calibrated."""
        if not self.logits and self.calibration is None:
            return None
        result = choice_probabilities(scores, self.calibration)
        return result if result.calibrated or self.logits else None


def is_preference_model(reward: Reward) -> bool:
    """Return whether a reward is a model whose score differences are log-odds of being preferred.

    A named head, and a model that was trained on ratings, predict ratings; a process reward model gives a
    probability of its own.
    """
    if isinstance(reward, LearnedReward):
        parts = reward.model.parts
        rated = parts is not None and parts.settings.rating is not None
        return "#" not in reward.name and reward.model.steps is None and not rated
    return isinstance(reward, EncoderReward | EnsembleReward) and "#" not in reward.name


def make_scoring_app(reward: Reward, name: str, token: str | None = None) -> FastAPI:
    """Create the application of a scoring server.

    Args:
        reward: that scores.
        name: of the model, in responses.
        token: that requests must send; `None` to need none.
    """

    @asynccontextmanager
    async def closing_queue(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(app.state.served.queue.close)

    app = FastAPI(title="Gnomon", docs_url=None, redoc_url=None, openapi_url=None, lifespan=closing_queue)
    app.state.served = ServedReward(reward, name)
    app.include_router(router)
    app.add_middleware(ScoringGuard, token=token)
    app.exception_handler(ConfigError)(_invalid)
    app.exception_handler(BusyError)(_busy)
    app.exception_handler(TooLargeError)(_too_large)
    app.exception_handler(GnomonError)(_failed)
    app.exception_handler(StarletteHTTPException)(_http_error)
    return app


def _served(request: Request) -> ServedReward:
    served: ServedReward = request.app.state.served
    return served


@router.get("/health")
async def health() -> dict[str, str]:
    """Return that the server runs."""
    return {"status": "ok"}


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """Return the served model, in the form of OpenAI's list."""
    served = _served(request)
    about = {"id": served.name, "object": "model", "owned_by": "gnomon"}
    return {"object": "list", "data": [about | {"calibrated": served.calibration is not None}]}


@router.post("/v1/score")
async def score(request: Request) -> dict[str, Any]:
    """Score completions; a row without a score has null and a reason."""
    body, served = parse_body(ScoreBody, await read_body(request)), _served(request)
    check_lengths(prompts=body.prompts, completions=body.completions)
    rows = [request_row(p, c) for p, c in zip(body.prompts, body.completions, strict=True)]
    results = await served.score_rows(rows)
    return {"model": served.name, "results": list(map(_result, results))}


@router.post("/v1/decisions")
async def decide(request: Request) -> dict[str, Any]:
    """Choose the preferred one of several completions, with probabilities."""
    body, served = parse_body(DecisionBody, await read_body(request)), _served(request)
    return await _decision(served, body.prompt, list(body.choices))


@router.post("/v1/systemone")
async def answer_questions(request: Request) -> dict[str, Any]:
    """Answer one question with choices, or the typed questions of a System One request, with probabilities."""
    raw, served = await read_body(request), _served(request)
    if not served.logits and served.calibration is None:
        raise ConfigError(
            f"'{served.name}' gives scores whose differences are no log-odds, and no calibration, so answers "
            "have no probability; POST /v1/decisions compares their scores."
        )
    if "questions" in parse_object(raw):
        return await _answers(served, parse_body(QuestionsBody, raw))
    body = parse_body(QuestionBody, raw)
    if len(set(body.choices)) < len(body.choices):
        raise ConfigError("the request: choices has the same text twice; send each once.")
    prompt = body.question if body.input is None else f"{body.question}\n\n{body.input}"
    decision = await _decision(served, prompt, list(body.choices))
    probabilities = _required(decision["probabilities"])
    return {
        "model": served.name,
        "answer": body.choices[decision["choice"]],
        "probability": probabilities[decision["choice"]],
        "probabilities": dict(zip(body.choices, probabilities, strict=True)),
        "calibrated": decision["calibrated"],
    }


async def _answers(served: ServedReward, body: QuestionsBody) -> dict[str, Any]:
    """Answer the typed questions of a request in the form of System One."""
    if body.assets:
        raise ConfigError("the request has assets, and the model reads text alone; leave them out.")
    try:
        questions = parse_questions(body.state, body.questions)
    except ValueError as error:
        raise ConfigError(f"the request: {error}.") from None
    rows = [request_row(one.prompt, choice) for one in questions.values() for choice in one.choices]
    results, start = await served.score_rows(rows), 0
    answers, calibrated = {}, True
    for name, question in questions.items():
        own = results[start : start + len(question.choices)]
        start += len(question.choices)
        scores = [_score_of(row, f"question '{name:.60}', option {n}") for n, row in enumerate(own)]
        result = served.probabilities(scores)
        answers[name] = answer_of(question, _required(result).values)
        calibrated = calibrated and result is not None and result.calibrated
    return {"model": served.name, "answers": answers, "calibrated": calibrated}


def _required(probabilities: T | None) -> T:
    """Return probabilities.

    Raises:
        ConfigError: the calibration of the model gives none for so many choices.
    """
    if probabilities is None:
        raise ConfigError("the model's calibration is for two choices, and there are more; send two.")
    return probabilities


@router.post("/get_reward")
async def get_reward(request: Request) -> dict[str, Any]:
    """Score rendered texts by the protocol of OpenRLHF's remote reward models.

    It has no form for a row without a score, so a request with one is refused.
    """
    body, served = parse_body(RenderedBody, await read_body(request), ignored=True), _served(request)
    if RENDERED not in served.queue.functions:
        raise ConfigError(f"'{served.name}' reads no texts by a chat template; POST /v1/score takes messages.")
    prompts = body.prompts if body.prompts is not None else [""] * len(body.query)
    check_lengths(query=body.query, prompts=prompts)
    results = await served.scores(RENDERED, list(prompts), list(body.query))
    scores = [_score_of(row, f"query[{number}]") for number, row in enumerate(results)]
    return {"rewards": scores, "scores": scores, "extra_logs": {"score": scores}}


async def _decision(served: ServedReward, prompt: Turns, choices: list[Turns]) -> dict[str, Any]:
    results = await served.score_rows([request_row(prompt, choice) for choice in choices])
    scores = [_score_of(row, f"choices[{number}]") for number, row in enumerate(results)]
    probabilities = served.probabilities(scores)
    return {
        "model": served.name,
        "choice": scores.index(max(scores)),
        "scores": scores,
        "probabilities": None if probabilities is None else list(probabilities.values),
        "calibrated": probabilities is not None and probabilities.calibrated,
        "uncertainties": [row.uncertainty for row in results],
    }


def _result(row: RowScore) -> dict[str, Any]:
    if row.score is None:
        return {"score": None, "reason": row.reason}
    result = {"score": row.score, "parts": dict(row.parts)}
    return result if row.uncertainty is None else result | {"uncertainty": row.uncertainty}


def _score_of(row: RowScore, where: str) -> float:
    """Return a row's score.

    Raises:
        HTTPException: it has none (422).
    """
    if row.score is None:
        raise HTTPException(422, f"{where} has no score: {row.reason}.")
    return row.score


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=422)


async def _busy(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "1"})


async def _failed(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=500)


async def _too_large(_: Request, __: Exception) -> JSONResponse:
    detail = f"the request has more than {MAX_BYTES >> 20} MiB; send fewer rows at a time."
    return JSONResponse({"detail": detail}, status_code=413, headers={"Connection": "close"})


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"detail": str(error.detail)}, status_code=error.status_code)
