"""MQTT packets: what is read, what is refused, and that others read what we write."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Callable

import pytest
from amqtt.adapters import BufferReader
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.pubrel import PubrelPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.unsuback import UnsubackPacket
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from enos_ingest.endpoint.packets import (
    PINGRESP,
    ConnackCode,
    Connect,
    MalformedPacketError,
    PacketType,
    Publish,
    UnsupportedVersionError,
    check_flags,
    decode_length,
    encode_ack,
    encode_connack,
    encode_connect,
    encode_publish,
    encode_publish_to,
    encode_suback,
    encode_topic,
    encode_unsuback,
    parse_connect,
    parse_packet_id,
    parse_publish,
    parse_subscribe,
    parse_unsubscribe,
)

# What MQTT text may hold: no NUL; a surrogate has no UTF-8.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name[0] != "$"
)
packet_ids = st.integers(1, 65535)
wills = st.tuples(names, st.binary(max_size=300), st.integers(0, 2), st.booleans())
accounts = st.none() | st.tuples(texts, st.none() | st.binary(max_size=300))


def connects() -> st.SearchStrategy[Connect]:
    """Any CONNECT that the specification allows."""
    return st.builds(
        lambda client_id, clean, keep_alive, account, will: Connect(
            client_id,
            clean,
            keep_alive,
            *(account or (None, None)),
            *(will or (None, b"", 0, False)),
        ),
        texts,
        st.booleans(),
        st.integers(0, 65535),
        accounts,
        st.none() | wills,
    )


def split(packet: bytes) -> tuple[int, bytes]:
    """The first byte of a packet and its body, whose length must be what the header says."""
    for count in range(1, 5):
        length = decode_length(packet[1 : 1 + count])
        if length is not None:
            assert len(packet) == 1 + count + length
            return packet[0], packet[1 + count :]
    raise AssertionError("no length")


def body_of(packet: bytes) -> bytes:
    """All behind the fixed header."""
    return split(packet)[1]


SAMPLE = Connect("gw-1", True, 60, "user", b"pass", None, b"", 0, False)


@given(connects())
def test_connect_reads_back(connect: Connect) -> None:
    """Whatever its fields are."""
    first_byte, body = split(encode_connect(connect))
    assert first_byte == 0x10
    assert parse_connect(body) == connect


@given(connects())
def test_amqtt_reads_our_connect(connect: Connect) -> None:
    """It is what the relay shows the broker."""

    async def read() -> ConnectPacket:
        return await ConnectPacket.from_stream(BufferReader(encode_connect(connect)))

    read_back = asyncio.run(read())
    assert read_back.proto_level == 4
    assert read_back.clean_session_flag == connect.clean_session
    assert read_back.keep_alive == connect.keep_alive
    # amqtt makes an id up for an empty one, and gives text for what is text.
    assert connect.client_id in ("", read_back.client_id)
    assert read_back.username == connect.user_name
    assert read_back.will_topic == connect.will_topic
    if connect.will_topic is not None:
        assert bytes(read_back.will_message) == connect.will_message
        assert (read_back.will_qos, read_back.will_retain_flag) == (connect.will_qos, connect.will_retain)


@given(names, st.binary(max_size=300), st.integers(0, 2), packet_ids)
def test_publish_reads_back(topic: str, payload: bytes, qos: int, packet_id: int) -> None:
    """Packet ids are for QoS 1 and 2 alone. [MQTT-2.3.1-5]"""
    first_byte, body = split(encode_publish(topic, payload, qos=qos, packet_id=packet_id))
    assert check_flags(first_byte) is PacketType.PUBLISH
    assert parse_publish(first_byte, body) == Publish(
        topic, payload, qos, packet_id if qos else 0, dup=False, retain=False, size=len(payload)
    )
    assert parse_publish(first_byte | 1, body).retain
    if qos:
        assert parse_publish(first_byte | 8, body).dup


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, 100, 200, 20_000, 3_000_000])
def test_amqtt_writes_a_publish_as_we_do(qos: int, size: int) -> None:
    """Byte for byte, at every number of length bytes."""
    packet_id = 513 if qos else None
    theirs = PublishPacket.build("/sys/é/d/thing", b"x" * size, packet_id, False, qos, False)
    assert encode_publish("/sys/é/d/thing", b"x" * size, qos=qos, packet_id=513) == bytes(theirs.to_bytes())


def test_amqtt_writes_acknowledgements_as_we_do() -> None:
    """PUBREL is the one with flags."""
    assert encode_ack(PacketType.PUBACK, 513) == bytes(PubackPacket.build(513).to_bytes()) == b"\x40\x02\x02\x01"
    assert encode_ack(PacketType.PUBREL, 513) == bytes(PubrelPacket.build(513).to_bytes()) == b"\x62\x02\x02\x01"


def test_amqtt_writes_answers_to_subscriptions_as_we_do() -> None:
    """Byte for byte, with more codes than one byte of length counts."""
    codes = [0, 1, 2, 0x80] * 50
    assert encode_suback(513, [1]) == b"\x90\x03\x02\x01\x01"
    assert encode_suback(513, codes) == bytes(SubackPacket.build(513, codes).to_bytes())
    assert encode_unsuback(513) == bytes(UnsubackPacket.build(513).to_bytes()) == b"\xb0\x02\x02\x01"
    assert bytes(PingRespPacket.build().to_bytes()) == PINGRESP


@given(names, st.binary(max_size=300), st.integers(0, 2), packet_ids)
def test_an_encoded_topic_may_be_used_again(topic: str, payload: bytes, qos: int, packet_id: int) -> None:
    """It makes the same packets."""
    packet = encode_publish(topic, payload, qos=qos, packet_id=packet_id)
    assert encode_publish_to(encode_topic(topic), payload, qos, packet_id) == packet


class _Wire(io.BytesIO):
    """A socket as far as paho looks at it while it sends."""

    def send(self, data: bytes) -> int:
        """Keep what is sent."""
        return self.write(data)

    def fileno(self) -> int:
        """None that could be watched."""
        return -1


def sent_by_paho(do: Callable[[Client], object]) -> bytes:
    """What paho writes when something is asked of it."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="gw-1", protocol=MQTTv311)
    client.username_pw_set("user", "pass")
    client._sock = wire = _Wire()  # type: ignore[assignment]  # noqa: SLF001 - its packets without a network
    do(client)
    client._packet_write()  # noqa: SLF001
    data = wire.getvalue()
    client._sock = None  # noqa: SLF001
    return data


