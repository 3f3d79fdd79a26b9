"""What comes at once, in all or from one address, and what is no HTTP: bounded, and told so."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from enos_ingest.logs import FewLines
from tests.http.listener_site import HELLO, exchange, started


def test_endless_headers_are_refused() -> None:
    """A header section may be 16 KiB long, not more."""

    async def run() -> None:
        _, listener = await started()
        request = b"GET /hello HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000
        assert (await exchange(listener.port, request)).startswith(b"HTTP/1.1 400 ")
        await listener.stop(5)

    asyncio.run(run())


def test_a_flood_of_connections_is_bounded() -> None:
    """Beyond 256 open ones the next is closed at once; when they are gone it is served again."""

    async def run() -> None:
        refused: list[str] = []
        _, listener = await started(connections=256, refused=refused.append)
        flood = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(300)]
        ends = [asyncio.create_task(reader.read()) for reader, _ in flood]
        done, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 44:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        assert len(waiting) == 256
        assert refused == ["connections"] * 44
        await asyncio.gather(*done, return_exceptions=True)
        open_ones = [writer for task, (_, writer) in zip(ends, flood, strict=True) if task in waiting]
        for writer in open_ones:
            writer.write_eof()
        await asyncio.gather(*waiting)
        for _, writer in flood:
            writer.close()
        closing = HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await exchange(listener.port, closing)).endswith(b"hello")
        await listener.stop(5)

    asyncio.run(run())


def test_one_address_cannot_take_all_connections() -> None:
    """Its next one is closed at once and counted; where one has left it is served again."""

    async def run() -> None:
        refused: list[str] = []
        _, listener = await started(connections=4, connections_per_address=2, refused=refused.append)
        first, second = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(2)]
        for reader, writer in (first, second):
            writer.write(HELLO)
            await reader.readuntil(b"hello")
        for _ in range(3):
            with contextlib.suppress(ConnectionError):
                assert await exchange(listener.port, HELLO) == b""
        assert refused == ["address"] * 3
        first[1].write(HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await first[0].read()).endswith(b"hello")
        third = await asyncio.open_connection("127.0.0.1", listener.port)
        third[1].write(HELLO)
        assert (await third[0].readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        for _, writer in (first, second, third):
            writer.close()
        await listener.stop(5)

    asyncio.run(run())


def test_calls_beyond_the_limit_are_told_to_come_again() -> None:
    """503 with Retry-After, on a connection that stays; probes are answered, and calls again once there is room."""

    async def run() -> None:
        refused: list[str] = []
        slow, listener = await started(requests=2, refused=refused.append)
        call = HELLO.replace(b"/hello", b"/slow").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        first, second = (asyncio.create_task(exchange(listener.port, call)) for _ in range(2))
        while slow.inside < 2:
            await slow.entered.wait()
            slow.entered.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        for _ in range(2):
            writer.write(HELLO)
            answer = (await reader.readuntil(b"}")).decode()
            assert answer.startswith("HTTP/1.1 503 ")
            assert "retry-after: 1\r\n" in answer.lower()
            assert '{"code":99503,"msg":"as many calls are being answered as limits.http_requests = 2' in answer
        assert refused == ["requests", "requests"]
        writer.write(HELLO.replace(b"/hello", b"/readyz"))
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        slow.let.set()
        for each in (first, second):
            assert (await each).endswith(b"late")
        writer.write(HELLO)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await listener.stop(5)

    asyncio.run(run())


@pytest.mark.parametrize(
    "request_of_a_stranger",
    [
        HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n"),
        b"\x16\x03\x01\r\n\r\n",
    ],
    ids=["another protocol", "no HTTP"],
)
def test_what_strangers_send_makes_few_log_lines(
    request_of_a_stranger: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has logged in yet who could fill the disk with them: once there were enough, there is none for a while."""
    monkeypatch.setattr("enos_ingest.http.listener.FewLines", lambda: FewLines(0))

    async def run() -> None:
        _, listener = await started()
        assert await exchange(listener.port, request_of_a_stranger)
        await listener.stop(5)

    asyncio.run(run())
    assert not caplog.records


def test_garbage_is_refused_and_the_next_client_is_served() -> None:
    """A TLS hello, an MQTT CONNECT: another protocol on this port does no harm."""

    async def run() -> None:
        _, listener = await started()
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04abcd\r\n\r\n",
        ):
            assert (await exchange(listener.port, garbage)).startswith(b"HTTP/1.1 400 ")
        closing = HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await exchange(listener.port, closing)).endswith(b"hello")
        await listener.stop(5)

    asyncio.run(run())
