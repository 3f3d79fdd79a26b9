"""Packets from their bodies, once these are complete; strict."""

from __future__ import annotations

import functools

from enos_ingest.endpoint.packets.kinds import (
    PUBLISH_FLAGS,
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
)
from enos_ingest.protocol.topics import is_filter, is_topic_name

__all__ = [
    "check_flags",
    "decode_length",
    "parse_connect",
    "parse_packet",
    "parse_packet_id",
    "parse_publish",
    "parse_subscribe",
    "parse_topic_name",
    "parse_unsubscribe",
    "publish_flags",
]

_FROM_CLIENT: tuple[tuple[PacketType, int | None] | None, ...] = (
    None,
    None,
    None,
    (PacketType.PUBLISH, None),
    (PacketType.PUBACK, 0),
    (PacketType.PUBREC, 0),
    (PacketType.PUBREL, 2),
    (PacketType.PUBCOMP, 0),
    (PacketType.SUBSCRIBE, 2),
    None,
    (PacketType.UNSUBSCRIBE, 2),
    None,
    (PacketType.PINGREQ, 0),
    None,
    (PacketType.DISCONNECT, 0),
    None,
)
"""By number the packets that a connected client may send, with their flags; those of PUBLISH vary."""

_LENGTH_BYTES = 4

_KEPT_NAMES = 16_384
_KEPT_NAME_BYTES = 256
"""Topic names that are kept decoded and checked, some 10 MB at the most: those of a few thousand devices, and none that
a stranger made as long as MQTT allows."""


def check_flags(first_byte: int) -> PacketType:
    """The type of a packet that a connected client may send.

    Raises:
        MalformedPacketError: a reserved type, one that only servers send, a second CONNECT [MQTT-3.1.0-2], or
            wrong flags [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1].
    """
    allowed, flags = _FROM_CLIENT[first_byte >> 4], first_byte & 0x0F
    if allowed is None:
        raise MalformedPacketError(f"packet type {first_byte >> 4} is not for connected clients to send")
    kind, wanted = allowed
    if wanted is not None and flags != wanted:
        raise MalformedPacketError(f"{kind.name} with flags {flags:04b}")
    return kind


def decode_length(data: bytes | bytearray) -> int | None:
    """The remaining length in a complete encoding of 1 to 4 bytes; None where more bytes are needed.

    Raises:
        MalformedPacketError: a fourth byte says that there are more. [MQTT 2.2.3]
    """
    value = 0
    for position, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * position)
        if not byte & 0x80:
            return value
    if len(data) >= _LENGTH_BYTES:
        raise MalformedPacketError("remaining length of more than 4 bytes")
    return None


