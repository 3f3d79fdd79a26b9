"""Devices and gateways that send without waiting for answers, and what they were promised."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import orjson

from enos_ingest.endpoint.packets import PacketType, decode_length, encode_ack, encode_publish
from enos_ingest.outcome import Point
from enos_ingest.storage.reader import SqliteReader
from tests.endpoint.raw import connect_packet
from tests.faults.load import PRODUCT, SECRET
from tests.process import PATIENCE, HubProcess, sign_in

__all__ = ["GATEWAYS", "SENDERS", "STREAMERS", "Stream", "Streams", "kept", "streaming"]

GATEWAYS = {"gw-1": ("sub-1", "sub-2"), "gw-2": ("sub-3", "sub-4")}
SENDERS = ("fast-1", "fast-2", *GATEWAYS)

STREAMERS = "".join(
    [
        *(
            f'[[devices]]\nproduct = "{PRODUCT}"\nkey = "{key}"\nsecret = "{SECRET}"\n'
            for key in (*SENDERS, *(sub for subs in GATEWAYS.values() for sub in subs))
        ),
        *(
            f'[[gateways]]\ndevice = "{PRODUCT}/{gateway}"\nsub_devices = '
            + str([f"{PRODUCT}/{sub}" for sub in subs])
            + "\n"
            for gateway, subs in GATEWAYS.items()
        ),
    ]
)
"""What is declared in a registry file besides the product."""

_TIME = 1_800_000_000_000
_ITEMS = 100
"""Entries of a gateway's batch, each of two points: a few hundred batches, and the store begins to fold."""
_BUNDLE = 40
"""Messages of a device that leave together; those of a gateway are long, and go one by one."""
_WINDOW = 400
"""Messages of a device on their way: more than one commit takes, fewer than may be without PUBREL."""
_GATEWAY_WINDOW = 40


def _points(key: str, number: int) -> list[Point]:
    """What is stored of one message: two points of each entry, so that half a message would show."""
    return [
        Point(PRODUCT, device, name, time, value, quality, "resume")
        for device, time in _entries(key, number)
        for name, value, quality in (("temp", number, None), ("Power", number, number % 10))
    ]


def _entries(key: str, number: int) -> list[tuple[str, int]]:
    """The devices and times that a message reports of."""
    if key not in GATEWAYS:
        return [(key, _TIME + number)]
    subs = GATEWAYS[key]
    return [(subs[index % len(subs)], _TIME + number * _ITEMS + index) for index in range(_ITEMS)]


def _request(key: str, number: int) -> bytes:
    items = [
        {
            "productKey": PRODUCT,
            "deviceKey": device,
            "measurepoints": {"temp": number, "Power": {"value": number, "quality": number % 10}},
            "time": time,
        }
        for device, time in _entries(key, number)
    ]
    batch = key in GATEWAYS
    method = "thing.measurepoint.resume.batch" if batch else "thing.measurepoint.resume"
    document = {"id": str(number), "version": "1.0", "method": method, "params": items if batch else items[0]}
    return orjson.dumps({**document, "allowOfflineSubDevice": True} if batch else document)


