"""The MQTT listener: accepting, CONNECT, limits, take-over, drain."""

from __future__ import annotations

import asyncio
import functools
import secrets
import time
from collections.abc import Callable
from typing import Literal

from enos_ingest.broker import EmbeddedBroker
from enos_ingest.devices.access import may_publish
from enos_ingest.devices.directory import Directory
from enos_ingest.devices.presence import Presence
from enos_ingest.endpoint.adapters import connect_for_broker
from enos_ingest.endpoint.authentication import Authenticator, Refused
from enos_ingest.endpoint.limits import ConnectionCounters, ConnectionLimits
from enos_ingest.endpoint.packets import (
    ConnackCode,
    Connect,
    MalformedPacketError,
    PacketType,
    UnsupportedVersionError,
    encode_connack,
    encode_connect,
    parse_connect,
)
from enos_ingest.endpoint.relay import ClosedByPeerError, Relay, read_packet
from enos_ingest.intake import Intake
from enos_ingest.logs import get_logger
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message
from enos_ingest.protocol.identity import Channel, DeviceId, Hub, Identity, Operator
from enos_ingest.sockets import Bind, bind_socket, cannot_listen

__all__ = ["MqttListener"]

log = get_logger(__name__)

_BACKLOG = 1024
"""Connections that wait to be accepted: a fleet comes back all at once after a power cut."""

_TAKE_OVER_SECONDS = 5.0
"""How long a new connection waits for the one it replaces to end."""

_HUB_PACKET_BYTES = 268_435_460
"""The longest packet there is: a reply may be longer than the request that it echoes the id of."""

_FLUSH_SECONDS = 5.0
"""How long an ended connection may take to read what was sent to it."""

_LOOK_SECONDS = 0.02
"""How often readers that were stopped look again: amqtt's queue is one of the reasons, and it tells nobody."""


