"""Work for clients that hang up, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from enos_ingest.http.listener import HttpListener
from enos_ingest.http.waiting import unless_hung_up
from enos_ingest.sockets import Bind

CALL = b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
PATIENCE = 30.0


class Waiters:
    """A route whose work waits until it is let, and what became of each."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.waiting = self.cancelled = self.finished = self.answered = 0
        self.changed = asyncio.Condition()
        self.app = Starlette(
            routes=[Route("/wait", self.wait, methods=["POST"]), Route("/fail", self.fail)],
            exception_handlers={ClientDisconnect: self.gone, ValueError: self.failed},
        )

    async def wait(self, request: Request) -> Response:
        body = await request.body()
        text = await unless_hung_up(request, self.work(body.decode()))
        self.answered += 1
        return PlainTextResponse(text)

    async def work(self, text: str) -> str:
        await self.count("waiting")
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            # Work may take a while to end, and nobody goes on before it has.
            await asyncio.sleep(0)
            await self.count("cancelled")
            raise
        await self.count("finished")
        return text

    async def fail(self, request: Request) -> Response:
        async def work() -> None:
            raise ValueError("no such thing")

        await unless_hung_up(request, work())
        return PlainTextResponse("never")

    async def gone(self, _request: Request, _exc: Exception) -> Response:
        return Response(status_code=499)

    async def failed(self, _request: Request, exc: Exception) -> Response:
        return PlainTextResponse(str(exc), 400)

    async def count(self, what: str) -> None:
        async with self.changed:
            setattr(self, what, getattr(self, what) + 1)
            self.changed.notify_all()

    async def reach(self, what: str, number: int) -> None:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: getattr(self, what) == number)


@contextlib.asynccontextmanager
async def listening(waiters: Waiters) -> AsyncIterator[HttpListener]:
    listener = HttpListener(waiters.app, Bind("127.0.0.1", 0))
    listener.bind()
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop(5)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_who_waits_gets_the_result_and_may_ask_again() -> None:
    """The watch on the connection takes nothing from the next request."""

    async def run() -> None:
        waiters = Waiters()
        async with listening(waiters) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            waiters.let.set()
            for _ in range(3):
                writer.write(CALL)
                assert (await reader.readuntil(b"body")).startswith(b"HTTP/1.1 200 ")
            # Two at once: the second is read while the first is worked on.
            waiters.let.clear()
            writer.write(CALL + CALL)
            await waiters.reach("waiting", 4)
            waiters.let.set()
            await reader.readuntil(b"body")
            await reader.readuntil(b"body")
            writer.close()
        assert (waiters.finished, waiters.cancelled) == (5, 0)

    asyncio.run(run())


@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "reset"])
def test_the_work_of_two_hundred_that_hang_up_at_once_is_cancelled(abruptly: bool) -> None:
    """Each of them, and nobody else's; nothing is left of them."""

    async def run() -> None:
        waiters = Waiters()
        async with listening(waiters) as listener:
            staying = await asyncio.open_connection("127.0.0.1", listener.port)
            staying[1].write(CALL)
            leaving = [(await asyncio.open_connection("127.0.0.1", listener.port))[1] for _ in range(200)]
            for writer in leaving:
                writer.write(CALL)
            await waiters.reach("waiting", 201)
            for writer in leaving:
                if abruptly:
                    writer.transport.abort()
                else:
                    writer.close()
            await waiters.reach("cancelled", 200)
            waiters.let.set()
            await staying[0].readuntil(b"body")
            staying[1].close()
        assert (waiters.finished, waiters.answered) == (1, 1)

    asyncio.run(run())


def test_who_hangs_up_before_the_work_begins_is_noticed_too() -> None:
    """The connection ends right behind the request."""

    async def run() -> None:
        waiters = Waiters()
        async with listening(waiters) as listener:
            _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(CALL)
            writer.close()
            await waiters.reach("cancelled", 1)

    asyncio.run(run())


def test_a_stop_cancels_the_work() -> None:
    """It has ended before the listener has."""

    async def run() -> None:
        waiters = Waiters()
        async with listening(waiters) as listener:
            _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(CALL)
            await waiters.reach("waiting", 1)
            await listener.stop(0)
            assert waiters.cancelled == 1
            writer.close()

    asyncio.run(run())


def test_what_the_work_raises_is_raised() -> None:
    """As if it had been awaited."""

    async def run() -> None:
        async with listening(Waiters()) as listener:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"no such thing")).startswith(b"HTTP/1.1 400 ")
            writer.close()

    asyncio.run(run())