class Stream:
    """One device or gateway: its messages alternate between QoS 1 and QoS 2, and wait for nothing but a wide window.

    They are numbered from `first` on. Answers must come in the same order, the reply of each before its
    acknowledgement; so counts say which were promised.

    Attributes:
        sent: how many messages may have left.
        answered: how many had a reply with code 200.
        acknowledged: how many had their PUBACK or PUBREC.
        faults: what the hub should not have sent.
    """

    def __init__(self, hub: HubProcess, key: str, first: int, news: threading.Condition) -> None:
        self.key = key
        self.first = first
        self.sent = self.answered = self.acknowledged = 0
        self.faults: list[str] = []
        self.ended = False
        """Whether the connection has ended."""
        self._news = news
        self._topic = f"/sys/{PRODUCT}/{key}/thing/measurepoint/resume{'/batch' if key in GATEWAYS else ''}"
        self._bundle, self._window = (1, _GATEWAY_WINDOW) if key in GATEWAYS else (_BUNDLE, _WINDOW)
        self._out = connect_packet(sign_in(f"{PRODUCT}/{key}", SECRET))
        self._in = bytearray()
        self._connected = False
        self._socket = socket.create_connection(hub.endpoint, PATIENCE)
        self._thread = threading.Thread(target=self._run, name=f"stream of {key}")
        self._thread.start()

    @property
    def promised(self) -> range:
        """The numbers of the messages that the hub must have kept."""
        return range(self.first, self.first + max(self.answered, self.acknowledged))

    def close(self) -> None:
        """End the connection without another word."""
        with contextlib.suppress(OSError):  # it may have ended
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._socket.close()

    def _run(self) -> None:
        try:
            while True:
                if not self._out and self._connected and self.sent - self.acknowledged < self._window:
                    self._out = b"".join(self._next() for _ in range(self._bundle))
                waits = [self._socket] if self._out else []
                readable, writable, _ = select.select([self._socket], waits, [], PATIENCE)
                if readable and not self._receive():
                    return
                if writable:
                    self._out = self._out[self._socket.send(self._out) :]
        except ConnectionError:
            return
        finally:
            with self._news:
                self.ended = True
                self._news.notify_all()

    def _next(self) -> bytes:
        number = self.first + self.sent
        self.sent += 1
        return encode_publish(self._topic, _request(self.key, number), qos=1 + number % 2, packet_id=_packet_id(number))

    def _receive(self) -> bool:
        """Take what has come; False at the end of the connection."""
        data = self._socket.recv(65536)
        self._in += data
        with self._news:
            for first_byte, body in _packets(self._in):
                self._take(first_byte, body)
            self._news.notify_all()
        return bool(data)

    def _take(self, first_byte: int, body: bytes) -> None:
        match PacketType(first_byte >> 4):
            case PacketType.CONNACK:
                self._connected = body[1] == 0
                self._expect(self._connected, f"CONNACK {body[1]}")
            case PacketType.PUBLISH:
                self._replied(first_byte, body)
            case PacketType.PUBACK | PacketType.PUBREC as kind:
                number = self.first + self.acknowledged
                self.acknowledged += 1
                wanted = PacketType.PUBREC if number % 2 else PacketType.PUBACK
                packet_id = int.from_bytes(body)
                self._expect(
                    (kind, packet_id) == (wanted, _packet_id(number)) and self.acknowledged == self.answered,
                    f"{kind.name} {packet_id} where {number} was due, after {self.answered} replies",
                )
                if kind is PacketType.PUBREC:
                    self._out += encode_ack(PacketType.PUBREL, packet_id)

    def _replied(self, first_byte: int, body: bytes) -> None:
        start = 2 + int.from_bytes(body[:2]) + (2 if first_byte & 6 else 0)
        number = self.first + self.answered
        self.answered += 1
        self._expect(body[start:] == b'{"id":"%d","code":200,"data":{}}' % number, f"{body[start:]!r} to {number}")

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.faults.append(otherwise)


def _packet_id(number: int) -> int:
    return 1 + number % 65_535


def _packets(received: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the whole packets from the beginning of what was received."""
    while (length := decode_length(received[1:5])) is not None:
        start = 2 + (length > 127) + (length > 16_383)
        if len(received) < start + length:
            return
        yield received[0], bytes(received[start : start + length])
        del received[: start + length]


class Streams:
    """All senders at once."""

    def __init__(self, news: threading.Condition, streams: list[Stream]) -> None:
        self.streams = streams
        self._news = news

    @property
    def acknowledged(self) -> int:
        """How many messages had their PUBACK or PUBREC."""
        return sum(each.acknowledged for each in self.streams)

    @property
    def faults(self) -> list[str]:
        """What the hub should not have sent."""
        return [f"{each.key}: {fault}" for each in self.streams for fault in each.faults]

    def wait_until_acknowledged(self, count: int) -> None:
        """Wait until each sender has so many acknowledgements."""
        self._wait_until(lambda: all(each.acknowledged >= count for each in self.streams))

    def wait_until_ended(self) -> None:
        """Wait until all connections have ended."""
        self._wait_until(lambda: all(each.ended for each in self.streams))

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(condition, PATIENCE), [(each.key, each.acknowledged) for each in self.streams]


def kept(database: Path, stream: Stream) -> int:
    """How many messages of a stream are stored: of all that it sent the first so many, each of them whole."""
    if not stream.sent:
        return 0
    sent = [_points(stream.key, number) for number in range(stream.first, stream.first + stream.sent)]
    start, end = sent[0][0].time, sent[-1][-1].time
    with SqliteReader(database) as reader:
        keys = GATEWAYS.get(stream.key, (stream.key,))
        found = {point for key in keys for point in reader.points(PRODUCT, key, start=start, end=end)}
    count = len(found) // len(sent[0])
    assert found == set(itertools.chain.from_iterable(sent[:count])), stream.key
    return count


@contextlib.contextmanager
def streaming(hub: HubProcess, first: Mapping[str, int]) -> Iterator[Streams]:
    """Devices and gateways stream until the block ends.

    Args:
        first: the number of each sender's first message.
    """
    news = threading.Condition(threading.RLock())
    streams = Streams(news, [])
    try:
        for key, number in first.items():
            streams.streams.append(Stream(hub, key, number, news))
        yield streams
    finally:
        for each in streams.streams:
            each.close()
