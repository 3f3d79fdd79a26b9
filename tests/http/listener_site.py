"""An application that can be slow, its listener, and clients of bare bytes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from enos_ingest.http.listener import HttpListener
from enos_ingest.sockets import Bind

if TYPE_CHECKING:
    from starlette.requests import Request


LOOPBACK = Bind("127.0.0.1", 0)
HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


class Slow:
    """An application with one route that answers when it is let, and others that answer at once."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.inside = 0
        self.let = asyncio.Event()
        self.cleaned = False
        routes = [
            Route("/slow", self.slow),
            Route("/hello", self.hello),
            Route("/big", self.big),
            Route("/readyz", self.hello),
        ]
        self.app = Starlette(routes=routes)

    async def slow(self, _request: Request) -> Response:
        self.inside += 1
        self.entered.set()
        try:
            await self.let.wait()
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            self.cleaned = True
        return PlainTextResponse("late")

    async def big(self, _request: Request) -> Response:
        return PlainTextResponse(b"x" * 50_000_000)

    async def hello(self, _request: Request) -> Response:
        return PlainTextResponse("hello")


async def started(**bounds: Any) -> tuple[Slow, HttpListener]:
    slow = Slow()
    listener = HttpListener(slow.app, LOOPBACK, **bounds)
    listener.bind()
    await listener.start()
    return slow, listener


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes and read until the other end closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()
