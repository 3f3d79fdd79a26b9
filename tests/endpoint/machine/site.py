"""A hub with small limits, and what it is looked at with."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.testing.hub import run_hub
from tests.endpoint import inside
from tests.endpoint.raw import RawClient, connect_packet
from tests.endpoint.site import MODELS, REGISTRY, resume, resume_topic
from tests.endpoint.waiting import eventually

__all__ = [
    "IN_FLIGHT",
    "IN_FLIGHT_BYTES",
    "IN_FLIGHT_PER_CONNECTION",
    "LITTLE",
    "MESSAGE_BYTES",
    "OUTGOING_BYTES",
    "PACKET_BYTES",
    "SUBSCRIPTIONS",
    "UNACKNOWLEDGED",
    "Held",
    "Site",
    "descriptors",
    "sockets",
]

UNACKNOWLEDGED, SUBSCRIPTIONS = 3, 3
IN_FLIGHT, IN_FLIGHT_BYTES, IN_FLIGHT_PER_CONNECTION = 6, 3000, 4
MESSAGE_BYTES, PACKET_BYTES, OUTGOING_BYTES = 1024, 2048, 4096

LIMITS = {
    "limits.unacknowledged": UNACKNOWLEDGED,
    "limits.subscriptions": SUBSCRIPTIONS,
    "limits.in_flight": IN_FLIGHT,
    "limits.in_flight_bytes": IN_FLIGHT_BYTES,
    "limits.in_flight_per_connection": IN_FLIGHT_PER_CONNECTION,
    "limits.message_bytes": MESSAGE_BYTES,
    "limits.packet_bytes": PACKET_BYTES,
    "limits.outgoing_bytes": OUTGOING_BYTES,
    "limits.drain_seconds": 1,
}

DEVICE = "P/alone"

LITTLE = 4096
"""What the kernel is asked to keep for one end of a connection, so that those who do not read are noticed."""

_ID = re.compile(rb'"id":"([^"]*)"')


class Held(NamedTuple):
    """What the hub holds of a session."""

    in_flight: int
    unacknowledged: int
    unreleased: int
    subscriptions: int
    buffered: int
    outgoing: int
    is_paused: bool


class Site:
    """A hub, and what it is looked at with: its database, and a connection that locks it."""

    def __init__(self) -> None:
        self.runs = itertools.count(1)
        self.failure: Exception | None = None
        """What the first run that failed has failed with."""
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def renew(self, failure: Exception) -> None:
        """Start again with another hub: with this one a run has failed."""
        self.failure = self.failure or failure
        self._parts.close()
        self._open()

    def _open(self) -> None:
        with contextlib.ExitStack() as parts:
            self.hub = parts.enter_context(run_hub(registry=REGISTRY, models=MODELS, settings=LIMITS))
            for server in inside.listener(self.hub)._servers:  # noqa: SLF001
                for listening in server.sockets:  # which its connections take after
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LITTLE)
            self.credentials = self.hub.credentials(DEVICE)
            self.reader = parts.enter_context(SqliteReader(self.hub.database))
            self.lock = parts.enter_context(
                contextlib.closing(sqlite3.connect(self.hub.database, isolation_level=None))
            )
            self.lock.execute("PRAGMA busy_timeout = 30000")
            self._use_once()
            self.sockets = sockets()
            self._parts = parts.pop_all()

    def _use_once(self) -> None:
        """Have everything opened that stays open."""
        with RawClient(self.hub) as client:
            assert client.connect(connect_packet(self.credentials)) == 0
            client.publish(resume_topic("alone"), resume(1, time=0))
        self.lock.execute("BEGIN IMMEDIATE")
        self.lock.execute("ROLLBACK")
        eventually(lambda: list(self.reader.points("P", "alone")))
        eventually(lambda: inside.accepted(self.hub) == 0)

    def last_rejected(self) -> int:
        """The id of the newest quarantine entry, 0 for none."""
        return max((row.id for row in self.reader.quarantine(limit=1)), default=0)

    def values(self, start: int) -> dict[int, int]:
        """What is stored of the device from a time on, by time."""
        return {point.time: point.value for point in self.reader.points("P", "alone", start=start)}

    def rejected(self, after: int) -> Counter[str]:
        """What is in quarantine behind an entry, by the ids of the messages."""
        entries = [self.reader.quarantine_entry(entry) for entry in range(after + 1, self.last_rejected() + 1)]
        found = [_ID.search(entry.payload) for entry in entries if entry is not None]
        return Counter(each[1].decode() for each in found if each is not None)

    def held(self) -> Held | None:
        """What the hub holds of the device's session, None where there is none."""
        found: list[Held] = []
        inside.run_inside(self.hub, lambda: found.extend(self._look()))
        return found[0] if found else None

    def _look(self) -> Iterator[Held]:
        session = inside.listener(self.hub).sessions._sessions.get(DeviceId("P", "alone"))  # noqa: SLF001
        if session is not None:
            connection = session._connection  # noqa: SLF001
            yield Held(
                session.in_flight,
                session.delivery.unacknowledged,
                len(session._unreleased),  # noqa: SLF001
                len(session.delivery.subscriptions),
                connection._decoder.buffered,  # noqa: SLF001
                connection._transport.get_write_buffer_size(),  # noqa: SLF001
                connection._paused,  # noqa: SLF001
            )


def descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def sockets() -> int:
    """How many of them are sockets; SQLite keeps a closed file open while another connection has it locked."""
    found = 0
    for descriptor in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the folder itself is gone
            found += descriptor.is_socket()
    return found
