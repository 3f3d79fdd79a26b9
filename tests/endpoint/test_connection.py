"""One connection by itself: its turns, its silence, its end."""

from __future__ import annotations

import asyncio
import socket

import pytest

from enos_ingest.endpoint import connection as connection_module
from enos_ingest.endpoint.connection import Connection
from tests.endpoint.everything import LIMITS, Everything
from tests.endpoint.raw import PINGREQ, connect_packet, subscribe_packet


async def turn() -> None:
    """Let the event loop go round once."""
    await asyncio.sleep(0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn ends with its packets alone, however busy the machine is."""
    monkeypatch.setattr(connection_module, "SECONDS_A_TURN", 1000.0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("packet", "a_turn"), [(PINGREQ, 64), (subscribe_packet("/a"), 1)], ids=["ping", "subscribe"])
def test_a_client_is_read_for_a_turn(packet: bytes, a_turn: int) -> None:
    """Then come the others; it goes on by itself, and nothing is lost."""

    async def run() -> None:
        host = Everything()
        connection = Connection(host, LIMITS)
        ours, theirs = socket.socketpair()
        with theirs:
            await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
            connection.data_received(connect_packet())
            connection.data_received(packet * 1000)
            assert len(host.received) == a_turn
            await turn()
            assert len(host.received) == 2 * a_turn
            while len(host.received) < 1000:
                await turn()
            connection.abort("stopped")
            await turn()
        assert host.told == ["stopped", "departed"]

    asyncio.run(run())


def test_a_turn_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the packet that has taken it; a few that take long hold up nobody."""
    monkeypatch.setattr(connection_module, "SECONDS_A_TURN", -1.0)

    async def run() -> None:
        host = Everything()
        connection = Connection(host, LIMITS)
        ours, theirs = socket.socketpair()
        with theirs:
            await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
            connection.data_received(connect_packet())
            await turn()
            connection.data_received(PINGREQ * 3)
            for read in (1, 2, 3):
                assert len(host.received) == read
                await turn()
            connection.abort("stopped")

    asyncio.run(run())


@pytest.mark.usefixtures("patient")
def test_a_connection_that_is_closed_reads_no_further() -> None:
    """Neither what is here already nor what comes."""

    async def run() -> None:
        host = Everything()
        connection = Connection(host, LIMITS)
        ours, theirs = socket.socketpair()
        with theirs:
            await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)
            connection.data_received(connect_packet() + PINGREQ * 100)
            connection.close("client")
            connection.close("slow")
            connection.data_received(PINGREQ)
            connection.resume()
            await turn()
            assert len(host.received) == 63  # CONNECT was the first
        assert host.told[0] == "client"

    asyncio.run(run())