def test_paho_writes_connect_as_we_do() -> None:
    """The reference client, byte for byte, with and without a will."""
    assert sent_by_paho(lambda client: client._send_connect(60)) == encode_connect(SAMPLE)  # noqa: SLF001

    def with_will(client: Client) -> None:
        client.will_set("plant/gone", b"bye", qos=1, retain=True)
        client._send_connect(60)  # noqa: SLF001

    will = Connect("gw-1", True, 60, "user", b"pass", "plant/gone", b"bye", 1, True)
    assert sent_by_paho(with_will) == encode_connect(will)


def test_we_read_what_paho_writes() -> None:
    """SUBSCRIBE and UNSUBSCRIBE, which only clients send."""

    def subscribe(client: Client) -> None:
        client._send_subscribe(False, [(b"/sys/P/d/#", 1), (b"a/+", 0)])  # noqa: SLF001

    first_byte, body = split(sent_by_paho(subscribe))
    assert check_flags(first_byte) is PacketType.SUBSCRIBE
    assert parse_subscribe(body) == (1, [("/sys/P/d/#", 1), ("a/+", 0)])

    def unsubscribe(client: Client) -> None:
        client._send_unsubscribe(False, [b"/sys/P/d/#", b"a/+"])  # noqa: SLF001

    first_byte, body = split(sent_by_paho(unsubscribe))
    assert check_flags(first_byte) is PacketType.UNSUBSCRIBE
    assert parse_unsubscribe(body) == (1, ["/sys/P/d/#", "a/+"])


