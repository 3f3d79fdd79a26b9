"""Which new connections may come in: how many at once, in all and from one address, and how fast."""

from __future__ import annotations

from enos_ingest.settings import LimitsSettings
from enos_ingest.sockets import source_of

__all__ = ["Admission"]

IDLE_SOURCES = 10_000
"""Addresses remembered without a connection, for the time that their rate takes to recover: at most a second. Beyond
that the one idle for longest is forgotten: who has so many addresses is not held back by a limit on one."""


class _Source:
    """One address: its connections, and a bucket that each new one takes a token from."""

    __slots__ = ("connections", "seen", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.connections = 0
        self.tokens = tokens
        """How many more might have come at `seen`."""
        self.seen = now


class Admission:
    """Counts connections by source address; pure: the caller brings the clock, in seconds.

    An address may open `connects_per_second` at once, and then as many each second. IPv6 counts by /64, of which a
    single host has a whole one; an IPv4 address is the same in its IPv6 form. What is not admitted leaves no trace.
    """

    def __init__(self, limits: LimitsSettings) -> None:
        self._limits = limits
        self._rate = float(limits.connects_per_second)
        self.connections = 0
        """How many are in."""
        self._sources: dict[str | bytes, _Source] = {}
        """Those with connections, and those whose bucket may not be full again."""
        self._idle: dict[str | bytes, _Source] = {}
        """Those of them without connections, idle for longest first."""

    @property
    def sources(self) -> int:
        """How many addresses are remembered."""
        return len(self._sources)

    def admit(self, address: str, now: float) -> str | None:
        """Let a connection in, and count it until it leaves.

        Returns:
            None where it is let in, else the reason for metrics: `limit`, `address_limit` or `rate`.
        """
        self._forget(now)
        if self.connections >= self._limits.connections:
            return "limit"
        key = source_of(address)
        source = self._sources.get(key)
        if source is None:
            source = _Source(self._rate, now)
        if source.connections >= self._limits.connections_per_address:
            return "address_limit"
        tokens = self._tokens(source, now)
        if tokens < 1:
            return "rate"
        source.tokens, source.seen = tokens - 1, now
        source.connections += 1
        self.connections += 1
        self._sources[key] = source
        self._idle.pop(key, None)
        return None

    def leave(self, address: str) -> None:
        """Count out a connection that was admitted from this address."""
        key = source_of(address)
        source = self._sources[key]
        source.connections -= 1
        self.connections -= 1
        if not source.connections:
            self._idle[key] = source
            if len(self._idle) > IDLE_SOURCES:
                self._drop(next(iter(self._idle)))

    def _tokens(self, source: _Source, now: float) -> float:
        return min(self._rate, source.tokens + (now - source.seen) * self._rate)

    def _forget(self, now: float) -> None:
        """Forget up to two addresses that are as good as new: more than can have been added since the last time."""
        for _ in range(2):
            key = next(iter(self._idle), None)
            if key is None or self._tokens(self._idle[key], now) < self._rate:
                return
            self._drop(key)

    def _drop(self, key: str | bytes) -> None:
        del self._idle[key], self._sources[key]
