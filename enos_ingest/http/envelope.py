"""What a call of the REST API is answered with: the envelope that EnOS documents."""

from __future__ import annotations

import secrets
from typing import Any

import orjson
from starlette.responses import Response

from enos_ingest.commands.refusals import CommandRefusal, RestCode

__all__ = ["envelope", "headers_for", "new_request_id", "refused"]

_RETRY_SECONDS = "1"
"""A bucket of calls or logins has room again within a second, and so, most likely, have the requests being answered."""

_HEADERS: dict[RestCode, dict[str, str]] = {
    # RFC 9110 wants a challenge with each 401.
    RestCode.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="enos-ingest"'},
    RestCode.FORBIDDEN: {"WWW-Authenticate": 'Bearer realm="enos-ingest", error="insufficient_scope"'},
    RestCode.TOO_MANY_CALLS: {"Retry-After": _RETRY_SECONDS},
    RestCode.BUSY: {"Retry-After": _RETRY_SECONDS},
}


def envelope(
    code: RestCode,
    msg: str,
    data: Any = None,
    *,
    request_id: str | None = None,
    pagination: dict[str, Any] | None = None,
) -> Response:
    """A response with the members that the documents print, in their order; `submsg` is always null.

    Args:
        data: any JSON; None for none.
        request_id: what stands in the log beside this call, a new one by default.
        pagination: of a page of a search; other answers do not have that member.
    """
    body: dict[str, Any] = {
        "code": int(code),
        "msg": msg,
        "submsg": None,
        "requestId": new_request_id() if request_id is None else request_id,
        "data": data,
    }
    if pagination is not None:
        body["pagination"] = pagination
    return Response(orjson.dumps(body), code.http_status, headers_for(code), "application/json")


def refused(refusal: CommandRefusal, *, request_id: str | None = None) -> Response:
    """The envelope that tells a refusal."""
    return envelope(refusal.code, refusal.message, refusal.data, request_id=request_id)


def headers_for(code: RestCode) -> dict[str, str]:
    """The headers of an answer with this code."""
    return {"Cache-Control": "no-store", **_HEADERS.get(code, {})}


def new_request_id() -> str:
    """32 hex digits, as EnOS has them."""
    return secrets.token_hex(16)
