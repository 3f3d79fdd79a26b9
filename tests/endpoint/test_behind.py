"""What waits behind a message that a codec has: its order, its size, its bounds."""

from __future__ import annotations

import pytest

from enos_ingest.endpoint.behind import Behind
from enos_ingest.endpoint.packets import Disconnect, Packet, PingReq, Publish, Subscribe, Unsubscribe


def publish(size: int) -> Publish:
    """A message of so many bytes."""
    return Publish("", bytes(size), 0, 0, False, False, size)


def test_packets_come_back_in_their_order_with_their_size() -> None:
    """Of payloads, topics and filters."""
    message = Publish("topic", b"1234", 0, 0, False, False, 4)
    packets: list[Packet] = [message, Subscribe(1, [("ab", 0), ("c", 1)]), Unsubscribe(2, ["abc"]), PingReq()]
    sizes = [9, 3, 3, 0]
    behind = Behind()
    assert [behind.add(packet) for packet in packets] == sizes
    assert (len(behind), behind.size) == (4, 15)
    assert [behind.take() for _ in packets] == list(zip(packets, sizes, strict=True))
    assert (len(behind), behind.size) == (0, 0)


@pytest.mark.parametrize(
    ("packets", "is_full"),
    [
        ([publish(0)] * 63, False),
        ([publish(0)] * 64, True),
        ([publish(16_383)], False),
        ([publish(16_383), publish(1)], True),
        ([publish(1_000_000)], True),
        ([Disconnect()], True),
    ],
)
def test_it_is_full_with_enough(packets: list[Packet], is_full: bool) -> None:
    """Of packets, of bytes, or with the last packet that a client sends."""
    behind = Behind()
    for packet in packets:
        behind.add(packet)
    assert behind.is_full is is_full
