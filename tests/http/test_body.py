"""Bodies of requests, and what becomes of those that are too long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from enos_ingest.commands.refusals import CommandRefusal
from enos_ingest.http.body import read_body
from enos_ingest.http.envelope import refused
from enos_ingest.http.listener import HttpListener
from enos_ingest.sockets import Bind


async def short(request: Request) -> Response:
    try:
        return PlainTextResponse(f"{len(await read_body(request, 1000))} bytes")
    except CommandRefusal as refusal:
        return refused(refusal)


async def started(**bounds: Any) -> HttpListener:
    app = Starlette(routes=[Route("/short", short, methods=["POST"])])
    listener = HttpListener(app, Bind("127.0.0.1", 0), **bounds)
    listener.bind()
    await listener.start()
    return listener


async def send_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 100_000)
        await writer.drain()


def announced_as(length: int, *, more: bytes = b"") -> bytes:
    return b"POST /short HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n" % (length, more)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
def test_a_body_may_be_as_long_as_the_limit(announced: bool) -> None:
    """And not a byte longer: 413, and the connection carries the next request."""

    async def run() -> None:
        listener = await started()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        for length, status in ((0, 200), (1000, 200), (1001, 413), (100_000, 413), (10, 200)):
            if announced:
                writer.write(announced_as(length) + b"x" * length)
            else:
                chunks = b"1\r\nx\r\n" * length + b"0\r\n\r\n"
                writer.write(b"POST /short HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
            answer = await reader.readuntil(b"%d bytes" % length if status == 200 else b"}")
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert status == 200 or b'"code":99413,"msg":"the body is longer than 1000 bytes"' in answer
        writer.close()
        await listener.stop(5)

    asyncio.run(run())


def test_a_client_that_asks_before_it_sends_is_spared_the_body() -> None:
    """It hears 413 in place of 100, as curl waits for with anything long."""

    async def run() -> None:
        listener = await started()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(announced_as(10**12, more=b"Expect: 100-continue\r\n"))
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 413 ")
        writer.close()
        await listener.stop(5)

    asyncio.run(run())


def test_what_is_sent_after_the_answer_is_dropped_and_bounded() -> None:
    """The client can read its 413 as long as it does not send far more; then it is cut off."""

    async def run() -> None:
        listener = await started(unread_bytes=200_000, request_seconds=60)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(announced_as(10**9))
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 413 ")
        writer.write(b"x" * 100_000)
        await writer.drain()
        with pytest.raises(ConnectionError):
            await send_for_ever(writer)
        writer.close()
        # What came before does not count against the next request of a connection.
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        for _ in range(3):
            writer.write(announced_as(150_000) + b"x" * 150_000)
            await reader.readuntil(b"}")
        writer.close()
        await listener.stop(5)

    asyncio.run(run())
