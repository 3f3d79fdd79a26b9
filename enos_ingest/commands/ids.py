"""The ids of commands: 18 digits, ordered by time, no two the same on all hubs of a site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["CommandIds"]

_EPOCH: Final = 1_262_304_000_000
"""2010-01-01 in epoch milliseconds: counted from there an id has 18 digits from 2022 to 2130."""

_NODE_BITS, _SEQUENCE_BITS = 8, 10

_NODE_SHIFT, _TIME_SHIFT = _SEQUENCE_BITS, _NODE_BITS + _SEQUENCE_BITS

_LAST_SEQUENCE = 2**_SEQUENCE_BITS - 1

_FIRST_TIME, _LAST_TIME = (10**17 >> _TIME_SHIFT) + 1, (10**18 >> _TIME_SHIFT) - 1
"""Within these all ids have 18 digits: the C SDK has room for no more, and takes none that starts with a zero."""


class CommandIds:
    """Makes ids, each greater than the one before, whatever the clock does.

    An id is the milliseconds since 2010, then 8 bits of the node, then 10 bits that count within the millisecond. Who
    wants more than 1024 in a millisecond gets some of the next; a clock that has been set back is waited for in the
    same way.

    Args:
        node: the number of this hub, 0 to 255.
        clock: epoch milliseconds.
        after: an id, as a number, that all of these have to be greater than; 0 for none.
    """

    def __init__(self, node: int, clock: Callable[[], int], after: int = 0) -> None:
        if not 0 <= node < 2**_NODE_BITS:
            raise ValueError(f"node {node}: expected 0 to {2**_NODE_BITS - 1}")
        self._node = node << _NODE_SHIFT
        self._clock = clock
        # That id may be another node's: its millisecond counts as used up.
        self._time = after >> _TIME_SHIFT
        self._sequence = _LAST_SEQUENCE

    def next(self) -> str:
        """An id that there has not been.

        Raises:
            OverflowError: there is none left of 18 digits, in 2130 or by a clock that says so.
        """
        now = max(self._clock() - _EPOCH, _FIRST_TIME)
        if now > self._time:
            time, sequence = now, 0
        elif self._sequence < _LAST_SEQUENCE:
            time, sequence = self._time, self._sequence + 1
        else:
            time, sequence = self._time + 1, 0
        if time > _LAST_TIME:
            raise OverflowError("no command id of 18 digits is left: set the clock right")
        self._time, self._sequence = time, sequence
        return str(time << _TIME_SHIFT | self._node | sequence)
