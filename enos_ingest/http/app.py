"""The HTTP routes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from enos_ingest.http.metrics import CONTENT_TYPE, Metrics

if TYPE_CHECKING:
    from starlette.requests import Request

    from enos_ingest.devices.directory import Application

__all__ = ["HttpParts", "create_app"]

_METRICS_SCOPES = frozenset({"read", "admin"})
_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class HttpParts:
    """What the routes need of the service.

    Attributes:
        reasons_not_ready: what keeps the service from doing its work, a sentence each; empty when it is ready.
        authorize: the application with this API key, None where there is none.
        open_reading: whether anybody may read: the bind is loopback, or `security.anonymous` is set.
    """

    metrics: Metrics
    reasons_not_ready: Callable[[], list[str]]
    authorize: Callable[[str], Application | None]
    open_reading: bool


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
        if not parts.open_reading:
            _require_scope(request, parts.authorize)
        return Response(parts.metrics.render(), headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})

    app = Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)],
        exception_handlers={HTTPException: _refuse, Exception: _fail},
    )
    # "/healthz/" is another path: a redirect would hide the mistake from a probe that does not follow it.
    app.router.redirect_slashes = False
    return app


def _require_scope(request: Request, authorize: Callable[[str], Application | None]) -> None:
    """Raise 401 without a known API key, 403 where its application lacks the scope [RFC 6750 section 3.1]."""
    scheme, _, api_key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not api_key.strip():
        raise HTTPException(
            401,
            "send the API key of an application: Authorization: Bearer KEY",
            headers={"WWW-Authenticate": 'Bearer realm="enos-ingest"'},
        )
    application = authorize(api_key.strip())
    if application is None:
        raise HTTPException(
            401,
            "no application has this API key",
            headers={"WWW-Authenticate": 'Bearer realm="enos-ingest", error="invalid_token"'},
        )
    if not application.scopes & _METRICS_SCOPES:
        raise HTTPException(
            403,
            f"the application {application.name} needs the scope read or admin",
            headers={"WWW-Authenticate": 'Bearer realm="enos-ingest", error="insufficient_scope", scope="read"'},
        )


async def _refuse(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    match exc.status_code:
        case 404:
            error = f"there is nothing at {request.url.path}"
        case 405:
            error = f"{request.url.path} does not take {request.method}"
        case _:
            error = exc.detail
    return JSONResponse({"error": error}, status_code=exc.status_code, headers=exc.headers)


async def _fail(_request: Request, _exc: Exception) -> Response:
    """A fault of ours: it is raised on and logged by the server with its traceback."""
    return JSONResponse({"error": "the service made a mistake; its log says more"}, status_code=500)
