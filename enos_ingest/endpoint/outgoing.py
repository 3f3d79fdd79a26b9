"""How much may wait for clients that read slowly, over all connections."""

from __future__ import annotations

from typing import Protocol

__all__ = ["SLOW_BYTES", "Outgoing", "SlowReader"]

SLOW_BYTES = 16_384
"""With so much unread a client counts as slow; what waits for the others is not counted, and no more than this each."""

_RELIEF = 0.9
"""How much of the limit is left in use when it was exceeded: to look at all of them each time would cost too much."""


class SlowReader(Protocol):
    """A connection, seen from here."""

    @property
    def unread(self) -> int:
        """How many bytes wait for its client now."""
        ...

    def reads_too_slowly(self, detail: str) -> None:
        """Too much waits, for it more than for the others; it must end now."""
        ...


class Outgoing:
    """Adds up what waits for slow readers; beyond the limit those end for whom most waits; pure.

    Args:
        limit: how many bytes may wait, over all connections.
    """

    def __init__(self, limit: int) -> None:
        self.unread = 0
        """How many bytes wait, as far as is known: what was read since the last look still counts."""
        self._limit = limit
        self._unread: dict[SlowReader, int] = {}

    def note(self, reader: SlowReader, unread: int) -> None:
        """Note how many bytes wait for a client."""
        self.unread += unread - self._unread.get(reader, 0)
        self._unread[reader] = unread
        if self.unread > self._limit:
            self._look_again()

    def forget(self, reader: SlowReader) -> None:
        """Nothing, or not much, waits for a client any more."""
        self.unread -= self._unread.pop(reader, 0)

    def _look_again(self) -> None:
        """Count anew, and cut off the slowest where it is too much all the same."""
        for reader in self._unread:
            self._unread[reader] = reader.unread
        self.unread = sum(self._unread.values())
        for reader in sorted(self._unread, key=self._unread.__getitem__, reverse=True):
            if self.unread <= self._limit * _RELIEF:
                break
            detail = f"{self._unread[reader]} bytes were not read, more than by others, of {self.unread} in all"
            self.forget(reader)
            reader.reads_too_slowly(detail)
