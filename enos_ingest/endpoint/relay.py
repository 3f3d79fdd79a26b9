"""One operator's connection to the embedded broker, or the hub's own: what passes, what is answered here."""

from __future__ import annotations

import asyncio
from collections import deque

from enos_ingest.devices.access import may_publish
from enos_ingest.endpoint.adapters import Inbound, Outbound
from enos_ingest.endpoint.incoming import Incoming
from enos_ingest.endpoint.limits import PACKETS_A_TURN
from enos_ingest.endpoint.outgoing import SLOW_BYTES, Outgoing
from enos_ingest.endpoint.packet_stream import ClosedByPeerError, PacketStream
from enos_ingest.endpoint.packets import (
    MalformedPacketError,
    PacketType,
    Publish,
    check_flags,
    encode_ack,
    parse_packet_id,
    parse_publish,
    parse_subscribe,
    parse_unsubscribe,
)
from enos_ingest.endpoint.roles import RelayHost
from enos_ingest.endpoint.subscriptions import is_short
from enos_ingest.logs import get_logger
from enos_ingest.protocol.identity import Hub, Operator
from enos_ingest.protocol.topics import filter_matches, parse_topic

__all__ = ["Relay"]

log = get_logger(__name__)

_DISTRIBUTE_SECONDS = 5.0
"""How long the end of a connection waits for the broker to take what the client sent before it."""

_ACKNOWLEDGE_SECONDS = 10.0
"""How long amqtt may take for a SUBACK; one that never comes ends the connection."""

_IN_ORDER = frozenset({PacketType.PUBLISH, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE})
"""What waits for the acknowledgement of a subscription, or of its end, before it: amqtt keeps the three in queues of
their own, where they would lose their order, and a client may publish without waiting for SUBACK. All else passes:
amqtt may need the client's acknowledgements first."""

_AHEAD = 64
"""How many messages of one client amqtt may be behind: it takes a handful of turns of the event loop for each, in which
a client that floods would have thousands read into memory, past every bound."""


