"""A client's end of a connection that never blocks: what the hub does not take waits here."""

from __future__ import annotations

import bisect
import contextlib
import select
import socket
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

from enos_ingest.endpoint.packets import decode_length
from tests.endpoint import inside
from tests.endpoint.raw import Packet, RawClient
from tests.endpoint.waiting import DEADLINE

if TYPE_CHECKING:
    from enos_ingest.testing.hub import Hub

__all__ = ["Wire"]


class Wire:
    """One TCP connection; packets are queued, then pushed in slices, and read as far as they are there.

    Args:
        buffer: bytes that the kernel keeps for this end, 0 for its default.
    """

    def __init__(self, hub: Hub, *, buffer: int = 0) -> None:
        self.is_closed = False
        """Whether the hub has closed the connection, and all that came before was read."""
        self._hub = hub
        self._socket = RawClient(hub, send_buffer=buffer, receive_buffer=buffer).socket
        self._socket.setblocking(False)
        self._out = bytearray()
        self._queued = 0
        self._pushed = 0
        self._ends: list[int] = []
        self._in = bytearray()

    def queue(self, packet: bytes) -> None:
        """Put a packet behind those that wait to be pushed."""
        self._out += packet
        self._queued += len(packet)
        self._ends.append(self._queued)

    @property
    def delivered(self) -> int:
        """How many packets the kernel has taken whole."""
        return bisect.bisect_right(self._ends, self._pushed)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be pushed."""
        return not self._out

    def push(self, slices: Iterable[int] = (), keep: int = 0) -> None:
        """Hand bytes to the kernel, as far as it takes them.

        Args:
            slices: sizes of the first pieces, which the hub reads one by one.
            keep: so many bytes at the end stay here.
        """
        for size in slices:
            if len(self._out) - size > keep:
                self._write(size)
                # The hub's loop has gone round: it has read the slice by itself.
                inside.run_inside(self._hub, lambda: None)
        self._write(len(self._out) - keep)

    def packets(self) -> list[Packet]:
        """What has come and not been returned before."""
        with contextlib.suppress(BlockingIOError):
            while not self.is_closed:
                self._in += (data := self._read())
                self.is_closed = not data
        found = []
        while (packet := self._take()) is not None:
            found.append(packet)
        return found

    def wait(self) -> None:
        """Wait until there is something to read, or to push; TimeoutError if nothing ever happens."""
        ready = select.select([self._socket], [self._socket] if self._out else [], [], DEADLINE)
        if not any(ready):
            raise TimeoutError("the hub says nothing, and takes nothing")
        if ready[1]:
            self.push()

    def finish(self) -> None:
        """Send nothing more, once all that waits has been pushed, and read on."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        """Close; with a reset whatever is on its way is lost."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _write(self, size: int) -> None:
        try:
            while size > 0:
                written = self._socket.send(self._out[:size])
                del self._out[:written]
                self._pushed += written
                size -= written
        except BlockingIOError:
            pass
        except ConnectionError:
            # Closed by the hub, which reading will show.
            self._out.clear()

    def _read(self) -> bytes:
        try:
            return self._socket.recv(2**16)
        except ConnectionError:
            return b""

    def _take(self) -> Packet | None:
        length = decode_length(self._in[1:5])
        if length is None:
            return None
        head = next(index for index in range(1, 5) if self._in[index] < 0x80) + 1
        if len(self._in) < head + length:
            return None
        packet = Packet(self._in[0], bytes(self._in[head : head + length]))
        del self._in[: head + length]
        return packet
