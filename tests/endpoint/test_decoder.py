"""MQTT packets from a stream: the same in any slicing, each at its last byte, each fault at the first that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, SupportsIndex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enos_ingest.endpoint.decoder import KEPT_BYTES, Decoder
from enos_ingest.endpoint.packets import (
    Ack,
    Connect,
    Disconnect,
    MalformedPacketError,
    Packet,
    PacketType,
    PingReq,
    Publish,
    Subscribe,
    Unsubscribe,
    UnsupportedVersionError,
    encode_ack,
    encode_connect,
    encode_publish,
)
from tests.endpoint.conformance.faults import FIRST, LATER, SENT, Fault
from tests.endpoint.raw import DISCONNECT, PINGREQ, subscribe_packet, unsubscribe_packet

CONNECT = Connect("gw-1", True, 60, "user", b"pass", None, b"", 0, False)

CONNECT_BYTES, MESSAGE_BYTES, PACKET_BYTES = 1000, 10_000, 30_000


def make_decoder(*, message_bytes: int = MESSAGE_BYTES, packet_bytes: int = PACKET_BYTES) -> Decoder:
    """One with limits that packets of a test break."""
    return Decoder(connect_bytes=CONNECT_BYTES, packet_bytes=packet_bytes, message_bytes=message_bytes)


def connected(**limits: int) -> Decoder:
    """One that has seen CONNECT."""
    decoder = make_decoder(**limits)
    decoder.feed(SENT)
    assert decoder.next() == CONNECT
    return decoder


def read(decoder: Decoder, pieces: Iterable[bytes]) -> Iterator[Packet]:
    """All packets in the pieces, each taken as soon as it is there."""
    for piece in pieces:
        decoder.feed(piece)
        while (packet := decoder.next()) is not None:
            yield packet


def test_pieces_may_wait() -> None:
    """Each packet whole in its piece."""
    decoder = connected()
    for packet_id in (1, 2, 3):
        decoder.feed(encode_ack(PacketType.PUBACK, packet_id))
    assert list(read(decoder, [b""])) == [Ack(PacketType.PUBACK, packet_id) for packet_id in (1, 2, 3)]


def single(data: bytes) -> list[bytes]:
    """One byte after the other."""
    return [data[index : index + 1] for index in range(len(data))]


def publish(
    topic: str, payload: bytes, qos: int, packet_id: int, flags: tuple[bool, bool], message_bytes: int
) -> tuple[bytes, Publish]:
    """A PUBLISH as it is sent and as it comes out."""
    dup, retain = flags[0] and qos > 0, flags[1]
    sent = encode_publish(topic, payload, qos=qos, packet_id=packet_id)
    kept = payload if len(payload) <= message_bytes else payload[: min(KEPT_BYTES, message_bytes)]
    return (
        bytes((sent[0] | dup << 3 | retain,)) + sent[1:],
        Publish(topic, kept, qos, packet_id if qos else 0, dup, retain, len(payload)),
    )


def subscribe(packet_id: int, filters: list[tuple[str, int]]) -> tuple[bytes, Subscribe]:
    """A SUBSCRIBE as it is sent and as it comes out."""
    parts = [subscribe_packet(text, qos=qos, packet_id=packet_id) for text, qos in filters]
    body = packet_id.to_bytes(2) + b"".join(part[5:] for part in parts)
    return b"\x82" + bytes((len(body) & 0x7F | 0x80, len(body) >> 7)) + body, Subscribe(packet_id, filters)


packet_ids = st.integers(1, 65_535)
names = st.text(st.characters(exclude_characters="\0+#$", exclude_categories=["Cs"]), min_size=1, max_size=300)
filters = st.sampled_from(["#", "+", "/sys/P/gw/#", "/sys/+/+/thing/+", "a", "é" * 200, "$share/g/a"])
# Around both limits and each length of the length.
payloads = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda size, byte: bytes((byte,)) * size,
        st.sampled_from([100, 127, 128, 4095, 4096, 4097, 9_999, 10_000, 10_001, 16_384, 29_000]),
        st.integers(0, 255),
    ),
)
packets = st.one_of(
    st.builds(publish, names, payloads, st.integers(0, 2), packet_ids, st.tuples(st.booleans(), st.booleans()),
              st.just(MESSAGE_BYTES)),
    st.builds(
        lambda kind, packet_id: (encode_ack(kind, packet_id), Ack(kind, packet_id)),
        st.sampled_from([PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP]),
        packet_ids,
    ),
    st.builds(subscribe, packet_ids, st.lists(st.tuples(filters, st.integers(0, 2)), min_size=1, max_size=5)),
    st.builds(
        lambda packet_id, texts: (unsubscribe_packet(*texts, packet_id=packet_id), Unsubscribe(packet_id, texts)),
        packet_ids,
        st.lists(filters, min_size=1, max_size=5),
    ),
    st.sampled_from([(PINGREQ, PingReq()), (DISCONNECT, Disconnect())]),
)  # fmt: skip


def sliced(data: st.DataObject, stream: bytes) -> list[bytes]:
    """The stream in pieces, empty ones among them."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(st.lists(packets, max_size=12), st.data())