class Relay:
    """Stands between a client's socket and amqtt.

    Only whole, well-formed packets that the client is allowed to send reach amqtt. A publish that is not allowed
    is answered here, to its sender alone.

    Args:
        peer: address and port of the client.
        proof: what the identity was proved with; once the registry holds another, the connection must end.
        connect: the CONNECT that amqtt is shown in place of the client's own.
        keep_alive: seconds as the client asked; 1.5 times as long without a packet closes. [MQTT-3.1.2-24]
        packet_bytes: the longest packet.
        outgoing_bytes: a client that leaves more than this unread is closed; 0 for no bound.
        subscriptions: how many filters the client may hold; 0 for no bound.
        unreleased: how many messages of QoS 2 it may leave without PUBREL.
        incoming, outgoing: what all connections together may hold; None for who is not counted.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        peer: tuple[str, int],
        client_id: str,
        identity: Operator | Hub,
        proof: str,
        connect: bytes,
        keep_alive: int,
        packet_bytes: int,
        outgoing_bytes: int,
        subscriptions: int,
        unreleased: int,
        incoming: Incoming | None,
        outgoing: Outgoing | None,
        host: RelayHost,
    ) -> None:
        self.peer = peer
        self.client_id = client_id
        self.identity = identity
        self.proof = proof
        self.owner = asyncio.current_task()
        """The task that serves the connection, which ends it when it is cancelled."""
        self.closing = False
        self.ended = asyncio.Event()
        self.reason = ""
        """Why it ended, as `ConnectionCounters.closed` counts it."""
        self.published = 0
        """How many messages have passed to the broker."""
        self.taken = 0
        """How many of them the broker has taken for distribution."""
        self.untaken: deque[int] = deque()
        """The sizes of those that it has not, in their order."""
        self.offered = 0
        """How many messages of others the broker has allowed for this client."""
        self._writer = writer
        self._first: bytes = connect
        self._silence = keep_alive * 1.5 or None
        self._stream = PacketStream(
            reader,
            packet_bytes=packet_bytes,
            silence=self._silence,
            incoming=incoming,
            waits=host.waits_for_room,
        )
        self._outgoing_bytes = outgoing_bytes
        self._subscriptions = subscriptions
        self._most_unreleased = unreleased
        self._outgoing = outgoing
        self._filters: set[str] = set()
        self._host = host
        self._progress = asyncio.Event()
        self._packets = 0
        self._end = asyncio.Event()
        self._disconnected = False
        self._released_here: set[int] = set()
        self._unreleased: dict[int, int] = {}
        self._serving = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._acknowledged.set()
        self._told_of_filters = False
        self._told_of_denial = False
        self.inbound = Inbound(self.next_packet, self.close)
        self.outbound = Outbound(self._send, self.peer, self.close)

    @property
    def unread(self) -> int:
        """Bytes that wait for the client to read them."""
        return self._writer.transport.get_write_buffer_size()

    @property
    def subscribed(self) -> bool:
        """Whether the client holds any filter."""
        return bool(self._filters)

    def delivered(self) -> None:
        """The broker has taken one of this client's messages for distribution."""
        if not self.untaken:
            return  # left in the broker's session by an older connection of the same client, and counted at its end
        self.taken += 1
        self._host.taken(self.untaken.popleft())
        self._progress.set()

    def receive(self) -> None:
        """The broker is about to send the client a message of somebody else."""
        self.offered += 1

    def subscribe(self, topic_filter: str) -> bool:
        """Note a filter that the client is about to hold; False where it holds too many, or it is too long."""
        too_many = topic_filter not in self._filters and 0 < self._subscriptions <= len(self._filters)
        if too_many or not is_short(topic_filter):
            if not self._told_of_filters:
                log.info("subscriptions refused, too many or too long", client=str(self.identity))
                self._told_of_filters = True  # one line, a packet may hold thousands
            return False
        self._filters.add(topic_filter)
        self._host.watching(self, wanted=True)
        return True

    def unsubscribe(self, topic_filter: str) -> None:
        """Note that the client holds a filter no more."""
        self._filters.discard(topic_filter)
        self._host.watching(self, wanted=self.subscribed)

    def watches(self, topic: str) -> bool:
        """Whether one of the client's filters covers a topic."""
        return any(filter_matches(topic_filter, topic) for topic_filter in self._filters)

    def show(self, packet: bytes) -> bool:
        """Send the client a packet that did not come from the broker; False where it is far behind in reading."""
        if self.unread > self._outgoing_bytes // 2:
            return False
        self.write(packet)
        return True

    def serving(self) -> None:
        """The broker is ready for the packets after CONNECT."""
        self._serving.set()

    def close(self, reason: str = "client") -> None:
        """End the connection; what the client sent before is still distributed."""
        if not self.closing:
            self.closing = True
            self._because(reason)
            self._end.set()
            self._acknowledged.set()
            self._progress.set()
            self._stream.close()
            self._host.ends(self)

    def forget_traffic(self) -> None:
        """Count no more among what all connections hold together; the connection has ended."""
        self._stream.forget()
        if self._outgoing is not None:
            self._outgoing.forget(self)

    def _because(self, reason: str) -> None:
        """Note why the connection ends; the first reason counts."""
        self.reason = self.reason or reason

    async def next_packet(self) -> bytes:
        """The next packet that amqtt may see; b"" at the end of the connection."""
        if self._first:
            first, self._first = self._first, b""
            return first
        try:
            while True:
                self._packets += 1
                if self._packets % PACKETS_A_TURN == 0:
                    await asyncio.sleep(0)
                packet = await self._read()
                if packet:
                    return packet
        except (ClosedByPeerError, ConnectionError):
            self._because("client" if self._disconnected else "network")
        except TimeoutError:
            self._because("keep_alive")
            log.info("closed a silent connection", client=str(self.identity), seconds=self._silence)
        except MalformedPacketError as error:
            self._because("protocol")
            log.warning("closed a connection that broke the protocol", client=str(self.identity), error=str(error))
        await self._distributed()
        return b""

    def write(self, data: bytes) -> None:
        """Send bytes to the client; one that does not read them is cut off, so that nobody waits for it."""
        if self._writer.transport.is_closing():
            return
        self._writer.write(data)
        if self._outgoing is None:
            return
        unread = self.unread
        if unread > self._outgoing_bytes:
            self.reads_too_slowly(f"{unread} bytes were not read")
        elif unread > SLOW_BYTES:
            self._outgoing.note(self, unread)
        else:
            self._outgoing.forget(self)

    def reads_too_slowly(self, detail: str) -> None:
        """End the connection for what it leaves unread."""
        self._because("slow")
        log.warning("closed a connection that reads too slowly", client=str(self.identity), detail=detail)
        self._writer.transport.abort()

    def _send(self, packet: bytes) -> None:
        """Send a packet of amqtt's."""
        if packet[0] >> 4 in (PacketType.SUBACK, PacketType.UNSUBACK):
            self._acknowledged.set()
        self.write(packet)

    async def _read(self) -> bytes:
        """Read one packet; b"" for one that was answered here."""
        # amqtt starts to read before it starts to listen for the end: a client that is gone at once would stay.
        await self._serving.wait()
        if self._disconnected:
            await self._end.wait()  # amqtt is about to end the connection; what comes now does not count
            raise ClosedByPeerError
        first_byte, header, body = await self._stream.next()
        kind = check_flags(first_byte)
        if kind in _IN_ORDER:
            await self._acknowledgement()
        match kind:
            case PacketType.PUBLISH:
                return await self._publish(parse_publish(first_byte, body), header, body)
            case PacketType.PUBREL:
                return self._release(parse_packet_id(body), header + body)
            case PacketType.PUBACK | PacketType.PUBREC | PacketType.PUBCOMP:
                parse_packet_id(body)
            case PacketType.SUBSCRIBE:
                parse_subscribe(body)
                self._acknowledged.clear()
            case PacketType.UNSUBSCRIBE:
                parse_unsubscribe(body)
                self._acknowledged.clear()
            case PacketType.DISCONNECT:
                self._disconnected = True
                await self._distributed()
        return header + body

    async def _acknowledgement(self) -> None:
        """Wait until amqtt has acknowledged the last SUBSCRIBE or UNSUBSCRIBE."""
        if not self._acknowledged.is_set():
            try:
                async with asyncio.timeout(_ACKNOWLEDGE_SECONDS):
                    await self._acknowledged.wait()
            except TimeoutError:
                log.error("the broker did not acknowledge a subscription", client=str(self.identity))
                raise ClosedByPeerError from None
        if self.closing:
            raise ClosedByPeerError

    async def _publish(self, publish: Publish, header: bytes, body: bytes) -> bytes:
        if publish.qos == 2 and (publish.packet_id in self._unreleased or publish.packet_id in self._released_here):
            self.write(encode_ack(PacketType.PUBREC, publish.packet_id))  # sent again, taken already
            return b""
        # Until there is room this connection is not read on: TCP pushes back, and the client keeps its data. Nor do
        # we see it end then; a client whose pings stay without answer for that long has gone.
        async with asyncio.timeout(self._silence):
            while self.published - self.taken >= _AHEAD and not self.closing:
                self._progress.clear()
                await self._progress.wait()
            takes_more = await self._host.room(self)
        if self.closing:
            raise ClosedByPeerError
        if not takes_more:
            # Not acknowledged, so the client keeps it. Reading goes on: behind it come the acknowledgements of
            # replies, which amqtt waits for, and unread bytes would make the end of the connection a reset.
            return b""
        if not may_publish(self.identity, publish.topic, self._host.directory()):
            self._deny(publish)
            return b""
        if publish.qos == 2:
            self._bound_unreleased()
            self._unreleased[publish.packet_id] = len(publish.payload)
        else:
            self._pass(len(publish.payload))
        if publish.retain and parse_topic(publish.topic) is not None:
            header = bytes((header[0] & 0xFE,)) + header[1:]  # a retained uplink would reach every new watcher
        return header + body

    def _release(self, packet_id: int, packet: bytes) -> bytes:
        if packet_id in self._unreleased:
            self._pass(self._unreleased.pop(packet_id))
            return packet
        # Denied before, or released before and asked again: [MQTT-4.3.3-2] wants PUBCOMP in any case.
        self._released_here.discard(packet_id)
        self.write(encode_ack(PacketType.PUBCOMP, packet_id))
        return b""

    def _bound_unreleased(self) -> None:
        if len(self._unreleased) + len(self._released_here) >= self._most_unreleased:
            raise MalformedPacketError(f"more than {self._most_unreleased} messages of QoS 2 without PUBREL")

    def _pass(self, size: int) -> None:
        self.published += 1
        self.untaken.append(size)
        self._host.passed(size)

    def _deny(self, publish: Publish) -> None:
        """Drop a publish that is not allowed, and acknowledge it: sending again is no use."""
        self._host.denied()
        if not self._told_of_denial:
            self._told_of_denial = True  # one line, whatever else it tries
            log.info("publish not allowed", client=str(self.identity), topic=publish.topic)
        if publish.qos == 2:
            self._bound_unreleased()
            self._released_here.add(publish.packet_id)
        if publish.qos:
            kind = PacketType.PUBACK if publish.qos == 1 else PacketType.PUBREC
            self.write(encode_ack(kind, publish.packet_id))

    async def _distributed(self) -> None:
        """Wait until amqtt has taken what the client sent: it forgets the rest when it sees the end."""
        try:
            async with asyncio.timeout(_DISTRIBUTE_SECONDS):
                while self.taken < self.published:
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            lost = self.published - self.taken
            log.error("the broker did not take all messages of a client", client=str(self.identity), messages=lost)
