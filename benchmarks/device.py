"""One device of a fleet: a connection that reports, and checks every answer."""

from __future__ import annotations

import asyncio
import json
import time
from typing import NamedTuple, Protocol, cast

from benchmarks.packets import CONNACK, DISCONNECT, PUBACK, PUBLISH, SUBACK, encode_subscribe, read_packet
from benchmarks.reports import PACKET_IDS, Stream

__all__ = ["Device", "DeviceError", "Observer"]

_PUBACK = b"\x40\x02"
_PUBACK_BYTE = 0x40


class DeviceError(Exception):
    """A device cannot connect, or not subscribe."""


class Observer(Protocol):
    """What devices tell their fleet.

    Attributes:
        sending: whether each answer is followed by the next request.
        since: the time from which a request must have been sent for its latency to count.
    """

    sending: bool
    since: float

    def answered(self, latencies: list[float]) -> None:
        """Requests were answered with 200 or another code, after so many seconds each."""
        ...

    def refused(self, code: object) -> None:
        """One of them had another code than 200."""
        ...

    def fault(self, sentence: str) -> None:
        """Something came that was not asked for, or the connection has ended."""
        ...

    def settled(self, device: Device) -> None:
        """Everything that a device asked has been answered; told while nothing is sent."""
        ...


class _Shape(NamedTuple):
    """What all good replies to one device have in common; the offsets are those in a packet.

    `packet_id` is where their packet id stands, 0 for QoS 0.
    """

    head: bytes
    packet_id: int
    id_start: int
    id_end: int
    rest: bytes
    size: int


_NO_SHAPE = _Shape(b"\xff", 0, 0, 0, b"", 0)


