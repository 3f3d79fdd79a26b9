"""The body of a request, within a bound."""

from __future__ import annotations

from starlette.requests import Request

from enos_ingest.commands.refusals import CommandRefusal, RestCode

__all__ = ["read_body"]


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body of a request.

    Raises:
        CommandRefusal: `TOO_LONG`, at once where its length is announced: a client that waits to be told to go on
            never sends it. Else as soon as there is more than `limit`; no more than that is held.
        ClientDisconnect: the client has gone; nobody is there to be answered.
    """
    announced = request.headers.get("Content-Length", "0")
    body = bytearray()
    # h11 has refused what is no number before.
    if int(announced) <= limit:
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                break
        else:
            return bytes(body)
    raise CommandRefusal(RestCode.TOO_LONG, f"the body is longer than {limit} bytes")
