"""One connection by itself: its turns, its silence, its end."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.incoming import Incoming
from enos_ingest.endpoint.outgoing import Outgoing
from enos_ingest.endpoint.packets import Connect, MalformedPacketError, Packet
from enos_ingest.settings import LimitsSettings
from tests.endpoint.raw import PINGREQ, connect_packet, subscribe_packet

LIMITS = LimitsSettings()


class Everything:
    """The listener and the handler of one connection; notes what it is told."""

    def __init__(self) -> None:
        self.incoming = Incoming(LIMITS.incoming_bytes_total)
        self.outgoing = Outgoing(LIMITS.outgoing_bytes_total)
        self.received: list[Packet] = []
        self.told: list[str] = []

    def arrived(self, _: Connection) -> bool:
        """Let everybody in."""
        return True

    def connect(self, connection: Connection, packet: Connect) -> None:
        """Serve at once."""
        connection.serve(self, packet.keep_alive)

    def malformed(self, connection: Connection, error: MalformedPacketError) -> None:
        """Note it, and close."""
        self.told.append(str(error))
        connection.close("refused")

    def held_too_much(self, connection: Connection, detail: str) -> None:
        """Note it, and cut it off."""
        self.told.append(detail)
        connection.abort("refused")

    def waits_for_room(self) -> None:
        """Note it."""
        self.told.append("waits")

    def no_handshake(self, _: Connection, error: ssl.SSLError) -> None:
        """Note it."""
        self.told.append(str(error))

    def departed(self, _: Connection) -> None:
        """Note it."""
        self.told.append("departed")

    def receive(self, packet: Packet) -> None:
        """Keep it."""
        self.received.append(packet)

    def ready(self) -> bool:
        """There is always room."""
        return True

    def ended(self, reason: str, detail: str) -> None:
        """Note it."""
        self.told.append(f"{reason} {detail}".strip())


async def turn() -> None:
    """Let the event loop go round once."""
    await asyncio.sleep(0)


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
