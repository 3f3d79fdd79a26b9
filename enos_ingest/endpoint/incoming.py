"""How much may be held of packets that are not complete, over all connections."""

from __future__ import annotations

from typing import Protocol

__all__ = ["PATIENCE_SECONDS", "SHORT_BYTES", "SLOWEST_BYTES", "Incoming", "Reader"]

SHORT_BYTES = 16_384
"""A packet up to this long is read whenever it comes: as many times as there are connections is not much."""

SLOWEST_BYTES = 1024
"""The slowest link that there is time for, in bytes a second: a packet ends its connection that comes more slowly than
that and takes longer than keep-alive, too."""

PATIENCE_SECONDS = 60.0
"""What stands for keep-alive where a client has asked for none and is in the middle of a long packet: nobody may hold
room for ever."""

_OVERRUN = 2
"""How many times the limit may be held: who waits for room holds what came before that was seen."""


class Reader(Protocol):
    """A connection, seen from here."""

    def go_on(self) -> None:
        """There is room now for the packet that it waits with; called once."""
        ...

    def holds_too_much(self, detail: str) -> None:
        """Too much is held, by it more than by the others; it must end now."""
        ...


class Incoming:
    """Gives room to long packets in turn, so that each that is begun can be completed; pure.

    Who finds no room is not read on until there is some. What is held all the same, such as the first bytes of those
    who wait, is counted too: beyond twice the limit the connection that holds most without room of its own ends.

    Args:
        limit: the bytes of long packets that are being read; at least the longest packet.
    """

    def __init__(self, limit: int) -> None:
        self.held = 0
        """How many bytes are held."""
        self._limit = limit
        self._held: dict[Reader, int] = {}
        self._reserved = 0
        self._rooms: dict[Reader, int] = {}
        self._waiting: dict[Reader, int] = {}

    @property
    def waiting(self) -> int:
        """How many connections wait for room."""
        return len(self._waiting)

    def hold(self, reader: Reader, size: int) -> None:
        """Note how many bytes a connection holds now."""
        self.held += size - self._held.pop(reader, 0)
        if size:
            self._held[reader] = size
        while self.held > _OVERRUN * self._limit:
            roomless = [held for held in self._held if held not in self._rooms]
            largest = max(roomless or self._held, key=self._held.__getitem__)
            detail = (
                f"held {self._held[largest]} bytes of unfinished packets, more than the others,"
                f" while all together held {self.held}"
            )
            self.forget(largest)
            largest.holds_too_much(detail)

    def reserve(self, reader: Reader, size: int) -> bool:
        """Whether there is room for a packet of `size` bytes; if not, `go_on` is called once there is."""
        if reader in self._rooms:
            return True
        if not self._waiting and self._fits(size):
            self._take(reader, size)
            return True
        self._waiting[reader] = size
        return False

    def release(self, reader: Reader) -> None:
        """Give back the room of a packet that is complete, or the place of one that waits."""
        self._waiting.pop(reader, None)
        self._reserved -= self._rooms.pop(reader, 0)
        while self._waiting:
            first, size = next(iter(self._waiting.items()))
            if not self._fits(size):
                break
            del self._waiting[first]
            self._take(first, size)
            first.go_on()

    def forget(self, reader: Reader) -> None:
        """Forget a connection that has ended."""
        self.held -= self._held.pop(reader, 0)
        self.release(reader)

    def _fits(self, size: int) -> bool:
        return self._reserved + size <= self._limit

    def _take(self, reader: Reader, size: int) -> None:
        self._rooms[reader] = size
        self._reserved += size