@pytest.mark.parametrize("code", ConnackCode)
def test_connack_holds_its_code_and_no_session(code: ConnackCode) -> None:
    """[MQTT-3.2.2-4]: no session is kept here."""
    assert encode_connack(code) == bytes((0x20, 2, 0, code))


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"", None),
        (b"\x00", 0),
        (b"\x7f", 127),
        (b"\x80", None),
        (b"\x80\x01", 128),
        (b"\xff\x7f", 16_383),
        (b"\x80\x80\x01", 16_384),
        (b"\xff\xff\x7f", 2_097_151),
        (b"\x80\x80\x80", None),
        (b"\x80\x80\x80\x01", 2_097_152),
        (b"\xff\xff\xff\x7f", 268_435_455),
    ],
)
def test_lengths_as_in_the_specification(data: bytes, length: int | None) -> None:
    """Table 2.4."""
    assert decode_length(data) == length


def test_a_length_has_four_bytes_at_most() -> None:
    """A fifth would be read for ever."""
    with pytest.raises(MalformedPacketError, match="more than 4 bytes"):
        decode_length(b"\xff\xff\xff\xff")


@pytest.mark.parametrize("first_byte", range(256))
def test_only_what_clients_may_send_has_right_flags(first_byte: int) -> None:
    """Table 2.2: all bytes that a packet may start with, after CONNECT."""
    allowed = {0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0, *range(0x30, 0x40)}
    if first_byte in allowed:
        assert check_flags(first_byte) == first_byte >> 4
    else:
        with pytest.raises(MalformedPacketError, match=r"packet type|with flags"):
            check_flags(first_byte)


HEAD = b"\x00\x04MQTT\x04"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a", "^MQTT 3.1 is not served, MQTT 3.1.1 is$"),
        (b"\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a", "^MQTT 5 is not served, MQTT 3.1.1 is$"),
        (b"\x00\x04MQTT\x03\x02\x00\x3c\x00\x01a", "^level 3 of the protocol 'MQTT' is not served"),
        (b"\x00\x04MQTT\x84\x02\x00\x3c\x00\x01a", "level 132"),
        (b"\x00\x04mqtt\x04\x02\x00\x3c\x00\x01a", "level 4 of the protocol 'mqtt'"),
        (b"\x00\x04M\xff\nT\x04\x02\x00\x3c\x00\x01a", "level 4 of the protocol 'M"),
    ],
)
def test_other_versions_are_told_apart(body: bytes, said: str) -> None:
    """They are answered, what is malformed is not. [MQTT-3.1.2-2]"""
    with pytest.raises(UnsupportedVersionError, match=said):
        parse_connect(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "inside a field"),
        (b"\x00\x04MQTT", "inside a field"),
        (HEAD, "inside a field"),
        (HEAD + b"\x03\x00\x3c\x00\x01a", "reserved flag"),
        (HEAD + b"\x1e\x00\x3c\x00\x01a\x00\x01t\x00\x01m", "will flags"),
        (HEAD + b"\x0a\x00\x3c\x00\x01a", "will flags"),
        (HEAD + b"\x22\x00\x3c\x00\x01a", "will flags"),
        (HEAD + b"\x42\x00\x3c\x00\x01a\x00\x01p", "password without user name"),
        (HEAD + b"\x02\x00\x3c\x00\x05a", "inside a field"),
        (HEAD + b"\x02\x00\x3c\x00\x01\xff", "not UTF-8"),
        (HEAD + b"\x02\x00\x3c\x00\x03\xed\xa0\x80", "not UTF-8"),
        (HEAD + b"\x02\x00\x3c\x00\x01\x00", "NUL"),
        (HEAD + b"\x06\x00\x3c\x00\x01a\x00\x01#\x00\x01m", "will topic"),
        (HEAD + b"\x06\x00\x3c\x00\x01a\x00\x00\x00\x01m", "will topic"),
        (HEAD + b"\x82\x00\x3c\x00\x01a", "inside a field"),
        (HEAD + b"\x02\x00\x3c\x00\x01a\x00", "bytes after"),
    ],
)
def test_a_malformed_connect_is_refused(body: bytes, said: str) -> None:
    """With the rule that it breaks."""
    with pytest.raises(MalformedPacketError, match=said) as caught:
        parse_connect(body)
    assert not isinstance(caught.value, UnsupportedVersionError)


