"""The listener and the handler of one connection in one, for tests of a connection by itself."""

from __future__ import annotations

import ssl

from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.incoming import Incoming
from enos_ingest.endpoint.outgoing import Outgoing
from enos_ingest.endpoint.packets import Connect, MalformedPacketError, Packet
from enos_ingest.settings import LimitsSettings

__all__ = ["LIMITS", "Everything"]

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
