"""Messages in a stream of bytes, each after its length, for two processes of one program."""

from __future__ import annotations

import pickle
import struct
from typing import Any

__all__ = ["Frames", "to_frame"]

_LENGTH = struct.Struct("!I")


def to_frame(message: object) -> bytes:
    """A message as it goes into the stream."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


class Frames:
    """The messages of a stream that is read in pieces. Both ends are ours: what comes is trusted."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that are whole with these bytes."""
        self._data += data
        found = []
        start, end = 0, len(self._data)
        while end - start >= _LENGTH.size:
            after = start + _LENGTH.size + _LENGTH.unpack_from(self._data, start)[0]
            if after > end:
                break
            with memoryview(self._data)[start + _LENGTH.size : after] as message:
                found.append(pickle.loads(message))  # noqa: S301 - from a process of our own
            start = after
        del self._data[:start]
        return found
