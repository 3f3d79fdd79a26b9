"""What has come on a connection behind a message that a codec has."""

from __future__ import annotations

from collections import deque

from enos_ingest.endpoint.packets import Disconnect, Packet, Publish, Subscribe, Unsubscribe

__all__ = ["Behind"]

_PACKETS = 64
"""More than a device sends that waits for answers; one that does not wait is held up by TCP beyond that."""

_BYTES = 16_384
"""As much of each connection may be held as of a packet that is not complete."""


class Behind:
    """Packets in their order, until it is their turn; pure.

    Attributes:
        size: how many bytes they have, about: of payloads, topics and filters.
    """

    __slots__ = ("_ends", "_packets", "size")

    def __init__(self) -> None:
        self.size = 0
        self._packets: deque[Packet] = deque()
        self._ends = False

    def __len__(self) -> int:
        return len(self._packets)

    @property
    def is_full(self) -> bool:
        """Whether no more is to be read: enough is here, or the last packet that there can be."""
        return self._ends or len(self._packets) >= _PACKETS or self.size >= _BYTES

    def add(self, packet: Packet) -> int:
        """Append a packet; returns its bytes."""
        size = _size(packet)
        self._packets.append(packet)
        self.size += size
        self._ends = type(packet) is Disconnect
        return size

    def take(self) -> tuple[Packet, int]:
        """The first packet, which is here no more, and its bytes."""
        packet = self._packets.popleft()
        size = _size(packet)
        self.size -= size
        return packet, size


def _size(packet: Packet) -> int:
    match packet:
        case Publish():
            return len(packet.topic) + len(packet.payload)
        case Subscribe():
            return sum(len(topic_filter) for topic_filter, _ in packet.filters)
        case Unsubscribe():
            return sum(map(len, packet.filters))
        case _:
            return 0
