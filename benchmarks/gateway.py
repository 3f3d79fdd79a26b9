"""A gateway of the simulated plant: one connection, requests for itself and its sub-devices, replies by their id."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.packets import (
    CONNACK,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    device_connect,
    encode_packet,
    encode_text,
    read_packet,
)
from enos_ingest.protocol.credentials import sign
from enos_ingest.protocol.identity import DeviceId

__all__ = ["Gateway", "GatewayError"]

_PATIENCE = 30.0
"""Seconds that an answer may take."""
_PIECE = 65_536
_PACKET_IDS = 10_000


class GatewayError(Exception):
    """A gateway was refused, or is not answered."""


class Gateway:
    """It subscribes to nothing, as the SDKs do after a cut: replies come all the same.

    Args:
        secret: its own.

    Attributes:
        gone: set once the connection has ended.
    """

    def __init__(self, device: DeviceId, secret: str) -> None:
        self.device = device
        self.gone = asyncio.Event()
        self._secret = secret
        self._ids = itertools.count(1)
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._acknowledged: dict[int, asyncio.Future[None]] = {}
        self._connected: asyncio.Future[int]
        self._writer: asyncio.StreamWriter
        self._reading: asyncio.Task[None]

    async def connect(self, host: str, port: int) -> None:
        """Connect.

        Raises:
            GatewayError: it was refused, or not answered.
        """
        self._connected = asyncio.get_running_loop().create_future()
        reader, self._writer = await asyncio.open_connection(host, port)
        self._reading = asyncio.create_task(self._read(reader), name=f"read for {self.device}")
        self._writer.write(device_connect(self.device, self._secret))
        code = await self._awaited(self._connected, "CONNACK")
        if code:
            raise GatewayError(f"{self.device} is refused with CONNACK {code}")

    async def login(self, secrets: Mapping[DeviceId, str]) -> dict[str, Any]:
        """Log sub-devices in by the batch; returns the reply."""
        stamp = "1795221824968"
        entries = []
        for device, secret in secrets.items():
            content = f"clientIdbatchdeviceKey{device.device_key}productKey{device.product_key}timestamp{stamp}"
            entries.append({**_keys(device), "sign": sign(secret, content)})
        params = {"clientId": "batch", "timestamp": stamp, "signMethod": "sha256", "subDevices": entries}
        return await self.ask(f"/ext/session/{self.device}/combine/login/batch", "combine.login.batch", params)

    async def logout(self, device: DeviceId) -> dict[str, Any]:
        """Log a sub-device out; returns the reply."""
        return await self.ask(f"/ext/session/{self.device}/combine/logout", "combine.logout", _keys(device))

    async def report(
        self, how: str, points: Iterable[tuple[DeviceId | None, Mapping[str, Any], int]], **flags: bool
    ) -> int:
        """Send one batch of items, each a device (None for itself), its points and their time; returns the code.

        Args:
            how: `post` or `resume`.
        """
        items = [
            {**(_keys(device) if device else {}), "measurepoints": values, "time": time}
            for device, values, time in points
        ]
        topic, method = f"/sys/{self.device}/thing/measurepoint/{how}/batch", f"thing.measurepoint.{how}.batch"
        return int((await self.ask(topic, method, items, **flags))["code"])

    async def report_one(self, device: DeviceId, values: Mapping[str, Any], time: int) -> int:
        """Send points of one device as they are now, on its own topic; returns the code."""
        params = {"measurepoints": values, "time": time}
        reply = await self.ask(f"/sys/{device}/thing/measurepoint/post", "thing.measurepoint.post", params)
        return int(reply["code"])

    async def ask(self, topic: str, method: str, params: Any, **fields: Any) -> dict[str, Any]:
        """Publish a request with QoS 1; returns the reply once PUBACK is there as well.

        Raises:
            GatewayError: the connection ends before that, or nothing comes.
        """
        number = next(self._ids)
        identifier, packet_id = str(number), number % _PACKET_IDS + 1
        loop = asyncio.get_running_loop()
        reply = self._replies[identifier] = loop.create_future()
        acknowledged = self._acknowledged[packet_id] = loop.create_future()
        payload = json.dumps({"id": identifier, "version": "1.0", "method": method, "params": params, **fields})
        self._writer.write(encode_packet(0x32, encode_text(topic.encode()) + packet_id.to_bytes(2) + payload.encode()))
        try:
            found: dict[str, Any] = await self._awaited(reply, f"a reply to {method}")
            await self._awaited(acknowledged, f"PUBACK for {method}")
        finally:
            del self._replies[identifier], self._acknowledged[packet_id]
        return found

    async def drop(self) -> None:
        """Cut the connection, as a gateway without power does."""
        self._writer.transport.abort()
        await self._end()

    async def close(self) -> None:
        """End the connection in order, where the hub has not ended it."""
        if not self.gone.is_set():
            self._writer.write(DISCONNECT)
        self._writer.close()
        await self._end()

    async def _end(self) -> None:
        await self._reading
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _awaited(self, future: asyncio.Future[Any], what: str) -> Any:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await future
        except TimeoutError:
            raise GatewayError(f"{self.device}: no {what} within {_PATIENCE:g} s") from None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Take what comes, until the connection ends; who waits for something then waits in vain."""
        data = b""
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                data, at = data + piece, 0
                while (packet := read_packet(data, at)) is not None:
                    first, start, end = packet
                    self._take(first, data[start:end])
                    at = end
                data = data[at:]
        self.gone.set()
        waiting: list[asyncio.Future[Any]] = [*self._replies.values(), *self._acknowledged.values()]
        for future in (self._connected, *waiting):
            if not future.done():
                future.set_exception(GatewayError(f"{self.device}: the connection has ended"))
                future.exception()  # seen: nobody may be waiting for this one any more

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == CONNACK:
            self._connected.set_result(body[1])
        elif kind == PUBACK:
            self._acknowledged[int.from_bytes(body)].set_result(None)
        elif kind == PUBLISH:
            at = 2 + int.from_bytes(body[:2])
            if first & 0x06:
                self._writer.write(encode_packet(0x40, body[at : at + 2]))
                at += 2
            reply = json.loads(body[at:])
            self._replies[reply["id"]].set_result(reply)


def _keys(device: DeviceId) -> dict[str, str]:
    return {"productKey": device.product_key, "deviceKey": device.device_key}
