"""TLS handshakes in turn: each takes half a millisecond of the one processor that serves everybody."""

from __future__ import annotations

import asyncio
import ssl
from typing import Protocol

__all__ = ["Handshakes", "TooManyHandshakesError"]

_TURN_SECONDS = 0.002
"""How long handshakes are made until the others get their turn: when a whole fleet comes back at once, those that are
in again are answered meanwhile."""


class TooManyHandshakesError(ssl.SSLError):
    """So many wait for their turn that one more would wait too long."""


class Handshaker(Protocol):
    """A connection that has something to do for its handshake."""

    def shake_hands(self) -> None:
        """Do it."""
        ...


class Handshakes:
    """Those that wait for their turn, the first one first.

    Args:
        limit: how many may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[Handshaker, None] = {}
        self._loop = asyncio.get_running_loop()

    def wait(self, handshaker: Handshaker) -> None:
        """Call `shake_hands` when it is its turn.

        Raises:
            TooManyHandshakesError: too many wait already.
        """
        if len(self._waiting) >= self._limit:
            raise TooManyHandshakesError(f"more than {self._limit} handshakes wait")
        if not self._waiting:
            self._loop.call_soon(self._take_turn)
        self._waiting[handshaker] = None

    def _take_turn(self) -> None:
        end = self._loop.time() + _TURN_SECONDS
        while self._waiting:
            first = next(iter(self._waiting))
            del self._waiting[first]
            first.shake_hands()
            if self._loop.time() >= end:
                break
        if self._waiting:
            self._loop.call_soon(self._take_turn)
