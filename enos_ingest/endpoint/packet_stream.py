"""The packets of an operator, whole, from the stream that its connection has become."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from enos_ingest.endpoint.incoming import PATIENCE_SECONDS, SHORT_BYTES, SLOWEST_BYTES, Incoming
from enos_ingest.endpoint.packets import MalformedPacketError, decode_length

__all__ = ["ClosedByPeerError", "PacketStream"]


class ClosedByPeerError(Exception):
    """The connection ended between two packets."""


class PacketStream:
    """Reads packet after packet.

    Args:
        packet_bytes: the longest packet.
        silence: how many seconds may go by without a packet, or, while one is coming, without a byte of it; None for
            no bound. A long packet is given time by its length, too.
        incoming: where there must be room for a long packet; None for a client that always has room.
        waits: told of each wait for it.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        *,
        packet_bytes: int,
        silence: float | None,
        incoming: Incoming | None,
        waits: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._packet_bytes = packet_bytes
        self._silence = silence
        self._incoming = incoming
        self._waits = waits
        self._room = asyncio.Event()

    async def next(self) -> tuple[int, bytes, bytes]:
        """The next packet as its first byte, its fixed header and its body.

        Raises:
            ClosedByPeerError: the stream ends before the packet, or `close` was called.
            MalformedPacketError: the stream ends inside it, or it is longer than is allowed: it is not read then.
            TimeoutError: it does not come in time.
        """
        async with asyncio.timeout(self._silence) as patience:
            header, length = await self._header()
            if length <= SHORT_BYTES:
                if length > SLOWEST_BYTES and self._silence is not None:
                    now = asyncio.get_running_loop().time()
                    patience.reschedule(now + self._silence + length / SLOWEST_BYTES)
                return header[0], header, await self._read(length)
        await self._reserve(length)
        body = await self._read_slowly(length)
        self.forget()
        return header[0], header, body

    def close(self) -> None:
        """End the stream for who reads it."""
        # Not `feed_eof`: bytes that still come in would then be a fault in the eyes of asyncio.
        self._reader.set_exception(ClosedByPeerError())
        self._room.set()

    def forget(self) -> None:
        """Give back what room there was for a long packet."""
        if self._incoming is not None:
            self._incoming.forget(self)

    def go_on(self) -> None:
        """There is room for the long packet that has begun."""
        self._room.set()

    def holds_too_much(self, detail: str) -> None:
        """Never asked for, as what is held is not counted: it is within the room that was given."""
        raise AssertionError(detail)

    async def _header(self) -> tuple[bytes, int]:
        try:
            header = await self._reader.readexactly(1)
        except asyncio.IncompleteReadError:
            raise ClosedByPeerError from None
        length = None
        while length is None:
            header += await self._read(1)
            length = decode_length(header[1:])
        if length + len(header) > self._packet_bytes:
            raise MalformedPacketError(
                f"packet of {length + len(header)} bytes is over the limit of {self._packet_bytes}"
            )
        return header, length

    async def _read(self, length: int) -> bytes:
        try:
            return await self._reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise MalformedPacketError("connection ends inside a packet") from None

    async def _read_slowly(self, length: int) -> bytes:
        """So many bytes of a long packet; any of them is a sign of life."""
        body = bytearray()
        patience = self._silence or PATIENCE_SECONDS
        async with asyncio.timeout(patience + length / SLOWEST_BYTES):
            while len(body) < length:
                async with asyncio.timeout(patience):
                    piece = await self._reader.read(length - len(body))
                if not piece:
                    raise MalformedPacketError("connection ends inside a packet")
                body += piece
        return bytes(body)

    async def _reserve(self, size: int) -> None:
        """Wait until there is room for a long packet; the wait is not the client's silence."""
        self._room.clear()
        if self._incoming is not None and not self._incoming.reserve(self, size):
            self._waits()
            await self._room.wait()
