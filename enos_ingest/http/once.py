"""What is taken once: logins and signed calls, which whoever overhears them could send again."""

from __future__ import annotations

import heapq

__all__ = ["CLOCK_MILLISECONDS", "Once"]

CLOCK_MILLISECONDS = 600_000
"""How far a caller's clock may be from ours. Clocks at sites drift by minutes; and for as long as this what was taken
is remembered."""


class Once:
    """Remembers what was taken, by its timestamp in epoch milliseconds; pure: the caller brings the clock.

    Args:
        size: how much is remembered. Beyond that the oldest is forgotten, and nothing that is as old is taken any more:
            it may have been here.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: set[tuple[int, str]] = set()
        self._oldest: list[tuple[int, str]] = []
        """The same as a heap."""
        self._forgotten = -1
        """The timestamp of the latest that was forgotten."""

    def __len__(self) -> int:
        return len(self._known)

    def take(self, timestamp: int, text: str, clock: int) -> bool:
        """Take what has this timestamp and text; False where it was here before, or may have been.

        Whether the timestamp is within `CLOCK_MILLISECONDS` of the clock is for the caller to see; what has become too
        old since is taken once, too.
        """
        if timestamp <= self._forgotten or (timestamp, text) in self._known:
            return False
        heapq.heappush(self._oldest, (timestamp, text))
        self._known.add((timestamp, text))
        # Two that are too old to come again, more than have been added; a burst is not forgotten in one go.
        for _ in range(2):
            if self._oldest and self._oldest[0][0] < clock - CLOCK_MILLISECONDS:
                self._forget()
        if len(self._known) > self._size:
            self._forget()
        return True

    def _forget(self) -> None:
        oldest = heapq.heappop(self._oldest)
        self._known.remove(oldest)
        self._forgotten = oldest[0]
