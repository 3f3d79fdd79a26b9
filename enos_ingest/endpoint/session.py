"""A device's session: its messages go straight into the intake, its answers come back in order.

For each PUBLISH: the record is committed, then the reply leaves, then PUBACK or PUBREC, all in the order of receipt
[MQTT-4.6.0-2], because one FIFO holds every message of every connection. A message without an answer is sent again
by its device. Nothing is kept beyond the connection: no stored session, no retained message, no will.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sized

from enos_ingest.clock import epoch_ms
from enos_ingest.devices.access import may_subscribe
from enos_ingest.endpoint.behind import Behind
from enos_ingest.endpoint.connection import Connection
from enos_ingest.endpoint.delivery import Delivery
from enos_ingest.endpoint.limits import PauseReason
from enos_ingest.endpoint.packets import (
    PINGRESP,
    Ack,
    Disconnect,
    MalformedPacketError,
    Packet,
    PacketType,
    PingReq,
    Publish,
    Subscribe,
    Unsubscribe,
    encode_ack,
    encode_suback,
    encode_unsuback,
)
from enos_ingest.endpoint.rights import Rights
from enos_ingest.endpoint.roles import SessionHost
from enos_ingest.endpoint.subscriptions import HIGHEST_QOS, LONGEST_FILTER, REFUSED
from enos_ingest.errors import PayloadError
from enos_ingest.intake import Answer
from enos_ingest.logs import get_logger
from enos_ingest.outcome import Outcome
from enos_ingest.pipeline import Message
from enos_ingest.protocol.compression import Compression, decompress
from enos_ingest.protocol.identity import Channel, DeviceId
from enos_ingest.protocol.raw import may_be_raw

__all__ = ["DeviceSession"]

log = get_logger(__name__)

_PUBACK = PacketType.PUBACK  # a name of the module is found faster than a member of an enumeration
_PLAIN = Compression.NONE

_FILTERS_A_PACKET = 1000
"""As many may be refused one by one; a packet with more of them, and more than may be held, ends the connection."""

_LONGEST_TOPIC = LONGEST_FILTER - len("_reply")
"""A message on a longer topic is acknowledged and no more: no topic of the protocol is half as long, and what is kept
of a topic is kept for many."""

_GROWN_BYTES = 16_384
"""A message that decompression makes longer by more is the last of its turn: a packet of a few hundred bytes may take
as long as one of the longest, and there may be many at once."""

_HEARD_OUT = frozenset({"client", "keep_alive", "network", "taken_over"})
"""Ends of a connection that leave what came before as good as it was."""


class _Unreleased:
    """A message of QoS 2 under a packet id; after PUBREL the same id may stand for another."""

    __slots__ = ("is_committed",)

    def __init__(self) -> None:
        self.is_committed = False


class DeviceSession:
    """What one device or integration channel may do on one connection.

    Args:
        key: what a newer session of the same client has too: the device, or the channel with its client id.
        proof: what the identity was proved with; once the registry holds another, the connection must end.
        subscribes: whether the client hears commands only on topics that it has subscribed to.
        compression: how the payloads are that it sends and is sent.
    """

    __slots__ = (
        "_behind", "_compression", "_connection", "_denied", "_ended", "_held", "_host",
        "_in_flight", "_refused", "_rights", "_unreleased", "_with_codec", "delivery", "identity", "key", "proof",
    )  # fmt: skip

    def __init__(
        self,
        identity: DeviceId | Channel,
        key: DeviceId | tuple[Channel, str],
        proof: str,
        connection: Connection,
        host: SessionHost,
        *,
        subscribes: bool = False,
        compression: Compression = _PLAIN,
    ) -> None:
        self.identity = identity
        self.key = key
        self.proof = proof
        self.delivery = Delivery(connection, host.limits, subscribes=subscribes, compression=compression)
        """What the client is sent."""
        self._compression = compression
        self._connection = connection
        self._host = host
        self._in_flight = 0
        # By packet id, of QoS 2.
        self._unreleased: dict[int, _Unreleased] = {}
        self._rights = Rights(identity, host.directory)
        self._denied = False
        self._refused = False
        self._held = False
        self._with_codec = False
        # Packets that wait for the message that a codec has, None where none has one.
        self._behind: Behind | None = None
        # When the connection ended, epoch milliseconds.
        self._ended = 0

    @property
    def address(self) -> str:
        """Where the client is."""
        return self._connection.address

    @property
    def is_tls(self) -> bool:
        """Whether the client came over TLS."""
        return self._connection.is_tls

    @property
    def in_flight(self) -> int:
        """How many messages of this client wait for their commit."""
        return self._in_flight

    def close(self, reason: str) -> None:
        """End the connection; what was received before is stored all the same."""
        self._connection.close(reason)

    def ended(self, reason: str, detail: str) -> None:
        level = log.warning if reason in ("protocol", "slow") else log.info
        self._host.intake.forget(self)
        self.delivery.end()
        if self._behind is not None and reason in _HEARD_OUT:
            self._ended = epoch_ms()
            asyncio.get_running_loop().call_soon(self._go_on)
        elif self._behind is not None:
            self._host.behind_bytes -= self._behind.size
            self._behind = None
        extra = {"detail": detail} if detail else {}
        level("disconnected", client=str(self.identity), peer=self.address, reason=reason, **extra)
        self._host.counters.closed(reason)
        self._host.left(self, reason)

    def ready(self) -> bool:
        return self._has_room() if self._behind is None else not self._behind.is_full

    def receive(self, packet: Packet) -> None:
        if self._behind is None:
            self._take(packet)
        elif type(packet) is PingReq:
            self._connection.send(PINGRESP)  # however long a codec takes: else its client gives the connection up
        else:
            self._put_behind(self._behind, packet)

    def _has_room(self) -> bool:
        """Whether a message may be taken in now; if not, reading is paused, and goes on by itself."""
        if self._host.intake.is_full:
            self._hold("hub")
        elif self._in_flight >= self._host.limits.in_flight_per_connection:
            self._hold("connection")
        else:
            return True
        return False

    def _take(self, packet: Packet) -> None:
        if type(packet) is Publish:
            self._publish(packet)
        elif type(packet) is Ack:
            self._acknowledged(packet)
        elif type(packet) is Subscribe:
            self._subscribe(packet)
        elif type(packet) is Unsubscribe:
            self._bound(packet.filters)
            for topic_filter in packet.filters:
                self.delivery.subscriptions.remove(topic_filter)
            self._connection.send(encode_unsuback(packet.packet_id))
        elif type(packet) is PingReq:
            self._connection.send(PINGRESP)
        elif type(packet) is Disconnect:
            self._connection.close("client")

    def _publish(self, publish: Publish) -> None:
        host = self._host
        if host.draining:
            return
        qos, packet_id, unreleased = publish.qos, publish.packet_id, None
        if qos == 2:
            if packet_id in self._unreleased:
                if self._unreleased[packet_id].is_committed:  # else its PUBREC is to come, once it is
                    self._connection.send(encode_ack(PacketType.PUBREC, packet_id))
                return
            if len(self._unreleased) >= host.limits.unacknowledged:
                raise MalformedPacketError(f"more than {len(self._unreleased)} messages of QoS 2 without PUBREL")
            unreleased = self._unreleased[packet_id] = _Unreleased()
        if publish.size != len(publish.payload):
            host.counters.oversized()
        self._in_flight += 1
        if len(publish.topic) > _LONGEST_TOPIC:
            self._deny(publish.topic[:100])
            host.intake.pass_by(functools.partial(self._answer, qos, packet_id, unreleased, False))
            self.ready()
            return
        message, allowed = self._read(publish, epoch_ms())
        answer = functools.partial(self._answer, qos, packet_id, unreleased, allowed)
        if host.intake.raw_uplinks is not None and may_be_raw(publish.topic):
            self._submit_raw(message, answer)
            return
        host.intake.submit(message, answer)
        if self.ready() and len(message.payload) - len(publish.payload) > _GROWN_BYTES:
            self._connection.pause()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _read(self, publish: Publish, received: int) -> tuple[Message, bool]:
        """The message of a packet, shown to those who watch, and whether its topic is the client's own."""
        message = Message(publish.topic, publish.payload, received, self.identity, publish.size)
        is_whole = publish.size == len(publish.payload)
        if is_whole and self._compression is not _PLAIN:
            self._decompress(message)
        allowed = self._rights.may_publish(publish.topic)
        if not allowed:
            self._deny(publish.topic)
        elif self._host.mirror.watched and is_whole:
            self._host.mirror.show(publish.topic, message.payload)
        return message, allowed

    def _submit_raw(self, message: Message, answer: Answer) -> None:
        """Submit what a codec may have for a while; until it is answered nothing after it is looked at but pings.

        Where too many wait for that codec the connection ends: nothing is acknowledged that the hub does not hold.
        """
        raw_uplinks = self._host.intake.raw_uplinks
        if raw_uplinks is not None and raw_uplinks.is_full(message.topic):
            self._connection.close("memory", f"too many messages wait for the codec of {message.topic}")
            return
        self._with_codec = True
        if self._behind is None:
            self._behind = Behind()
        self._host.intake.submit(message, functools.partial(self._answer_raw, answer))

    def _put_behind(self, behind: Behind, packet: Packet) -> None:
        """Keep a packet for its turn; read no further where enough is kept."""
        self._host.behind_bytes += behind.add(packet)
        if self._host.behind_bytes > self._host.limits.in_flight_bytes:
            self._connection.close("memory", "too much has come behind messages that codecs have")
        elif behind.is_full:
            self._host.counters.reading_paused("codec")
            self._connection.pause()

    def _answer_raw(self, answer: Answer, outcome: Outcome | None) -> None:
        """Answer, then read on: in a turn of its own, as this may be called while a packet is read."""
        self._with_codec = False
        answer(outcome)
        if self._connection.is_closing:
            self._host.heard_late(self)
        asyncio.get_running_loop().call_soon(self._go_on)

    def _answer(
        self, qos: int, packet_id: int, unreleased: _Unreleased | None, allowed: bool, outcome: Outcome | None
    ) -> None:
        """Reply, then acknowledge; no outcome, no answer."""
        self._in_flight -= 1
        # Also to those who watch a device that has gone: `mosquitto_pub` does not wait.
        if outcome is not None and outcome.reply and allowed and self._host.mirror.watched and not outcome.holds_secret:
            self._host.mirror.show(outcome.reply_topic, outcome.reply)
        if self._connection.is_closing:
            return
        if outcome is not None and outcome.reply:
            self.delivery.send(outcome.reply_topic, outcome.reply, qos)
        if qos == 1 and outcome is not None:
            self._connection.send(encode_ack(_PUBACK, packet_id))
        elif unreleased is not None and self._unreleased.get(packet_id) is unreleased:
            # Else its PUBREL has come before its PUBREC, and whoever has the packet id now is not committed.
            if outcome is not None:
                unreleased.is_committed = True
                self._connection.send(encode_ack(PacketType.PUBREC, packet_id))
            else:
                del self._unreleased[packet_id]  # sent again it is a new message
        if self._held and self._in_flight <= self._host.limits.in_flight_per_connection // 2:
            self._go_on()

    def _decompress(self, message: Message) -> None:
        """Put what the client has compressed in place of what came; the limit holds for both."""
        try:
            message.payload = decompress(self._compression, message.payload, self._host.limits.message_bytes)
        except PayloadError as error:
            message.unreadable = error
        else:
            message.size = len(message.payload)

    def _deny(self, topic: str) -> None:
        """Count a publish that is not allowed, which its sender alone learns of; say so once."""
        self._host.counters.publish_denied()
        if not self._denied:
            self._denied = True
            log.info("publish not allowed", client=str(self.identity), topic=topic)

    def _acknowledged(self, ack: Ack) -> None:
        if ack.kind == PacketType.PUBREL:
            self._unreleased.pop(ack.packet_id, None)
            self._connection.send(encode_ack(PacketType.PUBCOMP, ack.packet_id))  # also unasked [MQTT-4.3.3-2]
        else:
            self.delivery.acknowledged(ack.packet_id)

    def _subscribe(self, packet: Subscribe) -> None:
        """Grant what is the client's own; effective at once, as the Python SDK publishes without waiting for SUBACK."""
        self._bound(packet.filters)
        codes = []
        directory = self._host.directory()
        for topic_filter, qos in packet.filters:
            allowed = may_subscribe(self.identity, topic_filter, directory)
            held = allowed and self.delivery.subscriptions.add(topic_filter, qos)
            codes.append(min(qos, HIGHEST_QOS) if held else REFUSED)
        if REFUSED in codes and not self._refused:
            self._refused = True  # one line, whatever else it asks for
            log.info("subscriptions refused", client=str(self.identity), filters=codes.count(REFUSED))
        self._connection.send(encode_suback(packet.packet_id, codes))
        self._host.subscribed(self)

    def _bound(self, filters: Sized) -> None:
        if len(filters) > max(_FILTERS_A_PACKET, self._host.limits.subscriptions):
            raise MalformedPacketError(f"{len(filters)} filters in one packet, more than anybody may hold")

    def _hold(self, why: PauseReason) -> None:
        """Read no further until there is room: in the hub, or among this connection's own messages."""
        self._host.counters.reading_paused(why)
        self._connection.pause()
        if why == "hub":
            self._host.intake.when_room(self, self._go_on)
        else:
            self._held = True

    def _go_on(self) -> None:
        self._held = False
        if self._connection.is_closing:
            self._go_on_late()
            return
        if self._behind is not None and not self._with_codec and not self._behind:
            self._behind = None
        if self._behind is None:
            if self.ready():
                self._connection.resume()
        elif not self._with_codec and self._has_room():
            self._take_next(self._behind)

    def _go_on_late(self) -> None:
        """Judge what has come before the end and behind a message that a codec had, one message at a time.

        That of QoS 0, which nobody can send again; of the rest, which was not acknowledged, the client has all.
        """
        while self._behind and not self._with_codec:
            packet, size = self._behind.take()
            self._host.behind_bytes -= size
            if type(packet) is Publish and not packet.qos and len(packet.topic) <= _LONGEST_TOPIC:
                self._publish_late(packet)

    def _publish_late(self, publish: Publish) -> None:
        if self._host.draining or not self._host.admits(self):
            return
        self._with_codec = True  # or with the store
        self._in_flight += 1
        # As of the end: a newer connection may have said newer things meanwhile.
        message, allowed = self._read(publish, self._ended)
        answer = functools.partial(self._answer, 0, 0, None, allowed)
        self._host.intake.submit(message, functools.partial(self._answer_raw, answer))

    def _take_next(self, behind: Behind) -> None:
        """Take the first of the packets that have waited; the others have a turn of their own, each."""
        packet, size = behind.take()
        self._host.behind_bytes -= size
        try:
            self._take(packet)
        except MalformedPacketError as error:
            self._connection.close("protocol", str(error))
        asyncio.get_running_loop().call_soon(self._go_on)