class _Fields:
    """Reads the fields of a packet body from front to back."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._body):
            raise MalformedPacketError("packet ends inside a field")
        data = self._body[self._position : end]
        self._position = end
        return data

    def number(self) -> int:
        return int.from_bytes(self.take(2))

    def packet_id(self) -> int:
        packet_id = self.number()
        if not packet_id:
            raise MalformedPacketError("packet id 0 [MQTT-2.3.1-1]")
        return packet_id

    def data(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return _decode(self.data())

    def filter(self) -> str:
        topic_filter = self.text()
        if not is_filter(topic_filter):
            # [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.3-1]
            raise MalformedPacketError(f"{topic_filter[:100]!r} is no topic filter")
        return topic_filter

    @property
    def remaining(self) -> int:
        return len(self._body) - self._position

    def rest(self) -> bytes:
        return self.take(self.remaining)


def _version(name: bytes, level: int) -> str:
    """What people call a version of MQTT."""
    known = {(b"MQIsdp", 3): "MQTT 3.1", (b"MQTT", 5): "MQTT 5"}
    protocol = name[:10].decode("ascii", "backslashreplace")
    return known.get((name, level)) or f"level {level} of the protocol {protocol!r}"


def parse_connect(body: bytes) -> Connect:
    """The body of a CONNECT packet. [MQTT 3.1] [MQTT-3.1.4-1]

    Raises:
        UnsupportedVersionError: another protocol or level than MQTT 3.1.1 [MQTT-3.1.2-1] [MQTT-3.1.2-2].
        MalformedPacketError: anything else that the specification forbids.
    """
    fields = _Fields(body)
    name, level = fields.data(), fields.take(1)[0]
    if (name, level) != (b"MQTT", 4):
        raise UnsupportedVersionError(f"{_version(name, level)} is not served, MQTT 3.1.1 is")
    flags = fields.take(1)[0]
    if flags & 1:
        raise MalformedPacketError("reserved flag of CONNECT is set [MQTT-3.1.2-3]")
    has_will, will_qos, will_retain = bool(flags & 4), flags >> 3 & 3, bool(flags & 32)
    if will_qos == 3 or (not has_will and (will_qos or will_retain)):
        # [MQTT-3.1.2-11] [MQTT-3.1.2-14] [MQTT-3.1.2-15]
        raise MalformedPacketError("will flags of CONNECT contradict each other [MQTT-3.1.2-13]")
    has_user_name, has_password = bool(flags & 128), bool(flags & 64)
    if has_password and not has_user_name:
        raise MalformedPacketError("password without user name [MQTT-3.1.2-22]")
    keep_alive, client_id = fields.number(), fields.text()  # [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.3-4]
    will_topic, will_message = (fields.text(), fields.data()) if has_will else (None, b"")  # [MQTT-3.1.3-10]
    if will_topic is not None and not is_topic_name(will_topic):
        raise MalformedPacketError("will topic is no topic name [MQTT-4.7.1-1]")
    connect = Connect(
        client_id=client_id,
        clean_session=bool(flags & 2),
        keep_alive=keep_alive,
        user_name=fields.text() if has_user_name else None,  # [MQTT-3.1.2-19] [MQTT-3.1.3-11]
        password=fields.data() if has_password else None,  # [MQTT-3.1.2-21]
        will_topic=will_topic,
        will_message=will_message,
        will_qos=will_qos,
        will_retain=will_retain,
    )
    if fields.remaining:
        # [MQTT-3.1.2-18] [MQTT-3.1.2-20]: there is a field that no flag speaks of.
        raise MalformedPacketError("bytes after the last field of CONNECT")
    return connect


def parse_packet(first_byte: int, body: bytes) -> Packet:
    """Any packet that a connected client may send.

    Raises:
        MalformedPacketError: what `check_flags` and the functions for single packets raise it for, and PINGREQ or
            DISCONNECT with a body.
    """
    kind = check_flags(first_byte)
    if kind is PacketType.PUBLISH:
        return parse_publish(first_byte, body)
    if kind is PacketType.SUBSCRIBE:
        return Subscribe(*parse_subscribe(body))
    if kind is PacketType.UNSUBSCRIBE:
        return Unsubscribe(*parse_unsubscribe(body))
    if kind in (PacketType.PINGREQ, PacketType.DISCONNECT):
        if body:
            raise MalformedPacketError(f"{kind.name} with a body")
        return PingReq() if kind is PacketType.PINGREQ else Disconnect()
    return Ack(kind, parse_packet_id(body))


def parse_publish(first_byte: int, body: bytes) -> Publish:
    """A PUBLISH packet. [MQTT 3.3]

    Raises:
        MalformedPacketError: QoS 3, DUP with QoS 0, packet id 0, or a topic that is no topic name.
    """
    qos, dup, retain = publish_flags(first_byte)
    fields = _Fields(body)
    topic = parse_topic_name(fields.data())  # [MQTT-3.3.2-1]
    packet_id = fields.packet_id() if qos else 0  # [MQTT-2.3.1-5]
    payload = fields.rest()
    return Publish(topic, payload, qos, packet_id, dup, retain, len(payload))


def publish_flags(first_byte: int) -> tuple[int, bool, bool]:
    """QoS, DUP and RETAIN of a PUBLISH.

    Raises:
        MalformedPacketError: QoS 3, or DUP with QoS 0.
    """
    flags = PUBLISH_FLAGS[first_byte & 0x0F]
    if flags is None:
        if first_byte & 6:
            raise MalformedPacketError("PUBLISH with QoS 3 [MQTT-3.3.1-4]")
        raise MalformedPacketError("PUBLISH with QoS 0 and DUP [MQTT-3.3.1-2]")
    return flags


def parse_topic_name(data: bytes) -> str:
    """The topic name in its bytes.

    Raises:
        MalformedPacketError: not UTF-8, or not what `is_topic_name` lets pass.
    """
    return _parse_name_and_keep(data) if len(data) <= _KEPT_NAME_BYTES else _parse_name(data)


def _parse_name(data: bytes) -> str:
    name = _decode(data)
    if not is_topic_name(name):
        # [MQTT-3.3.2-2] [MQTT-4.7.1-1] [MQTT-4.7.3-1]
        raise MalformedPacketError(f"{name[:100]!r} is no topic name")
    return name


_parse_name_and_keep = functools.lru_cache(_KEPT_NAMES)(_parse_name)


def parse_packet_id(body: bytes) -> int:
    """The packet id that is all of an acknowledgement. [MQTT 3.4]"""
    if len(body) != 2:
        raise MalformedPacketError("acknowledgement is not 2 bytes long")
    return _Fields(body).packet_id()


def parse_subscribe(body: bytes) -> tuple[int, list[tuple[str, int]]]:
    """The packet id of a SUBSCRIBE packet, and its filters with the QoS asked for. [MQTT 3.8]

    Raises:
        MalformedPacketError: no filter [MQTT-3.8.3-3], one that is malformed, or a QoS above 2 [MQTT-3-8.3-4].
    """
    fields = _Fields(body)
    packet_id, filters = fields.packet_id(), []
    while fields.remaining:
        topic_filter, qos = fields.filter(), fields.take(1)[0]  # [MQTT-3.8.3-1]
        if qos > 2:
            raise MalformedPacketError(f"SUBSCRIBE with QoS byte {qos} [MQTT-3-8.3-4]")
        filters.append((topic_filter, qos))
    if not filters:
        raise MalformedPacketError("SUBSCRIBE without a filter [MQTT-3.8.3-3]")
    return packet_id, filters


def parse_unsubscribe(body: bytes) -> tuple[int, list[str]]:
    """The packet id of an UNSUBSCRIBE packet, and its filters. [MQTT 3.10]

    Raises:
        MalformedPacketError: no filter [MQTT-3.10.3-2], or one that is malformed.
    """
    fields = _Fields(body)
    packet_id, filters = fields.packet_id(), []
    while fields.remaining:
        filters.append(fields.filter())  # [MQTT-3.10.3-1]
    if not filters:
        raise MalformedPacketError("UNSUBSCRIBE without a filter [MQTT-3.10.3-2]")
    return packet_id, filters


def _decode(data: bytes) -> str:
    try:
        text = data.decode()  # a BOM is a character like others [MQTT-1.5.3-3]
    except UnicodeDecodeError:
        raise MalformedPacketError("text is not UTF-8 [MQTT-1.5.3-1]") from None
    if "\0" in text:
        raise MalformedPacketError("text holds a NUL [MQTT-1.5.3-2]")
    return text
