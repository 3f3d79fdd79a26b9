"""A fleet of devices that reports as fast as it is answered: raw MQTT on one event loop.

The generator must cost little, or it is what is measured: one `asyncio.Protocol` a device, packets made by hand,
no JSON parsed. Each device keeps `window` requests open and sends the next when one is answered.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.reports import Reports
from enos_ingest.endpoint.packets import Connect, PacketType, encode_ack, encode_connect
from enos_ingest.protocol.credentials import make_credentials
from enos_ingest.protocol.identity import DeviceId

__all__ = ["Fleet", "FleetError", "Result"]

_PACKET_IDS = 60_000
_CONNECTING = 50
"""Connections that are being made at the same time: each is a signature to check, not what is measured."""
_ANSWER_SECONDS = 30.0
"""How long what is open at the end may take."""

_CODE = b'"code":'
_ID = b'"id":"'


class FleetError(Exception):
    """The fleet cannot report: refused, or nobody is there."""


@dataclass
class Result:
    """What was seen between warm-up and end; latencies in seconds."""

    seconds: float = 0.0
    replies: int = 0
    errors: int = 0
    generator_seconds: float = 0.0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    codes: Counter[bytes] = field(default_factory=Counter)


class Fleet:
    """All devices of a run.

    Args:
        devices: who connects, with their secrets.
        window: how many requests each keeps open.
        reports: makes their messages.
    """

    def __init__(self, devices: Sequence[tuple[DeviceId, str]], window: int, reports: Reports) -> None:
        self._accounts = devices
        self._window = window
        self._reports = reports
        self._devices: list[_Device] = []
        self.result = Result()
        self.measuring = False
        self.sending = False
        self.lost = 0

    async def connect(self, host: str, port: int) -> None:
        """Connect all devices and subscribe each to its replies.

        Raises:
            FleetError: one was refused, or does not get an answer.
        """
        loop = asyncio.get_running_loop()
        gate = asyncio.Semaphore(_CONNECTING)

        async def join(device: DeviceId, secret: str) -> None:
            async with gate:
                made = _Device(self, device, secret, self._window, self._reports)
                try:
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await loop.create_connection(lambda: made, host, port)
                        await made.ready
                except (OSError, TimeoutError) as error:
                    raise FleetError(f"{device} cannot connect to {host}:{port}: {str(error) or 'no answer'}") from None
                self._devices.append(made)

        try:
            async with asyncio.TaskGroup() as group:
                for device, secret in self._accounts:
                    group.create_task(join(device, secret))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def run(self, warmup: float, seconds: float) -> Result:
        """Report for some time; returns what was seen after the warm-up."""
        self.sending = True
        for device in self._devices:
            device.fill()
        await asyncio.sleep(warmup)
        self.measuring = True
        started, used = time.perf_counter(), time.process_time()
        await asyncio.sleep(seconds)
        self.measuring = self.sending = False
        self.result.seconds = time.perf_counter() - started
        self.result.generator_seconds = time.process_time() - used
        deadline = time.monotonic() + _ANSWER_SECONDS
        while any(device.open for device in self._devices) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        # What was never answered, and every connection that the other side ended.
        self.result.errors = sum(len(device.open) for device in self._devices) + self.lost
        return self.result

    def close(self) -> None:
        """End all connections."""
        for device in self._devices:
            device.close()


class _Device(asyncio.Protocol):
    """One connection: CONNECT, SUBSCRIBE, then `window` requests at a time."""

    def __init__(self, fleet: Fleet, device: DeviceId, secret: str, window: int, reports: Reports) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open: dict[bytes, float] = {}
        self._fleet = fleet
        self._device = device
        self._secret = secret
        self._window = window
        self._reports = reports
        self._messages = reports.messages(device)
        self._topic = _text(reports.topic(device).encode())
        self._rest = b""
        self._packet_id = 0
        self._transport: asyncio.Transport
        self._closing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        made = make_credentials(self._device, self._secret, time.time_ns() // 1_000_000)
        self._transport.write(
            encode_connect(
                Connect(
                    client_id=made.client_id,
                    clean_session=True,
                    keep_alive=0,
                    user_name=made.user_name,
                    password=made.password.encode(),
                    will_topic=None,
                    will_message=b"",
                    will_qos=0,
                    will_retain=False,
                )
            )
        )

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closing:
            self._fleet.lost += 1
        if not self.ready.done():
            self.ready.set_exception(FleetError(f"{self._device}: the connection was closed ({error or 'by the hub'})"))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        position, end = 0, len(data)
        while True:
            header = _header(data, position, end)
            if header is None:
                break
            start, length = header
            if start + length > end:
                break
            self._take(data[position], data[start : start + length])
            position = start + length
        self._rest = data[position:]

    def fill(self) -> None:
        """Open as many requests as the window allows."""
        for _ in range(self._window - len(self.open)):
            self._send()

    def close(self) -> None:
        """End the connection in order."""
        self._closing = True
        self._transport.write(bytes((PacketType.DISCONNECT << 4, 0)))
        self._transport.close()

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == PacketType.PUBLISH:
            self._answered(first, body)
        elif kind == PacketType.CONNACK:
            if body[1]:
                self.ready.set_exception(FleetError(f"{self._device} is refused with CONNACK {body[1]}"))
                return
            topic = self._reports.topic(self._device).encode() + b"_reply"
            self._write(PacketType.SUBSCRIBE << 4 | 2, b"\x00\x01" + _text(topic) + b"\x00")
        elif kind == PacketType.SUBACK:
            if body[2] & 0x80:
                self.ready.set_exception(FleetError(f"{self._device} may not subscribe to its replies"))
            else:
                self.ready.set_result(None)

    def _answered(self, first: int, body: bytes) -> None:
        """Note one reply and send the next request."""
        fleet = self._fleet
        start = 2 + (body[0] << 8 | body[1])
        if first & 6:
            self._transport.write(encode_ack(PacketType.PUBACK, body[start] << 8 | body[start + 1]))
            start += 2
        at = body.index(_ID, start) + len(_ID)
        sent = self.open.pop(body[at : body.index(b'"', at)], None)
        if sent is None:
            return
        if fleet.measuring:
            at = body.index(_CODE, start) + len(_CODE)
            result = fleet.result
            result.codes[body[at : at + 4].rstrip(b",}")] += 1
            result.replies += 1
            result.latencies.append(time.perf_counter() - sent)
        if fleet.sending:
            self._send()

    def _send(self) -> None:
        name, payload = next(self._messages)
        self._packet_id = self._packet_id % _PACKET_IDS + 1
        self.open[name] = time.perf_counter()
        self._write(PacketType.PUBLISH << 4 | 2, self._topic + self._packet_id.to_bytes(2) + payload)

    def _write(self, first: int, body: bytes) -> None:
        length, header = len(body), bytearray((first,))
        while True:
            length, byte = length >> 7, length & 0x7F
            header.append(byte | 0x80 if length else byte)
            if not length:
                break
        self._transport.write(bytes(header) + body)


def _header(data: bytes, position: int, end: int) -> tuple[int, int] | None:
    """Where a packet's body starts and its length; None where the header is not all there."""
    length = 0
    for index in range(position + 1, min(position + 5, end)):
        byte = data[index]
        length |= (byte & 0x7F) << (7 * (index - position - 1))
        if not byte & 0x80:
            return index + 1, length
    return None


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2) + text
