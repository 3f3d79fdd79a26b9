"""How often a caller may call, and a stranger try: buckets that fill again by the second."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["Buckets"]


class _Bucket:
    __slots__ = ("seen", "tokens")

    def __init__(self, tokens: float, seen: float) -> None:
        self.tokens = tokens
        """How many there were at `seen`."""
        self.seen = seen


class Buckets:
    """A bucket for each key, full at first; pure: the caller brings the clock, in seconds.

    Args:
        per_second: how fast a bucket fills.
        size: how much it holds, what may be taken at once.
        keys: how many are remembered. A full bucket is as good as a new one and forgotten; where all others are not
            full, the one that nobody took from for longest goes, and who comes back then finds a full one.
    """

    def __init__(self, per_second: float, size: float, keys: int) -> None:
        self._per_second = per_second
        self._size = size
        self._keys = keys
        self._buckets: dict[Hashable, _Bucket] = {}
        """Those not known to be full, taken from longest ago first."""

    def __len__(self) -> int:
        return len(self._buckets)

    def has(self, key: Hashable, now: float) -> bool:
        """Whether a token could be taken."""
        bucket = self._buckets.get(key)
        return bucket is None or self._tokens(bucket, now) >= 1

    def take(self, key: Hashable, now: float) -> bool:
        """Take a token; False where there is none."""
        self._forget(now)
        bucket = self._buckets.pop(key, None)
        tokens = self._size if bucket is None else self._tokens(bucket, now)
        taken = tokens >= 1
        self._buckets[key] = _Bucket(tokens - 1 if taken else tokens, now)
        if len(self._buckets) > self._keys:
            del self._buckets[next(iter(self._buckets))]
        return taken

    def _tokens(self, bucket: _Bucket, now: float) -> float:
        return min(self._size, bucket.tokens + (now - bucket.seen) * self._per_second)

    def _forget(self, now: float) -> None:
        """Forget up to two full buckets: more than can have been added since the last time."""
        for _ in range(2):
            key = next(iter(self._buckets), None)
            if key is None or self._tokens(self._buckets[key], now) < self._size:
                return
            del self._buckets[key]
