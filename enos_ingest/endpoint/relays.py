"""Everyone whom the embedded broker serves: operators, and the hub's own subscriber."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from enos_ingest.broker import EmbeddedBroker
from enos_ingest.devices.directory import Directory
from enos_ingest.endpoint.adapters import connect_for_broker
from enos_ingest.endpoint.authentication import Authenticator
from enos_ingest.endpoint.incoming import Incoming
from enos_ingest.endpoint.limits import ConnectionCounters
from enos_ingest.endpoint.mirror import Mirror
from enos_ingest.endpoint.outgoing import Outgoing
from enos_ingest.endpoint.packets import Connect, encode_connect
from enos_ingest.endpoint.relay import Relay
from enos_ingest.intake import Intake
from enos_ingest.logs import get_logger
from enos_ingest.protocol.identity import Hub, Operator
from enos_ingest.settings import LimitsSettings

__all__ = ["Relays"]

log = get_logger(__name__)

_TAKE_OVER_SECONDS = 5.0
"""How long a new connection waits for the one it replaces to end."""

_HUB_PACKET_BYTES = 268_435_460
"""The longest packet there is: a reply may be longer than the request that it echoes the id of."""

_LOOK_SECONDS = 0.02
"""How often room is looked for beside the intake's word: amqtt's queue is one of the reasons, and it tells nobody."""


class Relays:
    """Relays authenticated operators to the embedded broker, and bounds what is on its way through it."""

    def __init__(
        self,
        broker: EmbeddedBroker,
        authenticator: Authenticator,
        directory: Callable[[], Directory],
        intake: Intake,
        mirror: Mirror,
        counters: ConnectionCounters,
        limits: LimitsSettings,
    ) -> None:
        self.directory = directory
        self.hub: Relay | None = None
        """The connection of the hub's own subscriber."""
        self.arrived: Callable[[], int] = lambda: 0
        """How many of the messages offered to it the subscriber has received."""
        self._broker = broker
        self._authenticator = authenticator
        self._intake = intake
        self._mirror = mirror
        self._counters = counters
        self._limits = limits
        self._relays: dict[str, Relay] = {}
        self._untaken = self._untaken_bytes = 0
        self._draining = False
        self._waiting: dict[Relay, asyncio.Future[None]] = {}
        """Who waits for room, the first one first."""
        self._given = 0
        """How many have been given room and have not used it yet."""
        self._look: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many operators are connected."""
        return len(self._relays) - (self.hub is not None)

    @property
    def is_idle(self) -> bool:
        """Whether the broker has taken all that the clients were allowed to send."""
        return all(relay.taken == relay.published for relay in self._relays.values())

    async def serve(
        self,
        connect: Connect,
        identity: Operator | Hub,
        proof: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: tuple[str, int],
        traffic: tuple[Incoming, Outgoing],
    ) -> None:
        """Relay an authenticated client to the broker until one of them ends the connection.

        Args:
            traffic: what all connections together may hold, of which this one takes its part.
        """
        # Bound to the identity, a client id is nobody else's: amqtt would let whoever names one take its session. No
        # name holds a %, so that the one ends where the other begins.
        client_id = f"{type(identity).__name__}%{identity}%{connect.client_id or secrets.token_hex(12)}"
        await self._take_over(client_id)
        if self._authenticator.proof(identity) != proof:
            log.info("an operator was changed while connecting", client=str(identity))
            return
        is_hub = isinstance(identity, Hub)
        relay = Relay(
            reader,
            writer,
            peer=peer,
            client_id=client_id,
            identity=identity,
            proof=proof,
            connect=encode_connect(connect_for_broker(connect, client_id)),
            keep_alive=connect.keep_alive,
            packet_bytes=_HUB_PACKET_BYTES if is_hub else self._limits.packet_bytes,
            outgoing_bytes=0 if is_hub else self._limits.outgoing_bytes,
            subscriptions=0 if is_hub else self._limits.subscriptions,
            unreleased=self._limits.unacknowledged,
            incoming=None if is_hub else traffic[0],
            outgoing=None if is_hub else traffic[1],
            host=self,
        )
        self._relays[client_id] = relay
        if is_hub:
            self.hub = relay
        else:
            self._counters.connected("operator")
            log.info("connected", kind="operator", client=str(identity), peer=relay.peer[0])
        try:
            await self._broker.serve(relay, relay.inbound, relay.outbound)
        finally:
            self._ended(relay)

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

    def waits_for_room(self) -> None:
        """Count a stop in reading until there is room for a long packet."""
        self._counters.reading_paused("memory")

    def watching(self, relay: Relay, *, wanted: bool) -> None:
        """Note whether an operator wants to see what devices send."""
        if not isinstance(relay.identity, Hub):
            self._mirror.watch(relay, wanted=wanted)

    async def room(self, relay: Relay) -> bool:
        """Return when there is room for another message of a client; the subscriber's own always have room.

        False once the hub drains: what comes now is not taken.
        """
        if isinstance(relay.identity, Hub):
            return True
        if not relay.closing and not self._draining and (self._waiting or self._is_full()):
            turn = self._waiting[relay] = asyncio.get_running_loop().create_future()
            self._look_for_room()
            try:
                await turn
            finally:
                if self._waiting.pop(relay, None) is None:
                    self._given -= 1
        return not self._draining

    def ends(self, relay: Relay) -> None:
        """A client waits for room no more, its connection is about to end."""
        self._give_room_to(relay)

    def close_invalid(self) -> None:
        """Close the connections of those whom the registry does not let in any more as they came."""
        for relay in list(self._relays.values()):
            if self._authenticator.proof(relay.identity) != relay.proof:
                log.info("closed a connection, the registry changed", client=str(relay.identity))
                self._broker.drop_will(relay.client_id)
                relay.close("registry")

    def drain(self) -> None:
        """Take no further message."""
        self._draining = True
        for relay in list(self._waiting):
            self._give_room_to(relay)

    def close(self) -> None:
        """End all connections."""
        self.drain()
        for relay in list(self._relays.values()):
            relay.close("stopped")

    def _is_full(self) -> bool:
        # While the subscriber is away, or has not subscribed yet, the broker would drop what it is given.
        if self.hub is None or not self.hub.subscribed or self._intake.is_full:
            return True
        return (
            self._intake.in_flight_bytes + self._untaken_bytes >= self._limits.in_flight_bytes
            or self._intake.in_flight + self._in_transit(self.hub) + self._given >= self._limits.in_flight
            or self.hub.unread > self._limits.outgoing_bytes
        )

    def _in_transit(self, hub: Relay) -> int:
        """How many messages are somewhere between a client's socket and the intake."""
        return self._untaken + self._broker.undelivered + hub.offered - self.arrived()

    def _look_for_room(self) -> None:
        """Give room to those who wait, one message each, as long as there is some; then wait for more.

        In the intake's queue, between the devices that wait there: who looked only now and then would always come
        when they have taken all.
        """
        if self._look is not None:
            self._look.cancel()
            self._look = None
        while self._waiting and not self._is_full():
            self._give_room_to(next(iter(self._waiting)))
        if self._waiting:
            self._intake.when_room(self, self._look_for_room)
            self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look_for_room)
        else:
            self._intake.forget(self)

    def _give_room_to(self, relay: Relay) -> None:
        turn = self._waiting.pop(relay, None)
        if turn is not None:
            self._given += 1
            if not turn.done():  # its wait may be over, for the client's silence
                turn.set_result(None)

    def _ended(self, relay: Relay) -> None:
        del self._relays[relay.client_id]
        relay.forget_traffic()
        for size in relay.untaken:
            self.taken(size)
        relay.ended.set()
        if relay is self.hub:
            self.hub = None
            return
        self._mirror.watch(relay, wanted=False)
        reason = relay.reason or "network"
        self._counters.closed(reason)
        log.info("disconnected", client=str(relay.identity), peer=relay.peer[0], reason=reason)

    async def _take_over(self, client_id: str) -> None:
        """End an older connection of the same client id. [MQTT-3.1.4-2]

        One that does not end when asked is cancelled: a client keeps its client id, and must not be locked out.
        """
        while (older := self._relays.get(client_id)) is not None:
            log.info("connection taken over by a newer one", client=str(older.identity))
            older.close("taken_over")
            try:
                async with asyncio.timeout(_TAKE_OVER_SECONDS):
                    await older.ended.wait()
            except TimeoutError:
                log.error("an older connection did not end, it is cut off", client=str(older.identity))
                if older.owner is not None:
                    older.owner.cancel()
                await older.ended.wait()
