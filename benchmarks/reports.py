"""The messages of a workload: resume, or resume/batch, of points of the sample model `inverter`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.packets import encode_packet, encode_text
from enos_ingest.protocol.identity import DeviceId

__all__ = ["MODEL", "PACKET_IDS", "POINTS", "Reports", "Stream"]

MODEL = "inverter"

POINTS: dict[str, Any] = {
    "INV.GenActivePW": 182.5,
    "INV.GenReactivePW": -12.25,
    "INV.TempEquipment": 41.5,
    "INV.APProduction": {"value": 18250.5, "quality": 0},
    "INV.GenFreq": 50.01,
    "INV.State": 1,
    "INV.FaultCode": 0,
    "INV.GridConnected": True,
    "INV.SN": "SN-2024-00017",
    "INV.FirmwareDate": "2024-11-05",
    "Power": {"value": 1.0, "quality": 9},
    "temp": 21.5,
    "branchCurr": ["1.02", "2.02", "7.93"],
}
"""A value for every point of the model; a workload of N points takes the first N."""

_ROUND = 10_000
"""Messages after which packet ids start again; more than any device has open."""

PACKET_IDS = [(number + 1).to_bytes(2) for number in range(_ROUND)]
"""The packet id of each message, by its number modulo the length of this list."""

_LAST_DIGITS = [b"%04d" % number for number in range(_ROUND)]


@dataclass(frozen=True)
class Reports:
    """What each device sends.

    Args:
        points: measurement points of one item.
        batch: items of one message, each a second after the one before; 0 for resume, which has no items.
        start: the time of the first point in epoch seconds; by default now.
    """

    points: int
    batch: int
    start: int = field(default_factory=lambda: int(time.time()))

    @property
    def method(self) -> str:
        """The method of each message."""
        return "thing.measurepoint.resume.batch" if self.batch else "thing.measurepoint.resume"

    @property
    def points_a_message(self) -> int:
        """How many points one message stores."""
        return self.points * self.seconds_a_message

    @property
    def seconds_a_message(self) -> int:
        """How many seconds lie between the first points of two messages."""
        return self.batch or 1

    def topic(self, device: DeviceId) -> str:
        """Where a device sends them."""
        return f"/sys/{device.product_key}/{device.device_key}/{self.method.replace('.', '/')}"

    def stream(self, device: DeviceId) -> Stream:
        """All messages of a device."""
        points = json.dumps(dict(list(POINTS.items())[: self.points]), separators=(",", ":"))
        item = f'{{"time":%d000,"measurepoints":{points}}}'
        items = f"[{','.join([item] * self.batch)}]" if self.batch else item
        payload = f'{{"id":"%d","version":"1.0","method":"{self.method}","params":{items}}}'.encode()
        topic = self.topic(device).encode()
        first = self.start // self.seconds_a_message
        return Stream(topic, payload, first, self.batch) if self.batch else _Resumes(topic, payload, first)


class Stream:
    """The PUBLISH packets of one device, QoS 1, in order and without end.

    Message N has the id N, the packet id `PACKET_IDS[N % 10000]`, and items whose times in seconds are
    N x items and those after it: every point is a new row, and a message is known by its number alone.

    Attributes:
        topic: where they are published.
        number: the number of the next message; set it back to send messages again.
    """

    def __init__(self, topic: bytes, payload: bytes, first: int, items: int) -> None:
        self.topic = topic
        self.number = first
        self._payload = payload
        self._items = items
        self._head = encode_text(topic)

    def packets(self, count: int) -> bytes:
        """The next packets, joined."""
        made = []
        for number in range(self.number, self.number + count):
            start = number * self._items
            payload = self._payload % (number, *range(start, start + self._items))
            made.append(encode_packet(0x32, self._head + PACKET_IDS[number % _ROUND] + payload))
        self.number += count
        return b"".join(made)


class _Resumes(Stream):
    """Messages of one item, joined from parts made beforehand: of 10 000 in a row only four digits differ."""

    def __init__(self, topic: bytes, payload: bytes, first: int) -> None:
        super().__init__(topic, payload, first, 1)
        self._round = -1
        self._parts = (b"", b"", b"", b"")

    def packets(self, count: int) -> bytes:
        """The next packets, joined."""
        made: list[bytes] = []
        while count:
            low = self.number % _ROUND
            if self.number // _ROUND != self._round:
                self._prepare()
            some = min(count, _ROUND - low)
            head, before_id, between, rest = self._parts
            for packet_id, digits in zip(PACKET_IDS[low : low + some], _LAST_DIGITS[low : low + some], strict=True):
                made += (head, packet_id, before_id, digits, between, digits, rest)
            self.number += some
            count -= some
        return b"".join(made)

    def _prepare(self) -> None:
        """Make the parts for the messages whose number starts as this one's does."""
        self._round = self.number // _ROUND
        before_id, between, rest = self._payload.split(b"%d")
        high = b"%d" % self._round
        size = len(self._payload) - 4 + 2 * (len(high) + 4)
        # The header of a packet with the same length of body, without that body.
        body = self._head + bytes(2 + size)
        packet = encode_packet(0x32, body)
        self._parts = (packet[: len(packet) - 2 - size], before_id + high, between + high, rest)
