"""Work for a client that may hang up before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

__all__ = ["unless_hung_up"]

T = TypeVar("T")


async def unless_hung_up(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client hangs up: neither uvicorn nor Starlette would do that.

    The body must have been read: what comes after it is the end of the connection, or nothing. When the call itself is
    cancelled, so is the work; either way it has ended when this does.

    Raises:
        ClientDisconnect: the client has gone. Whatever is answered then, nobody reads it.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_hung_up(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    # Messages are asked for, and not the request, which remembers that its body has been read and no more.
    while (await request.receive())["type"] != "http.disconnect":
        pass