def test_any_slicing_gives_the_same_packets(made: list[tuple[bytes, Packet]], data: st.DataObject) -> None:
    """All of them, and nothing is left."""
    stream = SENT + b"".join(sent for sent, _ in made)
    decoder = make_decoder()
    assert list(read(decoder, sliced(data, stream))) == [CONNECT, *(packet for _, packet in made)]
    assert decoder.buffered == 0


@given(st.lists(packets, max_size=6), st.data())
def test_what_is_fed_keeps_its_order(made: list[tuple[bytes, Packet]], data: st.DataObject) -> None:
    """Also where nobody asks for packets meanwhile, as while a connection is paused."""
    decoder = make_decoder()
    found: list[Packet] = []
    for piece in sliced(data, SENT + b"".join(sent for sent, _ in made)):
        decoder.feed(piece)
        for _ in range(data.draw(st.integers(0, 2))):
            packet = decoder.next()
            if packet is not None:
                found.append(packet)
    while (packet := decoder.next()) is not None:
        found.append(packet)
    assert found == [CONNECT, *(packet for _, packet in made)]


EACH: dict[str, tuple[bytes, Packet]] = {
    "empty": publish("a", b"", 0, 0, (False, False), MESSAGE_BYTES),
    "QoS 0": publish("/sys/P/gw/thing/é", b"x" * 300, 0, 0, (False, True), MESSAGE_BYTES),
    "QoS 1": publish("/sys/P/gw/thing/é", b"x" * 300, 1, 513, (False, False), MESSAGE_BYTES),
    "QoS 2": publish("t" * 300, b"x" * 300, 2, 65_535, (True, True), MESSAGE_BYTES),
    "longest": publish("a", b"x" * MESSAGE_BYTES, 1, 1, (False, False), MESSAGE_BYTES),
    "too long": publish("a", b"x" * (MESSAGE_BYTES + 1), 1, 1, (False, False), MESSAGE_BYTES),
    "much too long": publish("a", b"x" * (PACKET_BYTES - 9), 1, 1, (False, False), MESSAGE_BYTES),
    "PUBACK": (encode_ack(PacketType.PUBACK, 513), Ack(PacketType.PUBACK, 513)),
    "PUBREL": (encode_ack(PacketType.PUBREL, 513), Ack(PacketType.PUBREL, 513)),
    "SUBSCRIBE": subscribe(7, [("#", 0), ("a/+", 1), ("b", 2)]),
    "UNSUBSCRIBE": (unsubscribe_packet("#", "b", packet_id=7), Unsubscribe(7, ["#", "b"])),
    "PINGREQ": (PINGREQ, PingReq()),
    "DISCONNECT": (DISCONNECT, Disconnect()),
    "PINGREQ with a length of four bytes": (b"\xc0\x80\x80\x80\x00", PingReq()),
    "PUBACK with a length of three bytes": (b"\x40\x82\x80\x00\x02\x01", Ack(PacketType.PUBACK, 513)),
}


@pytest.mark.parametrize("case", EACH)
def test_a_packet_comes_out_at_its_last_byte(case: str) -> None:
    """Byte by byte, and whole between others."""
    sent, packet = EACH[case]
    decoder = connected()
    assert list(read(decoder, single(sent)[:-1])) == []
    assert list(read(decoder, [sent[-1:]])) == [packet]
    assert list(read(decoder, [PINGREQ + sent + sent + PINGREQ])) == [PingReq(), packet, packet, PingReq()]


