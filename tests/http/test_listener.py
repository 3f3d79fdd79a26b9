"""The HTTP listener: its start and end, and clients that take their time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket

import pytest
from starlette.applications import Starlette

from enos_ingest.errors import StartError
from enos_ingest.http.listener import HttpListener
from enos_ingest.sockets import Bind
from tests.http.listener_site import HELLO, LOOPBACK, exchange, started


async def connect_for_ever(port: int) -> None:
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


def test_it_answers_as_soon_as_start_returns_and_not_after_stop() -> None:
    """Port 0 becomes a real one; stop closes it, and may come twice."""

    async def run() -> None:
        _, listener = await started()
        assert listener.port > 0
        assert listener.address == Bind("127.0.0.1", listener.port)
        answer = await exchange(listener.port, HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        await listener.stop(5)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", listener.port)
        await listener.stop(5)

    asyncio.run(run())


def test_a_taken_port_is_a_start_error_with_the_setting() -> None:
    """Told by `bind`, before anything is served."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = Bind("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(StartError, match=rf"cannot listen on {bind}: address already in use .* \(http\.bind\)"):
            HttpListener(Starlette(), bind).bind()


def test_a_port_that_another_listens_on_first_is_a_start_error_too() -> None:
    """Both have bound it; the second to listen is told, and leaves no task behind."""

    async def run() -> None:
        listener = HttpListener(Starlette(), LOOPBACK)
        listener.bind()
        with socket.socket() as rival:
            rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            rival.bind(("127.0.0.1", listener.port))
            rival.listen()
            with pytest.raises(StartError, match="address already in use"):
                await listener.start()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_a_bound_port_is_given_back_when_it_never_started() -> None:
    """The service may give up between `bind` and `start`."""

    async def run() -> None:
        listener = HttpListener(Starlette(), LOOPBACK)
        await listener.stop(1)
        listener.bind()
        await listener.stop(1)
        socket.create_server(("127.0.0.1", listener.port)).close()

    asyncio.run(run())


def test_signals_stay_with_the_service() -> None:
    """uvicorn would take SIGINT and SIGTERM for itself."""

    async def run() -> None:
        before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        _, listener = await started()
        assert {each: signal.getsignal(each) for each in before} == before
        await listener.stop(5)

    asyncio.run(run())


def test_stop_waits_for_the_request_that_is_being_answered() -> None:
    """New connections are refused, the open one gets its answer."""

    async def run() -> None:
        slow, listener = await started()
        answer = asyncio.create_task(exchange(listener.port, HELLO.replace(b"/hello", b"/slow")))
        await slow.entered.wait()
        stopping = asyncio.create_task(listener.stop(30))
        with pytest.raises(ConnectionRefusedError):
            await connect_for_ever(listener.port)
        slow.let.set()
        assert (await answer).endswith(b"late")
        await stopping

    asyncio.run(run())


def test_stop_cuts_off_a_request_that_takes_too_long() -> None:
    """Its connection is closed and its task is gone."""

    async def run() -> None:
        slow, listener = await started()
        answer = asyncio.create_task(exchange(listener.port, HELLO.replace(b"/hello", b"/slow")))
        await slow.entered.wait()
        await listener.stop(0)
        with contextlib.suppress(ConnectionResetError):
            assert b"late" not in await answer
        assert slow.cleaned
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_stop_does_not_wait_for_a_client_that_does_not_read() -> None:
    """Its connection is cut off with what it has not taken."""

    async def run() -> None:
        _, listener = await started()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, limit=1024)
        writer.write(HELLO.replace(b"/hello", b"/big"))
        await reader.readuntil(b"\r\n\r\n")
        await listener.stop(0)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(50_000_000)
        writer.close()

    asyncio.run(run())


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off() -> None:
    """It would hold the answer in memory, and its place among the connections, for as long as it likes."""

    async def run() -> None:
        _, listener = await started(taking_seconds=0.05, connections=1)
        closing = HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        with socket.create_connection(("127.0.0.1", listener.port)) as client:
            client.setblocking(False)
            client.send(HELLO.replace(b"/hello", b"/big"))
            await asyncio.get_running_loop().sock_recv(client, 1)
            async with asyncio.timeout(60):
                answer = b""
                while not answer:  # there is no place for another connection until this one has gone
                    with contextlib.suppress(ConnectionResetError):
                        answer = await exchange(listener.port, closing)
            assert answer.endswith(b"hello")
        await listener.stop(5)

    asyncio.run(run())


