"""What the hub and its worker process say to each other: frames with their length in front, over two pipes.

    request    length u32 | operation u8 | limit u32, ms | length of the codec's name u16 | name | payload
    answer     length u32 | status u8 | payload

All numbers are big-endian; a length counts what follows it. An answer follows each request, in order; a first one,
without a request, says that the worker is ready.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

__all__ = ["Answer", "Answers", "Operation", "Request", "Status", "read_request"]

_LENGTH = struct.Struct(">I")
_REQUEST = struct.Struct(">BIH")


class Operation(IntEnum):
    """What the worker is to do: find a codec, or call it with a message as JSON, or with bytes."""

    LOAD = 0
    ENCODE = 1
    DECODE = 2


class Status(IntEnum):
    """How it went: done, refused by the codec in its own words, or failed, as the JSON of a `worker.Failure`."""

    DONE = 0
    REFUSED = 1
    FAILED = 2


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `limit`: milliseconds that it may take; the hub kills a worker that is slower."""

    operation: Operation
    codec: str
    payload: bytes
    limit: int

    def to_bytes(self) -> bytes:
        """The frame."""
        name = self.codec.encode()
        return b"".join(
            (
                _LENGTH.pack(_REQUEST.size + len(name) + len(self.payload)),
                _REQUEST.pack(self.operation, self.limit, len(name)),
                name,
                self.payload,
            )
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request."""

    status: Status
    payload: bytes = b""

    def to_bytes(self) -> bytes:
        """The frame."""
        return _LENGTH.pack(1 + len(self.payload)) + bytes((self.status,)) + self.payload


def read_request(stream: BinaryIO) -> Request | None:
    """The next request; None at the end of the stream, also where it ends within one: the hub is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        return None
    operation, limit, named = _REQUEST.unpack_from(body)
    payload = _REQUEST.size + named
    return Request(Operation(operation), body[_REQUEST.size : payload].decode(), body[payload:], limit)


class Answers:
    """Answers from bytes in any slicing.

    Args:
        longest: bytes of the longest payload that a worker sends.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Answer]:
        """The answers that are complete with these bytes; raises ValueError for bytes that are none."""
        self._data += data
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if not 1 <= length <= 1 + self._longest:
                raise ValueError(f"an answer of {length} bytes")
            end = _LENGTH.size + length
            if len(self._data) < end:
                return
            body = bytes(self._data[_LENGTH.size : end])
            del self._data[:end]
            yield Answer(Status(body[0]), body[1:])