class MqttListener:
    """Accepts MQTT connections, finds out who they are, and relays them to the embedded broker.

    Nothing is known to the broker, or to presence, of a connection before it has been authenticated; a refused
    one leaves no trace.
    """

    def __init__(
        self,
        broker: EmbeddedBroker,
        authenticator: Authenticator,
        directory: Callable[[], Directory],
        presence: Presence,
        intake: Intake,
        counters: ConnectionCounters,
        limits: ConnectionLimits,
    ) -> None:
        self.directory = directory
        self.hub: Relay | None = None
        """The connection of the hub's own subscriber."""
        self.arrived: Callable[[], int] = lambda: 0
        """How many of the messages offered to it the subscriber has received."""
        self._broker = broker
        self._authenticator = authenticator
        self._presence = presence
        self._intake = intake
        self._counters = counters
        self._limits = limits
        self._servers: list[asyncio.Server] = []
        self._inside: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._relays: dict[str, Relay] = {}
        self._untaken = self._untaken_bytes = 0
        self._leaving: set[asyncio.Task[None]] = set()
        self._paused = False
        self._room = asyncio.Event()
        self._look: asyncio.TimerHandle | None = None

    async def listen(self, bind: Bind, setting: str = "", *, inside: bool = False) -> Bind:
        """Serve an address, and return it with the port that port 0 became.

        Args:
            inside: whether it is the way in for the hub's own subscriber, which finds room however many are connected.

        Raises:
            StartError: the port is taken, or the address is not this machine's.
        """
        bound = bind_socket(bind, setting)
        try:
            # Two programs can both bind a port; the second to listen is told. uvloop would lose that error.
            bound.listen(_BACKLOG)
        except OSError as error:
            bound.close()
            raise cannot_listen(bind, error, setting) from error
        accepted = functools.partial(self._accepted, limited=not inside)
        server = await asyncio.start_server(accepted, sock=bound, backlog=_BACKLOG)
        (self._inside if inside else self._servers).append(server)
        return Bind(bind.host, bound.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many clients are connected, the hub's own subscriber aside."""
        return len(self._relays) - (self.hub is not None)

    @property
    def is_idle(self) -> bool:
        """Whether the broker has taken all that the clients were allowed to send."""
        return all(relay.taken == relay.published for relay in self._relays.values())

    def submit(self, message: Message, answer: Callable[[Outcome], None]) -> None:
        """Judge a message past the broker."""
        self._intake.submit(message, answer)

    def passed(self, size: int) -> None:
        """Count a message of `size` bytes that has passed to the broker."""
        self._untaken += 1
        self._untaken_bytes += size

    def taken(self, size: int) -> None:
        """Count one of those that the broker has taken, or will never take."""
        self._untaken -= 1
        self._untaken_bytes -= size

    def denied(self) -> None:
        """Count a publish that was not allowed."""
        self._counters.publish_denied()

    async def room(self, relay: Relay) -> bool:
        """Return when there is room for another message of a client; the subscriber's own always have room.

        False once the hub drains: what comes now is not taken.
        """
        if isinstance(relay.identity, Hub):
            return True
        while not relay.closing and not self._paused and self._is_full():
            self._room.clear()
            if self._look is None:
                self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look_for_room)
            await self._room.wait()
        return not self._paused

    def close_invalid(self) -> None:
        """Close the connections of those whom the registry does not let in any more as they came."""
        for relay in list(self._relays.values()):
            if self._authenticator.proof(relay.identity) != relay.proof:
                log.info("closed a connection, the registry changed", client=str(relay.identity))
                self._broker.drop_will(relay.client_id)
                relay.close()

    def stop_accepting(self) -> None:
        """Take no new connection, and no further message from those that are there."""
        self._paused = True
        for server in self._servers:
            server.close()

    async def close(self) -> None:
        """End all connections."""
        self.stop_accepting()
        for server in self._inside:
            server.close()
        for relay in list(self._relays.values()):
            relay.close()
        self._room.set()
        for task in self._tasks:
            if task.get_name() == "connecting":
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_TAKE_OVER_SECONDS)
        ending = [*self._tasks, *self._leaving]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _is_full(self) -> bool:
        # While the subscriber is away, or has not subscribed yet, the broker would drop what it is given.
        if self.hub is None or not self.hub.subscribed:
            return True
        return (
            self._intake.in_flight_bytes + self._untaken_bytes >= self._limits.in_flight_bytes
            or self._intake.in_flight + self._in_transit() >= self._limits.in_flight
            or self.hub.unsent > self._limits.outgoing_bytes
        )

    def _in_transit(self) -> int:
        """How many messages are somewhere between a client's socket and the intake."""
        assert self.hub is not None
        return self._untaken + self._broker.undelivered + self.hub.offered - self.arrived()

    def _look_for_room(self) -> None:
        """Wake those who wait; each looks for itself, and the first that finds no room has us look again."""
        self._look = None
        self._room.set()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limited: bool) -> None:
        task = _current_task()
        task.set_name("connecting")
        self._tasks.add(task)
        try:
            await self._serve(reader, writer, limited=limited)
        except asyncio.CancelledError:
            if not self._paused:
                raise
        except OSError as error:
            log.debug("connection lost", error=str(error))
        except Exception:  # whatever it is, amqtt's faults included, it ends this connection and no other
            log.exception("a connection failed")
        finally:
            self._tasks.discard(task)
            writer.close()
            # What a client leaves unread would keep its socket, which no limit counts any more.
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, writer.transport.abort)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limited: bool) -> None:
        if limited and len(self._tasks) - (self.hub is not None) > self._limits.connections:
            self._refuse(
                writer, ConnackCode.SERVER_UNAVAILABLE, "limit", f"more than {self._limits.connections} connections"
            )
            return
        try:
            connect, identity = await self._connect(reader)
        except Refused as refused:
            self._refuse(writer, refused.code, refused.code.name.lower(), refused.reason)
            return
        except UnsupportedVersionError as error:
            self._refuse(writer, ConnackCode.UNACCEPTABLE_VERSION, "version", str(error))
            return
        except (ClosedByPeerError, MalformedPacketError, TimeoutError) as error:
            # [MQTT-3.1.0-1] a first packet that is no CONNECT is not answered
            self._refuse(writer, None, "malformed", str(error) or "no CONNECT")
            return
        # Bound to the identity, a client id is nobody else's: amqtt would let whoever names one take its session. No
        # key and no name holds a %, so that the one ends where the other begins.
        client_id = f"{type(identity).__name__}%{identity}%{connect.client_id or secrets.token_hex(12)}"
        proof = self._authenticator.proof(identity)
        await self._take_over(client_id)
        if proof is None or self._authenticator.proof(identity) != proof:
            self._refuse(writer, ConnackCode.NOT_AUTHORIZED, "not_authorized", f"{identity} was changed meanwhile")
            return
        await self._relay(connect, identity, proof, client_id, reader, writer)

    async def _connect(self, reader: asyncio.StreamReader) -> tuple[Connect, Identity]:
        async with asyncio.timeout(self._limits.connect_seconds):
            first_byte, _, body = await read_packet(reader, self._limits.connect_bytes)
            if first_byte != PacketType.CONNECT << 4:
                raise MalformedPacketError("the first packet is not CONNECT")
            connect = parse_connect(body)
            if not connect.client_id and not connect.clean_session:
                raise Refused(ConnackCode.IDENTIFIER_REJECTED, "no client id, and not a clean session [MQTT-3.1.3-8]")
            identity = await self._authenticator.authenticate(connect)
        will_topic = connect.will_topic if isinstance(identity, Operator) else None
        if will_topic is not None and not may_publish(identity, will_topic, self.directory()):
            raise Refused(ConnackCode.NOT_AUTHORIZED, f"will on {will_topic[:100]} is not allowed")
        return connect, identity

    def _refuse(self, writer: asyncio.StreamWriter, code: ConnackCode | None, kind: str, reason: str) -> None:
        peer = writer.get_extra_info("peername") or ("unknown",)
        log.warning("connection refused", peer=str(peer[0]), connack=None if code is None else int(code), reason=reason)
        self._counters.refused(kind)
        if code is not None:
            writer.write(encode_connack(code))

    async def _relay(
        self,
        connect: Connect,
        identity: Identity,
        proof: str,
        client_id: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Relay an authenticated client to the broker until one of them ends the connection."""
        relay = Relay(
            reader,
            writer,
            client_id=client_id,
            identity=identity,
            proof=proof,
            connect=encode_connect(connect_for_broker(connect, identity, client_id)),
            keep_alive=connect.keep_alive,
            packet_bytes=_HUB_PACKET_BYTES if isinstance(identity, Hub) else self._limits.packet_bytes,
            outgoing_bytes=0 if isinstance(identity, Hub) else self._limits.outgoing_bytes,
            subscriptions=0 if isinstance(identity, Hub) else self._limits.subscriptions,
            host=self,
        )
        self._relays[client_id] = relay
        self._entered(identity, relay)
        try:
            await self._broker.serve(relay, relay.inbound, relay.outbound)
        finally:
            del self._relays[client_id]
            for size in relay.untaken:
                self.taken(size)
            relay.ended.set()
            self._left(identity, relay)

    async def _take_over(self, client_id: str) -> None:
        """End an older connection of the same client id. [MQTT-3.1.4-2]

        One that does not end when asked is cancelled: a device keeps its client id, and must not be locked out.
        """
        while (older := self._relays.get(client_id)) is not None:
            log.info("connection taken over by a newer one", client=str(older.identity))
            older.close()
            self._room.set()
            try:
                async with asyncio.timeout(_TAKE_OVER_SECONDS):
                    await older.ended.wait()
            except TimeoutError:
                log.error("an older connection did not end, it is cut off", client=str(older.identity))
                if older.owner is not None:
                    older.owner.cancel()
                await older.ended.wait()

    def _entered(self, identity: Identity, relay: Relay) -> None:
        _current_task().set_name("connected")
        if isinstance(identity, Hub):
            self.hub = relay
            return
        kind = _kind(identity)
        self._counters.connected(kind)
        log.info("connected", kind=kind, client=str(identity), peer=relay.peer[0])
        if isinstance(identity, DeviceId):
            self._presence.connect(identity)
            device = self.directory().devices.get(identity)
            if device is not None and device.activated is None and self._presence.is_first_login(identity):
                self._intake.activate(identity, time.time_ns() // 1_000_000)

    def _left(self, identity: Identity, relay: Relay) -> None:
        if isinstance(identity, Hub):
            self.hub = None
            return
        log.info("disconnected", client=str(identity), peer=relay.peer[0])
        if isinstance(identity, DeviceId):
            task = asyncio.create_task(self._leave(identity), name=f"{identity} leaves")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _leave(self, device: DeviceId) -> None:
        """End a device's presence, once what it sent before has been judged: a login that came last must end too."""
        hub = self.hub
        if hub is not None:
            judged = hub.offered + self._broker.undelivered
            while self.hub is hub and self._in_transit() > 0 and self.arrived() < judged:
                await asyncio.sleep(_LOOK_SECONDS)
        for sub_device in sorted(self._presence.disconnect(device)):
            log.info("offline with its gateway", device=str(sub_device), gateway=str(device))


def _current_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _kind(identity: DeviceId | Channel | Operator) -> Literal["device", "channel", "operator"]:
    match identity:
        case DeviceId():
            return "device"
        case Channel():
            return "channel"
        case Operator():
            return "operator"
