"""What HTTP refuses before it looks at what is asked: too much at once, in all or from one address."""

from __future__ import annotations

from typing import Literal, TypeAlias

from enos_ingest.sockets import source_of

__all__ = ["REFUSED", "Connections", "Refused"]

Refused: TypeAlias = Literal["connections", "address", "requests", "strangers"]

REFUSED: tuple[Refused, ...] = ("connections", "address", "requests", "strangers")
"""Why: over the limit on connections, on those of one address, on requests that are answered at once, on requests
without valid credentials from one address."""


class Connections:
    """Counts the connections that are open; pure.

    Args:
        limit: in all.
        per_address: from one address; IPv6 counts by /64.
    """

    def __init__(self, limit: int, per_address: int) -> None:
        self._limit = limit
        self._per_address = per_address
        self._sources: dict[str | bytes, int] = {}
        """How many each address has; none with 0."""
        self._open = 0

    def __len__(self) -> int:
        return self._open

    @property
    def sources(self) -> int:
        """How many addresses have connections."""
        return len(self._sources)

    def admit(self, address: str) -> Refused | None:
        """Let a connection in, and count it until it leaves; else why not."""
        if self._open >= self._limit:
            return "connections"
        source = source_of(address)
        count = self._sources.get(source, 0)
        if count >= self._per_address:
            return "address"
        self._sources[source] = count + 1
        self._open += 1
        return None

    def leave(self, address: str) -> None:
        """Count out a connection that was let in from this address."""
        source = source_of(address)
        count = self._sources.pop(source) - 1
        if count:
            self._sources[source] = count
        self._open -= 1