@pytest.mark.parametrize(
    ("first_byte", "body", "said"),
    [
        (0x36, b"\x00\x01a\x00\x01", "QoS 3"),
        (0x38, b"\x00\x01a", "DUP"),
        (0x30, b"\x00\x00", "no topic name"),
        (0x30, b"\x00\x01#", "no topic name"),
        (0x30, b"\x00\x03a/+", "no topic name"),
        (0x30, b"\x00\x04$SYS", "no topic name"),
        (0x30, b"\x00\x05a", "inside a field"),
        (0x32, b"\x00\x01a\x00\x00", "packet id 0"),
        (0x32, b"\x00\x01a\x00", "inside a field"),
    ],
)
def test_a_malformed_publish_is_refused(first_byte: int, body: bytes, said: str) -> None:
    """With the rule that it breaks."""
    with pytest.raises(MalformedPacketError, match=said):
        parse_publish(first_byte, body)


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x00\x00", b"\x00\x01\x00"])
def test_an_acknowledgement_is_a_packet_id(body: bytes) -> None:
    """Of two bytes, and not 0."""
    assert parse_packet_id(b"\x02\x01") == 513
    with pytest.raises(MalformedPacketError, match=r"2 bytes|packet id 0"):
        parse_packet_id(body)


@pytest.mark.parametrize(
    ("parse", "body", "said"),
    [
        (parse_subscribe, b"\x00\x01", "without a filter"),
        (parse_subscribe, b"\x00\x00\x00\x01a\x00", "packet id 0"),
        (parse_subscribe, b"\x00\x01\x00\x01a\x03", "QoS byte 3"),
        (parse_subscribe, b"\x00\x01\x00\x01a\x80", "QoS byte 128"),
        (parse_subscribe, b"\x00\x01\x00\x01a", "inside a field"),
        (parse_unsubscribe, b"\x00\x01", "without a filter"),
        (parse_subscribe, b"\x00\x01\x00\x02a#\x00", "no topic filter"),
        (parse_unsubscribe, b"\x00\x01\x00\x02a", "inside a field"),
        (parse_unsubscribe, b"\x00\x01\x00\x02#a", "no topic filter"),
    ],
)
def test_a_malformed_subscription_is_refused(parse: Callable[[bytes], object], body: bytes, said: str) -> None:
    """With the rule that it breaks."""
    with pytest.raises(MalformedPacketError, match=said):
        parse(body)


@pytest.mark.parametrize("parse", [parse_connect, parse_packet_id, parse_subscribe, parse_unsubscribe])
@given(st.data())
def test_any_bytes_are_a_packet_or_malformed(parse: Callable[[bytes], object], data: st.DataObject) -> None:
    """No other exception, however near to a packet they are."""
    bodies = [b"", body_of(encode_connect(SAMPLE)), b"\x00\x01\x00\x01a\x00\x00\x01b\x01", b"\x00\x01\x00\x01a"]
    start = data.draw(st.sampled_from(bodies))
    body = bytearray(start[: data.draw(st.integers(0, len(start)))] + data.draw(st.binary(max_size=20)))
    for _ in range(data.draw(st.integers(0, 3)) if body else 0):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedPacketError):
        parse(bytes(body))


@given(st.integers(0, 255), st.binary(max_size=40))
def test_any_bytes_are_a_publish_or_malformed(first_byte: int, body: bytes) -> None:
    """No other exception."""
    for candidate in (body, b"\x00\x02/a" + body):
        with contextlib.suppress(MalformedPacketError):
            parse_publish(first_byte, candidate)


@given(st.binary(max_size=4))
def test_any_bytes_are_a_length_or_malformed(data: bytes) -> None:
    """Or more bytes are needed."""
    with contextlib.suppress(MalformedPacketError):
        assert (decode_length(data) or 0) <= 268_435_455
