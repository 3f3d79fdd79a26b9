"""The token service: an access token for an application's key and secret, as EnOS has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.devices.directory import Directory
from enos_ingest.http.body import read_body
from enos_ingest.http.envelope import headers_for
from enos_ingest.http.logins import Logins
from enos_ingest.http.tokens import Grant, Login, TokenCode, TokenRefusal, Tokens

__all__ = ["TokenService"]

_BODY_BYTES = 4096
"""A login is read before anybody is known; it takes some 300 bytes."""

_GUESSES = frozenset({TokenCode.UNKNOWN_KEY, TokenCode.WRONG_ENCRYPTION})


class TokenService:
    """Serves `get` and `refresh`.

    The HTTP status is 200 also where `status` in the body is not 0: that is where EnOS's clients look.
    """

    def __init__(self, directory: Callable[[], Directory], tokens: Tokens, logins: Logins) -> None:
        self._directory = directory
        self._tokens = tokens
        self._logins = logins

    def routes(self) -> list[Route]:
        """Where EnOS has them."""
        return [
            Route("/apim-token-service/v2.0/token/get", self._get, methods=["POST"]),
            Route("/apim-token-service/v2.0/token/refresh", self._refresh, methods=["POST"]),
        ]

    async def _get(self, request: Request) -> Response:
        return await self._answer(request, self._tokens.get)

    async def _refresh(self, request: Request) -> Response:
        return await self._answer(request, self._tokens.refresh, "accessToken")

    async def _answer(self, request: Request, grant: Callable[..., Grant], *more: str) -> Response:
        """Read the login, and the texts that stand beside it; grant a token by them, or say why not."""
        try:
            body = _parse(await read_body(request, _BODY_BYTES))
            login = Login(_text(body, "appKey"), _text(body, "encryption"), _timestamp(body))
            arguments = [_text(body, name) for name in more]
            granted = self._grant(request, login, lambda: grant(login, *arguments))
        except TokenRefusal as refusal:
            return self._refuse(request, refusal)
        except CommandRefusal as refusal:
            return _response(refusal.code, refusal.message, reason=refusal.code)
        return _response(TokenCode.OK, "SUCCESS", {"accessToken": granted.token, "expire": granted.seconds})

    def _refuse(self, request: Request, refusal: TokenRefusal) -> Response:
        try:
            self._logins.meet_stranger(request)
        except CommandRefusal as too_many:
            return _response(too_many.code, too_many.message, reason=too_many.code)
        return _response(refusal.code, refusal.message)

    def _grant(self, request: Request, login: Login, grant: Callable[[], Grant]) -> Grant:
        application = self._directory().find_by_key(login.app_key)
        claim = application.name if application is not None else ""
        self._logins.hold_back(request, claim)
        try:
            granted = grant()
        except TokenRefusal as refusal:
            if refusal.code in _GUESSES:
                self._logins.failed(request, f"token service: {refusal.message}", claim)
            raise
        self._logins.count(claim)
        return granted


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise TokenRefusal(TokenCode.INVALID, "the body must be a JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    text = body.get(name)
    if text is None or text == "":
        raise TokenRefusal(TokenCode.EMPTY, f"{name} is missing or empty")
    if not isinstance(text, str):
        raise TokenRefusal(TokenCode.INVALID, f"{name} must be a text")
    return text


def _timestamp(body: dict[str, Any]) -> str:
    """The digits as they were digested: a number, as the documents have it, or a text, as some programs send it."""
    timestamp = body.get("timestamp")
    if type(timestamp) is int:
        return str(timestamp)
    return _text(body, "timestamp")


def _response(status: int, msg: str, data: dict[str, Any] | None = None, *, reason: RestCode = RestCode.OK) -> Response:
    body = {"status": int(status), "msg": msg, "business": "apim-token-service", "data": data}
    return Response(orjson.dumps(body), reason.http_status, headers_for(reason), "application/json")