def test_a_slow_client_gets_its_whole_answer() -> None:
    """As long as some of it goes the time starts anew."""

    async def run() -> None:
        _, listener = await started(taking_seconds=1)
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(HELLO.replace(b"/hello", b"/big"))
        await reader.readuntil(b"\r\n\r\n")
        began, left = loop.time(), 50_000_000
        while left:
            # As slow as this until the time is over for one who takes nothing, twice.
            pause = 0.01 if loop.time() - began < 2 else 0
            left -= len(await reader.readexactly(min(left, 200_000)))
            await asyncio.sleep(pause)
        assert loop.time() - began > 2
        writer.close()
        await listener.stop(5)

    asyncio.run(run())


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /hello HT",
        b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
        HELLO + b"GET /hel",
    ],
    ids=["nothing", "half a request line", "half a body", "half a second request"],
)
def test_a_client_that_does_not_finish_its_request_is_cut_off(sent: bytes) -> None:
    """Idle or slow connections must not pile up."""

    async def run() -> None:
        _, listener = await started(request_seconds=1)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            if sent.startswith(HELLO):
                writer.write(HELLO)
                await reader.readuntil(b"hello")
            writer.write(sent.removeprefix(HELLO))
            with contextlib.suppress(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 60)
            writer.close()
        finally:
            await listener.stop(5)

    asyncio.run(run())


@pytest.mark.parametrize(
    "sent",
    [b"GET /hel", b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", b"GET /hello HTTP/1.1\r\n"],
    ids=["half a request line", "half a body", "half of the headers"],
)
def test_half_a_request_that_came_ahead_of_an_answer_is_cut_off(sent: bytes) -> None:
    """A client that pipelines is given as long as any other: a call that waits for its body would be there for ever."""

    async def run() -> None:
        slow, listener = await started(request_seconds=1)
        slow.let.set()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(HELLO.replace(b"/hello", b"/slow") + sent)
        await reader.readuntil(b"late")
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await listener.stop(5)

    asyncio.run(run())


def test_requests_sent_ahead_are_all_answered_and_their_connection_lives_on() -> None:
    """Nothing is half of one: no deadline is left behind."""

    async def run() -> None:
        _, listener = await started(request_seconds=1)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(HELLO * 3)
        for _ in range(3):
            await reader.readuntil(b"hello")
        # Another one that sends nothing is cut off meanwhile: the time is over.
        with contextlib.suppress(ConnectionResetError):
            assert await exchange(listener.port, b"") == b""
        writer.write(HELLO)
        await reader.readuntil(b"hello")
        writer.close()
        await listener.stop(5)

    asyncio.run(run())


def test_an_idle_connection_is_closed_in_time() -> None:
    """Between two requests; the next one on it was in time."""

    async def run() -> None:
        _, listener = await started(keep_alive_seconds=1)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        for _ in range(2):
            began = asyncio.get_running_loop().time()
            writer.write(HELLO)
            await reader.readuntil(b"hello")
        assert await reader.read() == b""
        assert asyncio.get_running_loop().time() - began > 0.9
        writer.close()
        await listener.stop(5)

    asyncio.run(run())


def test_the_deadline_is_for_sending_a_request_and_not_for_its_answer() -> None:
    """A whole request may be worked on for longer, and its connection may carry the next one."""

    async def run() -> None:
        slow, listener = await started(request_seconds=1)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(HELLO)
        await reader.readuntil(b"hello")
        writer.write(HELLO.replace(b"/hello", b"/slow"))
        await slow.entered.wait()
        # Another one that sends nothing is cut off meanwhile: the time is over.
        with contextlib.suppress(ConnectionResetError):
            assert await exchange(listener.port, b"") == b""
        slow.let.set()
        await reader.readuntil(b"late")
        writer.close()
        await listener.stop(5)

    asyncio.run(run())
