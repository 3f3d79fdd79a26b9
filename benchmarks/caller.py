"""Business software that calls the REST API: one connection, one call at a time."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

__all__ = ["Caller", "CallerError"]

_PATH = "/connect-service/v2.1/commands"
_PATIENCE = 90.0
"""Seconds that an answer may take; an instant command waits 60 at the most."""


class CallerError(Exception):
    """A call is not answered, or not as HTTP has it."""


class Caller:
    """A connection that is kept open between calls; a context manager that closes it.

    Args:
        address: HOST:PORT of the hub's HTTP listener.
        key: an application's API key.
    """

    def __init__(self, address: str, key: str) -> None:
        self._address = address
        self._key = key
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def set_measurepoint(self, device: str, measurepoint: str, value: Any, **query: str | int) -> dict[str, Any]:
        """Set a measurement point of `PRODUCT/DEVICE`; returns the envelope."""
        return await self.call("setMeasurepoint", device, {"value": value}, measurepointId=measurepoint, **query)

    async def invoke_service(self, device: str, service: str, inputs: Any, **query: str | int) -> dict[str, Any]:
        """Call a service; returns the envelope."""
        return await self.call("invokeService", device, {"inputData": inputs}, serviceId=service, **query)

    async def call(self, action: str, device: str, body: Mapping[str, Any], **query: str | int) -> dict[str, Any]:
        """Any call about a device; the connection is opened where there is none.

        Raises:
            CallerError: the connection cannot be made or ends, or what comes is no envelope.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.send(action, device, body, **query)
                return await self.receive()
        except (OSError, EOFError, ValueError, KeyError, TimeoutError, asyncio.LimitOverrunError) as error:
            self.close()
            raise CallerError(f"{action} of {device}: {error or type(error).__name__}") from None

    async def send(self, action: str, device: str, body: Mapping[str, Any], **query: str | int) -> None:
        """Send a call without waiting for its answer."""
        if self._writer is None:
            host, _, port = self._address.rpartition(":")
            self._reader, self._writer = await asyncio.open_connection(host, int(port))
            self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        product_key, _, device_key = device.partition("/")
        keys = {"productKey": product_key, "deviceKey": device_key}
        text = json.dumps(body).encode()
        head = (
            f"POST {_PATH}?{urlencode({'action': action, 'orgId': 'default', **keys, **query})} HTTP/1.1\r\n"
            f"Host: {self._address}\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        self._writer.write(head.encode() + text)

    async def receive(self) -> dict[str, Any]:
        """The answer to what was sent."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n"))
        }
        envelope: dict[str, Any] = json.loads(await self._reader.readexactly(int(fields["content-length"])))
        if fields.get("connection") == "close":
            self.close()
        return envelope

    def close(self) -> None:
        """End the connection, also while a call waits for its answer: the caller hangs up."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