class Device(asyncio.Protocol):
    """CONNECT, SUBSCRIBE to the replies, then requests; may be connected again after the connection has ended.

    It must cost little, or it is what is measured. So no JSON is parsed: the first reply is read with care, and
    those after it must be the same but for the id, which must be the one that is due. Everything that looks
    different is read with care again, and either is right or is a fault.

    Args:
        name: for sentences.
        connect: the CONNECT packet.
        reply_qos: the QoS of the subscription.
    """

    __slots__ = (
        "_closing", "_connect", "_observer", "_reply_qos", "_reply_topic", "_rest", "_shape", "_stream",
        "_times", "_transport", "acknowledged", "first", "gone", "name", "ready", "replied",
    )  # fmt: skip

    def __init__(self, name: str, connect: bytes, stream: Stream, observer: Observer, *, reply_qos: int = 1) -> None:
        self.name = name
        self.first = self.replied = self.acknowledged = stream.number
        """The number of the first message ever, of the one whose reply is due, and of the one whose PUBACK is."""
        self.ready: asyncio.Future[None]
        self.gone = asyncio.Event()
        """Set while there is no connection."""
        self.gone.set()
        self._connect = connect
        self._stream = stream
        self._observer = observer
        self._reply_qos = reply_qos
        self._reply_topic = stream.topic + b"_reply"
        self._rest = b""
        self._shape = _NO_SHAPE
        self._times: list[float] = []
        self._transport: asyncio.Transport | None = None
        self._closing = False

    @property
    def open(self) -> int:
        """How many requests wait for their reply or PUBACK."""
        return self._stream.number - min(self.replied, self.acknowledged)

    @property
    def connected(self) -> bool:
        """Whether there is a connection on which requests may be sent."""
        return self._transport is not None and self.ready.done() and not self._closing

    def send(self, times: list[float]) -> None:
        """Send requests in one write; `times` is when each is or should have been sent."""
        assert self._transport is not None
        self._times += times
        self._transport.write(self._stream.packets(len(times)))

    def close(self) -> None:
        """End the connection in order."""
        self._closing = True
        if self._transport is not None:
            self._transport.write(DISCONNECT)
            self._transport.close()

    def drop(self) -> None:
        """Cut the connection, as a device without power does; what was not acknowledged will be sent again."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = made = cast(asyncio.Transport, transport)
        self._closing = False
        self.gone.clear()
        self._rest = b""
        self._times.clear()
        self._stream.number = self.replied = self.acknowledged
        made.write(self._connect)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.gone.set()
        why = f"{self.name}: the connection was closed ({error or 'by the hub'})"
        if not self.ready.done():
            self.ready.set_exception(DeviceError(why))
        elif not self._closing:
            self._observer.fault(why)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if self._rest:
            data = self._rest + data
        head, packet_id, id_start, id_end, rest, size = self._shape
        at, end = 0, len(data)
        ids: list[bytes] = []
        replies: list[bytes] = []
        acknowledged: list[bytes] = []
        while at + 4 <= end:
            if data[at] == _PUBACK_BYTE:
                acknowledged.append(data[at + 2 : at + 4])
                at += 4
            elif data.startswith(head, at) and data.startswith(rest, at + id_end):
                ids.append(data[at + id_start : at + id_end])
                if packet_id:
                    replies.append(data[at + packet_id : at + packet_id + 2])
                at += size
            else:
                break
        if not self._are_due(ids, acknowledged):
            self._read(data, now)
            return
        self._take(len(ids), len(acknowledged), replies, now)
        if at < end:
            self._read(data[at:], now)
        else:
            self._rest = b""

    def _are_due(self, ids: list[bytes], acknowledged: list[bytes]) -> bool:
        """Whether these are the next replies and PUBACKs, in order."""
        first = self.acknowledged % len(PACKET_IDS)
        due = PACKET_IDS[first : first + len(acknowledged)]
        if len(due) < len(acknowledged):
            due += PACKET_IDS[: len(acknowledged) - len(due)]
        if acknowledged != due:
            return False
        return ids == [b"%d" % number for number in range(self.replied, self.replied + len(ids))]

    def _take(self, answered: int, acknowledged: int, replies: list[bytes], now: float) -> None:
        """Note replies and PUBACKs, acknowledge the replies that have these packet ids, and send what comes next."""
        self.acknowledged += acknowledged
        observer = self._observer
        # Each packet id with the head of a PUBACK before it.
        out = _PUBACK.join((b"", *replies)) if replies else b""
        if answered:
            self.replied += answered
            times, since = self._times, observer.since
            observer.answered([now - sent for sent in times[:answered] if sent >= since])
            del times[:answered]
            if observer.sending:
                out += self._stream.packets(answered)
                times += [now] * answered
        if out and self._transport is not None:
            self._transport.write(out)
        if not (observer.sending or self.open):
            observer.settled(self)

    # Reading with care.

    def _read(self, data: bytes, now: float) -> None:
        """Read packets one by one; what is not all there waits for the rest."""
        at = 0
        while (found := read_packet(data, at)) is not None:
            first, start, end = found
            kind = first >> 4
            if kind == PUBLISH:
                self._read_reply(data[at:end], start - at, now)
            elif kind == PUBACK:
                due = PACKET_IDS[self.acknowledged % len(PACKET_IDS)]
                if data[start:end] == due and self.acknowledged < self._stream.number:
                    self._take(0, 1, [], now)
                else:
                    self._observer.fault(f"{self.name}: PUBACK of {data[start:end]!r} where {due!r} is due")
            else:
                self._join(kind, data[start:end])
            at = end
        self._rest = data[at:]

    def _join(self, kind: int, body: bytes) -> None:
        """What comes before reports: CONNACK and SUBACK."""
        assert self._transport is not None
        if self.ready.done():
            self._observer.fault(f"{self.name}: a packet of type {kind}, which nothing asked for")
        elif kind == CONNACK and body[1] == 0:
            self._transport.write(encode_subscribe(1, self._reply_topic, self._reply_qos))
        elif kind == CONNACK:
            self.ready.set_exception(DeviceError(f"{self.name} is refused with CONNACK {body[1]}"))
        elif kind == SUBACK and body[2] <= 1:
            self.ready.set_result(None)
        else:
            self.ready.set_exception(DeviceError(f"{self.name} may not subscribe: packet type {kind}, {body!r}"))

    def _read_reply(self, packet: bytes, start: int, now: float) -> None:
        """One reply; if it is good, those like it are recognised from now on."""
        topic_end = start + 2 + int.from_bytes(packet[start : start + 2])
        qos = packet[0] >> 1 & 3
        payload_start = topic_end + (2 if qos else 0)
        payload, due = packet[payload_start:], str(self.replied)
        try:
            reply = json.loads(payload)
            reply_id, code = reply["id"], reply["code"]
        except (ValueError, KeyError, TypeError):
            reply_id = code = None
        if (
            packet[start + 2 : topic_end] != self._reply_topic
            or reply_id != due
            or qos > self._reply_qos
            or self.replied >= self._stream.number
        ):
            self._observer.fault(f"{self.name}: {packet[start + 2 : 1000]!r} where the reply to {due} is due")
            return
        if code != 200:
            self._observer.refused(code)
        elif payload.count(due.encode()) == 1:
            id_start = payload_start + payload.index(due.encode())
            id_end = id_start + len(due)
            # With QoS 0 nothing but the id differs; else the packet id does, and the text between the two is
            # fixed by all the rest being where it is.
            head = packet[:topic_end] if qos else packet[:id_start]
            packet_id = topic_end if qos else 0
            self._shape = _Shape(head, packet_id, id_start, id_end, packet[id_end:], len(packet))
        self._take(1, 0, [packet[topic_end:payload_start]] if qos else [], now)
