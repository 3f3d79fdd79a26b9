"""The HTTP routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from enos_ingest.commands.refusals import CommandRefusal
from enos_ingest.http.commands import CommandCalls
from enos_ingest.http.envelope import refused
from enos_ingest.http.metrics import CONTENT_TYPE, Metrics
from enos_ingest.http.openapi import describe_api

if TYPE_CHECKING:
    from starlette.requests import Request

    from enos_ingest.commands.commands import Commands
    from enos_ingest.http.callers import Callers
    from enos_ingest.http.token_service import TokenService

__all__ = ["HttpParts", "create_app"]

_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class HttpParts:
    """What the routes need of the service.

    Attributes:
        reasons_not_ready: what keeps the service from doing its work, a sentence each; empty when it is ready.
        callers: tells who calls.
        token_service: gives out the tokens that they may call with.
        commands: what they may ask of devices.
        open_metrics: whether anybody may read the metrics, and what the API is: the bind is loopback, or
            `security.anonymous` is set.
    """

    metrics: Metrics
    reasons_not_ready: Callable[[], list[str]]
    callers: Callers
    token_service: TokenService
    commands: Commands
    open_metrics: bool


def create_app(parts: HttpParts) -> Starlette:
    """The ASGI application with all routes."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    async def readyz(_request: Request) -> Response:
        reasons = parts.reasons_not_ready()
        body = {"ready": not reasons, "reasons": reasons}
        text = orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
        return Response(text, 503 if reasons else 200, _NO_STORE, "application/json")

    async def metrics(request: Request) -> Response:
        await require_reader(request)
        return Response(parts.metrics.render(), headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})

    description = orjson.dumps(describe_api())

    async def openapi(request: Request) -> Response:
        await require_reader(request)
        return Response(description, headers=_NO_STORE, media_type="application/json")

    async def require_reader(request: Request) -> None:
        if not parts.open_metrics:
            caller = await parts.callers.identify(request, b"")
            caller.require("read", "admin")

    async def refuse(request: Request, exc: Exception) -> Response:
        try:
            parts.callers.meet_stranger(request)
        except CommandRefusal as too_many:
            return refused(too_many)
        return _refuse(request, exc)

    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi),
            *CommandCalls(parts.commands, parts.callers, parts.metrics).routes(),
            *parts.token_service.routes(),
        ],
        exception_handlers={
            HTTPException: refuse,
            CommandRefusal: _refuse_call,
            ClientDisconnect: _hung_up,
            Exception: _fail,
        },
    )
    # "/healthz/" is another path: a redirect would hide the mistake from a probe that does not follow it.
    app.router.redirect_slashes = False
    return app


def _refuse(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    match exc.status_code:
        case 404:
            error = f"there is nothing at {request.url.path}"
        case 405:
            error = f"{request.url.path} does not take {request.method}"
        case _:
            error = exc.detail
    return JSONResponse({"error": error}, status_code=exc.status_code, headers=exc.headers)


async def _refuse_call(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, CommandRefusal)
    return refused(exc)


async def _hung_up(_request: Request, _exc: Exception) -> Response:
    """Nobody reads this; the number is what proxies log for a client that did not wait."""
    return Response(status_code=499)


async def _fail(_request: Request, _exc: Exception) -> Response:
    """A fault of ours: it is raised on and logged by the server with its traceback."""
    return JSONResponse({"error": "the service made a mistake; its log says more"}, status_code=500)
