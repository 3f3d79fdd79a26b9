"""Packet streams that no client should send: good ones, bent."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from benchmarks.packets import encode_packet, encode_subscribe, encode_text

__all__ = ["MUTATIONS", "good_packets"]

_GIANT = bytes(700_000)
"""Longer than a message may be and shorter than a packet may be: skipped, not kept."""


def good_packets(choice: random.Random, topic: bytes, payload: bytes) -> list[bytes]:
    """What a device may send once it is connected, some ten packets in no particular order.

    Args:
        topic: where it reports.
        payload: a report.
    """

    def publish(qos: int, body: bytes = payload, where: bytes = topic) -> bytes:
        packet_id = choice.randrange(1, 65_536).to_bytes(2) if qos else b""
        return encode_packet(0x30 | qos << 1, encode_text(where) + packet_id + body)

    def acknowledge(first: int) -> bytes:
        return encode_packet(first, choice.randrange(1, 65_536).to_bytes(2))

    make: list[Callable[[], bytes]] = [
        lambda: publish(0),
        lambda: publish(1),
        lambda: publish(1),
        lambda: publish(2),
        lambda: publish(1, choice.randbytes(choice.randrange(200))),
        lambda: publish(1, b'{"id":"1","params":' * choice.randrange(1, 50)),
        lambda: publish(choice.randrange(3), payload, b"/sys/somebody/else/thing/measurepoint/resume"),
        lambda: acknowledge(0x40),
        lambda: acknowledge(0x50),
        lambda: acknowledge(0x62),
        lambda: acknowledge(0x70),
        lambda: encode_subscribe(choice.randrange(1, 65_536), topic + b"_reply", choice.randrange(3)),
        lambda: encode_subscribe(choice.randrange(1, 65_536), b"/sys/+/#", 1),
        lambda: encode_packet(0xA2, b"\x00\x07" + encode_text(topic + b"_reply")),
        lambda: b"\xc0\x00",
    ]
    return [choice.choice(make)() for _ in range(choice.randrange(4, 20))]


def _flip(choice: random.Random, packets: list[bytes]) -> list[bytes]:
    data = bytearray(b"".join(packets))
    for _ in range(choice.randrange(1, 9)):
        data[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
    return [bytes(data)]


def _truncate(choice: random.Random, packets: list[bytes]) -> list[bytes]:
    """End in the middle of a packet, at times with the next behind it."""
    cut = choice.randrange(len(packets))
    shorter = packets[cut][: choice.randrange(len(packets[cut]) + 1)]
    return [*packets[:cut], shorter, *(packets[cut + 1 :] if choice.random() < 0.5 else [])]


def _length(choice: random.Random, packets: list[bytes]) -> list[bytes]:
    """Put another length in front of a packet: shorter, longer, of too many bytes."""
    which = choice.randrange(len(packets))
    packet = packets[which]
    length = choice.choice(
        (b"\x00", b"\x01", b"\x02", b"\x7f", b"\x80\x00", b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff", b"\xff\x7f")
    )
    return [*packets[:which], packet[:1] + length + packet[2:], *packets[which + 1 :]]


def _text_length(choice: random.Random, packets: list[bytes]) -> list[bytes]:
    """The same for the length of a field."""
    which = choice.randrange(len(packets))
    packet = bytearray(packets[which])
    at = choice.randrange(len(packet))
    packet[at : at + 2] = choice.choice((b"\x00\x00", b"\xff\xff", choice.randbytes(2)))
    return [*packets[:which], bytes(packet), *packets[which + 1 :]]


def _splice(choice: random.Random, packets: list[bytes]) -> list[bytes]:
    """The start of one packet and the end of another, some times."""
    made = []
    for _ in range(len(packets)):
        one, other = choice.choice(packets), choice.choice(packets)
        made.append(one[: choice.randrange(len(one) + 1)] + other[choice.randrange(len(other) + 1) :])
    return made


def _duplicate(choice: random.Random, packets: list[bytes]) -> list[bytes]:
    return [packet for packet in packets for _ in range(choice.choice((1, 1, 2, 3, 40)))]


def _shuffle(choice: random.Random, packets: list[bytes]) -> list[bytes]:
    return choice.sample(packets, len(packets))


def _giant(choice: random.Random, packets: list[bytes]) -> list[bytes]:
    """A length that nobody may send, with some bytes behind it; or a message as long as is just allowed."""
    which = choice.randrange(len(packets) + 1)
    if choice.random() < 0.3:
        return [*packets[:which], encode_packet(0x30, encode_text(b"/sys/a/b/c") + _GIANT), *packets[which:]]
    length = choice.choice((b"\xff\xff\xff\x7f", b"\x80\x80\x80\x40", b"\x81\x80\x40", b"\xff\xff\x3f"))
    first = bytes((choice.choice((0x10, 0x30, 0x32, 0x34, 0x82, 0xA2, 0xC0, 0x40)),))
    return [*packets[:which], first + length + choice.randbytes(choice.randrange(5000))]


def _noise(choice: random.Random, packets: list[bytes]) -> list[bytes]:
    return [choice.randbytes(choice.randrange(1, 2000)), *choice.sample(packets, 1)]


def _leave(choice: random.Random, packets: list[bytes]) -> list[bytes]:  # noqa: ARG001 - as the others
    return packets


MUTATIONS: Mapping[str, Callable[[random.Random, list[bytes]], list[bytes]]] = MappingProxyType(
    {
        "none": _leave,
        "bit flips": _flip,
        "truncated": _truncate,
        "packet length": _length,
        "field length": _text_length,
        "spliced": _splice,
        "duplicated": _duplicate,
        "shuffled": _shuffle,
        "giant length": _giant,
        "noise": _noise,
    }
)
"""What is done to good packets, by name; each gives the stream in the pieces in which it is sent."""
