"""A device that gets commands: a connection that hands each on, and answers when it is told to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from benchmarks.device import DeviceError
from benchmarks.packets import (
    CONNACK,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    encode_packet,
    encode_text,
    read_packet,
)

__all__ = ["CommandDevice", "Heard"]

_PUBACK = b"\x40\x02"
_PUBLISH_QOS_1 = 0x32
_PATIENCE = 60.0


class Heard(NamedTuple):
    """A command as a device got it; `at` is when, on the clock of `time.perf_counter`."""

    device: str
    id: str
    topic: bytes
    params: Any
    at: float


class CommandDevice(asyncio.Protocol):
    """Connects, subscribes to nothing, and acknowledges what comes.

    Args:
        name: `PRODUCT/DEVICE`, for sentences and in what was heard.
        connect: the CONNECT packet.
        hear: called with each command; `answer` may be called at once or at any time.
    """

    def __init__(self, name: str, connect: bytes, hear: Callable[[CommandDevice, Heard], None]) -> None:
        self.name = name
        self.acknowledged = 0
        """How many answers have had their PUBACK."""
        self.gone = asyncio.Event()
        """Set while there is no connection."""
        self.gone.set()
        self._connect = connect
        self._hear = hear
        self._ready: asyncio.Future[None]
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._packet_id = 0

    async def join(self, host: str, port: int) -> None:
        """Connect, for the first time or again.

        Raises:
            DeviceError: it was refused, or does not get an answer.
        """
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        try:
            async with asyncio.timeout(_PATIENCE):
                await loop.create_connection(lambda: self, host, port)
                await self._ready
        except (OSError, TimeoutError) as error:
            raise DeviceError(f"{self.name} cannot connect to {host}:{port}: {error or 'no answer'}") from None

    def answer(self, heard: Heard, data: dict[str, Any] | None = None, code: int = 200) -> None:
        """Answer a command with QoS 1; nothing happens where the connection has gone."""
        if self._transport is None:
            return
        self._packet_id = self._packet_id % 65_535 + 1
        payload = json.dumps({"id": heard.id, "code": code, "data": data or {}}).encode()
        topic = encode_text(heard.topic + b"_reply")
        self._transport.write(encode_packet(_PUBLISH_QOS_1, topic + self._packet_id.to_bytes(2) + payload))

    def close(self) -> None:
        """End the connection in order."""
        if self._transport is not None:
            self._transport.write(DISCONNECT)
            self._transport.close()

    def drop(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._connect)
        self._rest = b""
        self.gone.clear()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.gone.set()
        if not self._ready.done():
            why = f"{self.name}: the connection was closed ({error or 'by the hub'})"
            self._ready.set_exception(DeviceError(why))

    def data_received(self, data: bytes) -> None:
        data, at = self._rest + data, 0
        while (found := read_packet(data, at)) is not None:
            first, start, end = found
            self._take(first, data[start:end])
            at = end
        self._rest = data[at:]

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == PUBLISH:
            self._take_command(first, body)
        elif kind == PUBACK:
            self.acknowledged += 1
        elif kind == CONNACK and not self._ready.done():
            if body[1]:
                self._ready.set_exception(DeviceError(f"{self.name} is refused with CONNACK {body[1]}"))
            else:
                self._ready.set_result(None)

    def _take_command(self, first: int, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2])
        payload = end + (2 if first & 0x06 else 0)
        if first & 0x06 and self._transport is not None:
            self._transport.write(_PUBACK + body[end:payload])
        document = json.loads(body[payload:])
        self._hear(self, Heard(self.name, document["id"], body[2:end], document["params"], time.perf_counter()))
