"""Who a connection has to do with: the listener that holds it, the handler of its packets, who holds those."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Protocol

from enos_ingest.devices.directory import Directory
from enos_ingest.endpoint.incoming import Incoming
from enos_ingest.endpoint.limits import ConnectionCounters
from enos_ingest.endpoint.mirror import Mirror
from enos_ingest.endpoint.outgoing import Outgoing
from enos_ingest.endpoint.packets import Connect, MalformedPacketError, Packet
from enos_ingest.intake import Intake
from enos_ingest.settings import LimitsSettings

if TYPE_CHECKING:
    from enos_ingest.endpoint.activation import ActivationSession
    from enos_ingest.endpoint.connection import Connection
    from enos_ingest.endpoint.relay import Relay
    from enos_ingest.endpoint.session import DeviceSession

__all__ = ["ActivationHost", "ConnectionHost", "PacketHandler", "RelayHost", "SessionHost"]


class PacketHandler(Protocol):
    """Who takes the packets of a connection after CONNECT."""

    def receive(self, packet: Packet) -> None: ...

    def ready(self) -> bool:
        """Whether more may be read now; if not, it has paused the connection and resumes it by itself."""
        ...

    def ended(self, reason: str, detail: str) -> None:
        """The connection has ended; called once.

        Args:
            reason: a word for metrics, see `ConnectionCounters.closed`.
            detail: what there is to add for the log, else "".
        """
        ...


class ConnectionHost(Protocol):
    """What a connection asks of its listener."""

    @property
    def incoming(self) -> Incoming:
        """What is held of unfinished packets, over all connections."""
        ...

    @property
    def outgoing(self) -> Outgoing:
        """What waits for slow readers, over all connections."""
        ...

    def arrived(self, connection: Connection) -> bool:
        """Whether a new connection may go on; if not, the listener has closed it."""
        ...

    def connect(self, connection: Connection, packet: Connect) -> None:
        """Take the first packet: refuse it, or call `serve` or `detach`, now or later."""
        ...

    def malformed(self, connection: Connection, error: MalformedPacketError) -> None:
        """Take the fault of a connection that has sent no good CONNECT, and close it."""
        ...

    def held_too_much(self, connection: Connection, detail: str) -> None:
        """Take that a connection was cut off before CONNECT, for what it held of it."""
        ...

    def waits_for_room(self) -> None:
        """Count a stop in reading until there is room for a long packet."""
        ...

    def no_handshake(self, connection: Connection, error: ssl.SSLError) -> None:
        """Take the failure of TLS before CONNECT; the connection is at its end."""
        ...

    def departed(self, connection: Connection) -> None:
        """The socket is gone; called once for each."""
        ...


class SessionHost(Protocol):
    """What a session asks of those who hold it."""

    @property
    def intake(self) -> Intake: ...

    @property
    def mirror(self) -> Mirror: ...

    @property
    def counters(self) -> ConnectionCounters: ...

    @property
    def limits(self) -> LimitsSettings: ...

    behind_bytes: int
    """How many bytes have come behind messages that codecs have, over all sessions."""

    @property
    def draining(self) -> bool:
        """Whether nothing more is taken: what is published now is dropped without an answer."""
        ...

    def directory(self) -> Directory: ...

    def subscribed(self, session: DeviceSession) -> None:
        """The client has subscribed to something."""
        ...

    def left(self, session: DeviceSession, reason: str) -> None:
        """The session has ended; called once."""
        ...

    def admits(self, session: DeviceSession) -> bool:
        """Whether the registry would let the client in now as it came."""
        ...

    def heard_late(self, session: DeviceSession) -> None:
        """A message of a session that has ended was judged only now."""
        ...


class ActivationHost(Protocol):
    """What the session of a device that is told its secret asks of those who hold it."""

    @property
    def counters(self) -> ConnectionCounters: ...

    def activation_over(self, session: ActivationSession) -> None:
        """The session has ended; called once."""
        ...


class RelayHost(Protocol):
    """What a relay asks of those who hold it."""

    def directory(self) -> Directory: ...

    async def room(self, relay: Relay) -> bool:
        """Return when the hub has room for another message of a client, or the connection is to end.

        False where the hub drains and takes no more.
        """
        ...

    def ends(self, relay: Relay) -> None:
        """Let a client wait for room no longer, its connection is about to end."""
        ...

    def passed(self, size: int) -> None:
        """Count a message of `size` bytes that has passed to the broker."""
        ...

    def taken(self, size: int) -> None:
        """Count one of those that the broker has taken."""
        ...

    def denied(self) -> None:
        """Count a publish that was not allowed."""
        ...

    def waits_for_room(self) -> None:
        """Count a stop in reading until there is room for a long packet."""
        ...

    def watching(self, relay: Relay, *, wanted: bool) -> None:
        """Note whether a client holds any filter."""
        ...