def test_the_topic_has_one_object() -> None:
    """Its text is made and checked once, in one piece or in several."""
    sent = encode_publish("/sys/P/one/thing", b"x", qos=1, packet_id=1)
    first, second, third = read(connected(), [sent + sent, *single(sent)])
    assert isinstance(first, Publish)
    assert isinstance(second, Publish)
    assert isinstance(third, Publish)
    assert first.topic is second.topic is third.topic


class Counted(bytes):
    """Bytes that count how many of them are copied out."""

    copied = 0

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        found = super().__getitem__(key)
        if isinstance(found, bytes):
            self.copied += len(found)
        return found


def test_what_lies_in_one_piece_is_copied_once() -> None:
    """No packet costs more for those behind it."""
    stream = Counted(encode_publish("topic", b"x" * 200, qos=1, packet_id=1) * 500)
    assert len(list(read(connected(), [stream]))) == 500
    assert stream.copied <= len(stream)


@pytest.mark.parametrize("size", [MESSAGE_BYTES, PACKET_BYTES - 9])
def test_what_comes_in_pieces_is_copied_once(size: int) -> None:
    """And nothing is kept of what is passed over."""
    sent = encode_publish("a", b"x" * size, qos=1, packet_id=1)
    pieces = [Counted(piece) for piece in single(sent)]
    assert len(list(read(connected(), pieces))) == 1
    assert sum(piece.copied for piece in pieces) <= (len(sent) if size == MESSAGE_BYTES else KEPT_BYTES + 10)


@pytest.mark.parametrize("message_bytes", [100, KEPT_BYTES, MESSAGE_BYTES])
@pytest.mark.parametrize("piece", [1, 700, PACKET_BYTES])
def test_too_long_a_payload_is_cut(message_bytes: int, piece: int) -> None:
    """To the same beginning in any slicing, shorter than it is in any case, so that it shows."""
    payload = bytes(index % 251 for index in range(message_bytes + 1))
    sent = encode_publish("a", payload, qos=2, packet_id=9)
    pieces = [sent[start : start + piece] for start in range(0, len(sent), piece)]
    (packet,) = read(connected(message_bytes=message_bytes), pieces)
    kept = min(KEPT_BYTES, message_bytes)
    assert packet == Publish("a", payload[:kept], 2, 9, dup=False, retain=False, size=message_bytes + 1)


@pytest.mark.parametrize("piece", [1, 100, 5000])
@pytest.mark.parametrize(
    "longest",
    [
        encode_publish("t" * 65_000, b"x" * MESSAGE_BYTES, qos=1, packet_id=1),
        encode_publish("a", b"x" * 500_000, qos=1, packet_id=1),
        subscribe_packet("f" * 16_000),
    ],
    ids=["longest topic", "passed over", "SUBSCRIBE"],
)
def test_what_is_held_is_bounded(longest: bytes, piece: int) -> None:
    """By the limits and the longest topic, however long the packet is."""
    decoder = connected(packet_bytes=1_000_000)
    for start in range(0, len(longest), piece):
        decoder.feed(longest[start : start + piece])
        assert decoder.buffered <= MESSAGE_BYTES + 65_535 + 9 + piece
        packet = decoder.next()
        assert (packet is not None) == (start + piece >= len(longest))
    assert decoder.buffered == 0


def test_rest_is_what_lies_behind_the_last_packet() -> None:
    """Whole pieces too, and the next packet is looked for in what comes then."""
    decoder = make_decoder()
    decoder.feed(SENT[:5])
    assert decoder.next() is None
    decoder.feed(SENT[5:] + PINGREQ + DISCONNECT[:1])
    decoder.feed(b"anything")
    assert decoder.buffered == 5 + len(SENT) - 5 + 3 + 8
    assert decoder.next() == CONNECT
    assert decoder.buffered == 3 + 8
    assert decoder.rest() == PINGREQ + DISCONNECT[:1] + b"anything"
    assert (decoder.buffered, decoder.rest(), decoder.next()) == (0, b"", None)
    assert list(read(decoder, [PINGREQ])) == [PingReq()]


LONG = b"\xff\xff\x03"  # 65535 bytes, over all limits
LONG_FIRST = [
    Fault(
        "CONNECT over the limit by one", b"\x10\xe6\x07" + b"x" * 998, 3, "CONNECT of 1001 bytes is over the limit of"
    ),
]
LONG_LATER = [
    Fault("PUBLISH over the limit", b"\x30" + LONG, 4, "PUBLISH of 65539 bytes is over the limit of 30000"),
    Fault("PUBLISH over the limit by one", b"\x32\xad\xea\x01" + b"x" * 29_997, 4, "PUBLISH of 30001 bytes"),
    Fault("SUBSCRIBE over the limit", b"\x82" + LONG, 4, "SUBSCRIBE of 65539 bytes"),
]


