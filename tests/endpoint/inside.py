"""The parts of a hub that runs in this process, for what cannot be seen from outside."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from enos_ingest.protocol.identity import DeviceId
from tests.endpoint.waiting import eventually

if TYPE_CHECKING:
    from enos_ingest.broker import EmbeddedBroker
    from enos_ingest.commands.dispatcher import Dispatcher
    from enos_ingest.devices.presence import Presence
    from enos_ingest.endpoint.listener import MqttListener
    from enos_ingest.endpoint.relay import Relay
    from enos_ingest.endpoint.session import DeviceSession
    from enos_ingest.intake import Intake
    from enos_ingest.service import Service
    from enos_ingest.storage.store import WriterStats
    from enos_ingest.subscriber import Subscriber
    from enos_ingest.testing.hub import Hub

T = TypeVar("T")

__all__ = [
    "accepted",
    "begin_inside",
    "behind_bytes",
    "broker",
    "connections",
    "dispatcher",
    "intake",
    "listener",
    "locked",
    "online",
    "presence",
    "reasons",
    "relays",
    "run_inside",
    "secret",
    "session",
    "sessions",
    "store",
    "subscriber",
]


def listener(hub: Hub) -> MqttListener:
    """The MQTT listener."""
    return _service(hub)._mqtt.listener  # noqa: SLF001


def broker(hub: Hub) -> EmbeddedBroker:
    """The embedded broker."""
    return _service(hub)._mqtt.broker  # noqa: SLF001


def subscriber(hub: Hub) -> Subscriber:
    """The hub's own client."""
    return _service(hub)._mqtt.subscriber  # noqa: SLF001


def intake(hub: Hub) -> Intake:
    """What joins pipeline and store."""
    return _service(hub)._intake  # noqa: SLF001


def dispatcher(hub: Hub) -> Dispatcher:
    """What sends commands."""
    return _service(hub)._commands.dispatcher  # noqa: SLF001


def presence(hub: Hub) -> Presence:
    """Who is online."""
    return _service(hub)._presence  # noqa: SLF001


def store(hub: Hub) -> WriterStats:
    """What the writer has done."""
    return _service(hub)._writer.stats()  # noqa: SLF001


def reasons(hub: Hub) -> list[str]:
    """Why the hub is not ready."""
    return _service(hub)._reasons()  # noqa: SLF001


def relays(hub: Hub) -> dict[str, Relay]:
    """The connections that the broker serves, by who holds them; of several of one client the newest."""
    return {str(relay.identity): relay for relay in listener(hub).relays._relays.values()}  # noqa: SLF001


def session(hub: Hub, name: str) -> DeviceSession:
    """The session of a device."""
    return listener(hub).sessions._sessions[DeviceId(*name.split("/"))]  # noqa: SLF001


def sessions(hub: Hub) -> tuple[int, int]:
    """How many sessions amqtt knows, and how many clients our broker does; the hub's own is one."""
    return len(broker(hub).sessions), len(broker(hub)._clients)  # noqa: SLF001


def accepted(hub: Hub) -> int:
    """How many connections there are, those of strangers included and the hub's own aside."""
    return listener(hub).accepted


def connections(hub: Hub) -> int:
    """How many clients are connected."""
    return listener(hub).connections


def online(hub: Hub) -> int:
    """How many devices are online."""
    return presence(hub).online


def behind_bytes(hub: Hub) -> int:
    """How many bytes wait for messages that codecs have."""
    return listener(hub).sessions.behind_bytes


def secret(hub: Hub, device: DeviceId) -> str:
    """The secret of a device by what the hub has in memory."""
    return _service(hub).directory().devices[device].secret


def run_inside(hub: Hub, call: Callable[[], object]) -> None:
    """Call something in the hub's own thread, and wait until that is done."""

    async def run() -> None:
        call()

    asyncio.run_coroutine_threadsafe(run(), hub._loop).result()  # noqa: SLF001


def begin_inside(hub: Hub, work: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin something in the hub's own thread; the future has what it returns."""
    return asyncio.run_coroutine_threadsafe(work, hub._loop)  # noqa: SLF001


@contextlib.contextmanager
def locked(hub: Hub) -> Iterator[None]:
    """Keep the hub from committing, once it has nothing to commit: a first login that waits would stop all reading."""
    eventually(lambda: store(hub).pending == 0)
    with contextlib.closing(sqlite3.connect(hub.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def _service(hub: Hub) -> Service:
    return hub._service  # noqa: SLF001
