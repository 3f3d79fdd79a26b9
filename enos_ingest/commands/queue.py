"""The commands that wait for one device, and which of them may go out."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

__all__ = ["DeviceQueue"]


class _Waiting(NamedTuple):
    id: str
    is_cached: bool


class DeviceQueue:
    """Cached commands, and instant ones that came after them, in the order of their ids.

    One rule: a command may go out once no older cached command of the device is unfinished. So cached commands go one
    at a time, and instant ones do not overtake them; between cached ones, instant ones go all at once.
    """

    __slots__ = ("_cached", "_out", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._out: str | None = None
        self._cached = 0

    def __bool__(self) -> bool:
        """Whether anything is unfinished that others must wait for, or waits itself."""
        return bool(self._waiting) or self._out is not None

    @property
    def cached(self) -> int:
        """How many cached commands are unfinished: those that wait, and the one that is out."""
        return self._cached

    def all_cached(self) -> list[str]:
        """The unfinished cached commands, in the order of their ids."""
        waiting = [each.id for each in self._waiting if each.is_cached]
        return waiting if self._out is None else sorted([self._out, *waiting])

    def must_wait(self, command: str) -> bool:
        """Whether an older cached command is unfinished."""
        if self._out is not None and self._out < command:
            return True
        return any(each.is_cached and each.id < command for each in self._waiting)

    def add(self, command: str, *, is_cached: bool) -> None:
        """Have a command wait in its place."""
        insort(self._waiting, _Waiting(command, is_cached))
        self._cached += is_cached

    def next(self) -> str | None:
        """The command that may go out now, the oldest of them; None for none."""
        if not self._waiting:
            return None
        first = self._waiting[0]
        return None if self._out is not None and (first.is_cached or self._out < first.id) else first.id

    def take(self) -> None:
        """The next command goes out: `finish` is to follow, or `put_back`."""
        first = self._waiting.pop(0)
        if first.is_cached:
            self._out = first.id

    def put_back(self, command: str) -> None:
        """The cached command that was taken has not been sent: it waits in its place again."""
        self._out = None
        insort(self._waiting, _Waiting(command, is_cached=True))

    def finish(self, command: str) -> None:
        """Forget a command, whether it waits or is out; an instant one that is out is not held here."""
        if self._out == command:
            self._out = None
            self._cached -= 1
            return
        place = bisect_left(self._waiting, _Waiting(command, is_cached=False))
        if place < len(self._waiting) and self._waiting[place].id == command:
            self._cached -= self._waiting.pop(place).is_cached