def in_stream(faults: Sequence[Fault]) -> list[Any]:
    """What a decoder is given, when it must tell, and what it says."""
    return [pytest.param(case.sent, case.at, case.said, id=case.name) for case in faults]


def fault(stream: bytes, decoder: Decoder) -> tuple[int, MalformedPacketError]:
    """After how many bytes, one by one, the fault in a stream is told."""
    for count, piece in enumerate(single(stream), start=1):
        decoder.feed(piece)
        try:
            assert decoder.next() is None
        except MalformedPacketError as error:
            return count, error
    raise AssertionError("no fault")


@pytest.mark.parametrize(("stream", "at", "said"), in_stream([*FIRST, *LONG_FIRST]))
def test_a_stream_starts_with_a_good_connect(stream: bytes, at: int, said: str) -> None:
    """Anything else is told at the first byte that shows it, also where all of it is there."""
    count, error = fault(stream, make_decoder())
    assert (count, type(error)) == (at, MalformedPacketError)
    assert said in str(error)
    with pytest.raises(MalformedPacketError, match=said):
        list(read(make_decoder(), [stream + PINGREQ]))


def test_a_connect_of_the_limit_is_read() -> None:
    """Just that long."""
    user_name = "u" * (CONNECT_BYTES - len(SENT) - 1 + len("user"))
    longest = Connect("gw-1", True, 60, user_name, b"pass", None, b"", 0, False)
    sent = encode_connect(longest)
    assert len(sent) == CONNECT_BYTES
    assert list(read(make_decoder(), [sent])) == [longest]


@pytest.mark.parametrize(("level", "said"), [(3, "^level 3 of"), (5, "^MQTT 5 is not served"), (132, "^level 132 of")])
def test_another_version_is_told_apart(level: int, said: str) -> None:
    """It is answered, not only closed. [MQTT-3.1.2-2]"""
    with pytest.raises(UnsupportedVersionError, match=said):
        list(read(make_decoder(), [SENT.replace(b"MQTT\x04", b"MQTT" + bytes((level,)))]))


@pytest.mark.parametrize(("stream", "at", "said"), in_stream([*LATER, *LONG_LATER]))
def test_a_fault_is_told_at_the_first_byte_that_shows_it(stream: bytes, at: int, said: str) -> None:
    """After the packets before it, also where all of it is there, with something behind it or nothing."""
    count, error = fault(stream, connected())
    assert count == at
    assert said in str(error)
    for whole in (stream, stream + PINGREQ * 9):
        decoder = connected()
        decoder.feed(PINGREQ + whole)
        assert decoder.next() == PingReq()
        with pytest.raises(MalformedPacketError, match=r"(?s).+"):
            decoder.next()


def test_a_short_packet_may_break_the_limit_too() -> None:
    """With limits as low as settings allow."""
    decoder = connected(message_bytes=1024, packet_bytes=1024)
    sent = encode_publish("a", b"x" * 1018)
    assert len(sent) == 1024
    assert list(read(decoder, [sent, *single(sent)])) == [Publish("a", b"x" * 1018, 0, 0, False, False, 1018)] * 2
    with pytest.raises(MalformedPacketError, match="1025 bytes is over the limit of 1024"):
        list(read(decoder, [encode_publish("a", b"x" * 1019)]))


def outcome(decoder: Decoder, pieces: Iterable[bytes]) -> tuple[list[Packet], bool]:
    """The packets in a stream, and whether it ends with a fault."""
    found: list[Packet] = []
    try:
        for packet in read(decoder, pieces):
            found.append(packet)  # noqa: PERF402 - those before a fault count
    except MalformedPacketError:
        return found, True
    return found, False


@given(st.lists(packets, min_size=1, max_size=4), st.data())
def test_any_bytes_are_packets_or_malformed(made: list[tuple[bytes, Packet]], data: st.DataObject) -> None:
    """No other exception, and the same in any slicing, however near to packets they are."""
    stream = bytearray(b"".join(sent for sent, _ in made))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    for first in (SENT, b""):
        whole = outcome(make_decoder(), [first + bytes(stream)])
        assert outcome(make_decoder(), sliced(data, first + bytes(stream))) == whole
