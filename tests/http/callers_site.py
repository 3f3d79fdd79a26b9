"""What stands behind callers: a registry, tokens, routes that say who calls; and calls as applications make them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from enos_ingest.commands.refusals import CommandRefusal
from enos_ingest.devices.directory import Application, Directory
from enos_ingest.devices.passwords import hash_api_key
from enos_ingest.http.callers import Callers
from enos_ingest.http.envelope import refused
from enos_ingest.http.logins import Logins
from enos_ingest.http.tokens import Login, Tokens, sign_login
from tests.http.serving import serving

CLOCK = 1_795_221_824_968
SCADA = Application("scada", "scada-key", "scada-secret", hash_api_key("scada-api-key"), frozenset({"control"}))
GRAFANA = Application("grafana", api_key_hash=hash_api_key("grafana-api-key"), scopes=frozenset({"read"}))


class Hub:
    """What stands behind the routes: `/whole` reads the body through the callers, `/seen` takes none."""

    def __init__(
        self,
        *,
        anonymous: bool = False,
        calls_per_second: int = 1000,
        strangers_per_second: int = 100,
        body_bytes: int = 2000,
    ) -> None:
        self.clock = CLOCK
        self.now = 1000.0
        self.directory = Directory(applications=[SCADA, GRAFANA])
        self.tokens = Tokens(lambda: self.directory, now=lambda: self.now, clock=lambda: self.clock)
        self.callers = Callers(
            lambda: self.directory,
            self.tokens,
            Logins(calls_per_second, strangers_per_second, now=lambda: self.now),
            anonymous=anonymous,
            body_bytes=body_bytes,
            clock=lambda: self.clock,
        )
        self.app = Starlette(
            routes=[Route("/whole", self.whole, methods=["GET", "POST"]), Route("/seen", self.seen)],
            exception_handlers={CommandRefusal: _refuse},
        )

    async def whole(self, request: Request) -> Response:
        caller, body = await self.callers.receive(request, acts="acts" in request.query_params)
        return PlainTextResponse(f"{caller.name} {len(body)}")

    async def seen(self, request: Request) -> Response:
        caller = await self.callers.identify(request, b"")
        caller.require("read", "admin")
        return PlainTextResponse(caller.name)

    def token(self) -> str:
        """A token of scada."""
        self.clock += 1
        timestamp = str(self.clock)
        return self.tokens.get(Login(SCADA.key, sign_login(SCADA.key, "", timestamp, SCADA.secret), timestamp)).token


async def _refuse(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, CommandRefusal)
    return refused(exc)


def signed(
    token: str, query: str = "", body: bytes = b"", *, timestamp: int = CLOCK, secret: str = SCADA.secret
) -> dict[str, str]:
    """The headers of a call, signed as EnOS's documents say: `query` is what stands sorted before the body."""
    digest = hashlib.sha256(token.encode() + query.encode() + body + f"{timestamp}{secret}".encode())
    return {"apim-accesstoken": token, "apim-timestamp": str(timestamp), "apim-signature": digest.hexdigest()}


def run(hub: Hub, work: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def serve() -> None:
        async with serving(hub.app) as client:
            await work(client)

    asyncio.run(serve())


def said(response: httpx.Response) -> tuple[int, int, str]:
    """HTTP status, code and words of a refusal; the answer holds nothing that is secret."""
    assert not any(secret in response.text for secret in (SCADA.secret, "api-key", SCADA.key))
    body = response.json()
    return response.status_code, body["code"], body["msg"]
