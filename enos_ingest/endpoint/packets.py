"""MQTT 3.1.1 packets from bytes and to bytes, as far as the endpoint looks into them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from enos_ingest.protocol.topics import is_topic_name

__all__ = [
    "ConnackCode",
    "Connect",
    "MalformedPacketError",
    "PacketType",
    "Publish",
    "UnsupportedVersionError",
    "check_flags",
    "decode_length",
    "encode_ack",
    "encode_connack",
    "encode_connect",
    "encode_publish",
    "parse_connect",
    "parse_packet_id",
    "parse_publish",
    "parse_subscribe",
    "parse_unsubscribe",
]


class PacketType(IntEnum):
    """Control packet types. [MQTT 2.2.1]"""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class ConnackCode(IntEnum):
    """Return codes of CONNACK. [MQTT 3.2.2.3]"""

    ACCEPTED = 0
    UNACCEPTABLE_VERSION = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_CREDENTIALS = 4
    NOT_AUTHORIZED = 5


class MalformedPacketError(Exception):
    """A packet breaks the protocol; the connection must be closed. [MQTT-4.8.0-1]"""


class UnsupportedVersionError(MalformedPacketError):
    """A CONNECT of another version than MQTT 3.1.1."""


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT packet; absent fields are None. `keep_alive` is seconds, 0 for none."""

    client_id: str
    clean_session: bool
    keep_alive: int
    user_name: str | None
    password: bytes | None
    will_topic: str | None
    will_message: bytes
    will_qos: int
    will_retain: bool


@dataclass(frozen=True, slots=True)
class Publish:
    """A PUBLISH packet; `packet_id` is 0 for QoS 0."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    retain: bool


_FLAGS = {PacketType.PUBREL: 2, PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2}
_FROM_CLIENT = frozenset(PacketType) - {
    PacketType.CONNECT,
    PacketType.CONNACK,
    PacketType.SUBACK,
    PacketType.UNSUBACK,
    PacketType.PINGRESP,
}
_LENGTH_BYTES = 4


def check_flags(first_byte: int) -> PacketType:
    """The type of a packet that a connected client may send.

    Raises:
        MalformedPacketError: a reserved type, one that only servers send, a second CONNECT [MQTT-3.1.0-2], or
            wrong flags [MQTT-2.2.2-2].
    """
    number, flags = first_byte >> 4, first_byte & 0x0F
    if number not in _FROM_CLIENT:
        raise MalformedPacketError(f"packet type {number} is not for clients to send")
    kind = PacketType(number)
    if kind is not PacketType.PUBLISH and flags != _FLAGS.get(kind, 0):
        raise MalformedPacketError(f"{kind.name} with flags {flags:04b}")
    return kind


def decode_length(data: bytes) -> int | None:
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

    def data(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        try:
            text = self.data().decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedPacketError("text is not UTF-8 [MQTT-1.5.3-1]") from None
        if "\0" in text:
            raise MalformedPacketError("text holds a NUL [MQTT-1.5.3-2]")
        return text

    @property
    def remaining(self) -> int:
        return len(self._body) - self._position

    def rest(self) -> bytes:
        return self.take(self.remaining)


def parse_connect(body: bytes) -> Connect:
    """The body of a CONNECT packet. [MQTT 3.1]

    Raises:
        UnsupportedVersionError: another protocol or level than MQTT 3.1.1.
        MalformedPacketError: anything else that the specification forbids.
    """
    fields = _Fields(body)
    name, level = fields.data(), fields.take(1)[0]
    if (name, level) != (b"MQTT", 4):
        raise UnsupportedVersionError(f"protocol {name[:10]!r} level {level}")
    flags = fields.take(1)[0]
    if flags & 1:
        raise MalformedPacketError("reserved flag of CONNECT is set [MQTT-3.1.2-3]")
    has_will, will_qos, will_retain = bool(flags & 4), flags >> 3 & 3, bool(flags & 32)
    if will_qos == 3 or (not has_will and (will_qos or will_retain)):
        raise MalformedPacketError("will flags of CONNECT contradict each other [MQTT-3.1.2-13]")
    has_user_name, has_password = bool(flags & 128), bool(flags & 64)
    if has_password and not has_user_name:
        raise MalformedPacketError("password without user name [MQTT-3.1.2-22]")
    keep_alive, client_id = fields.number(), fields.text()
    will_topic, will_message = (fields.text(), fields.data()) if has_will else (None, b"")
    if will_topic is not None and not is_topic_name(will_topic):
        raise MalformedPacketError("will topic is no topic name")
    connect = Connect(
        client_id=client_id,
        clean_session=bool(flags & 2),
        keep_alive=keep_alive,
        user_name=fields.text() if has_user_name else None,
        password=fields.data() if has_password else None,
        will_topic=will_topic,
        will_message=will_message,
        will_qos=will_qos,
        will_retain=will_retain,
    )
    if fields.rest():
        raise MalformedPacketError("bytes after the last field of CONNECT")
    return connect


def parse_publish(first_byte: int, body: bytes) -> Publish:
    """A PUBLISH packet. [MQTT 3.3]

    Raises:
        MalformedPacketError: QoS 3, DUP with QoS 0, packet id 0, or a topic that is no topic name.
    """
    qos, fields = first_byte >> 1 & 3, _Fields(body)
    if qos == 3:
        raise MalformedPacketError("PUBLISH with QoS 3 [MQTT-3.3.1-4]")
    if qos == 0 and first_byte & 8:
        raise MalformedPacketError("PUBLISH with QoS 0 and DUP [MQTT-3.3.1-2]")
    topic = fields.text()
    if not is_topic_name(topic):
        raise MalformedPacketError(f"PUBLISH to {topic[:100]!r}, which is no topic name [MQTT-3.3.2-2]")
    packet_id = _packet_id(fields) if qos else 0
    return Publish(topic, fields.rest(), qos, packet_id, bool(first_byte & 1))


def parse_packet_id(body: bytes) -> int:
    """The packet id that is all of an acknowledgement. [MQTT 3.4]"""
    if len(body) != 2:
        raise MalformedPacketError("acknowledgement is not 2 bytes long")
    return _packet_id(_Fields(body))


def parse_subscribe(body: bytes) -> tuple[int, list[tuple[str, int]]]:
    """The packet id of a SUBSCRIBE packet, and its filters with the QoS asked for. [MQTT 3.8]

    Raises:
        MalformedPacketError: no filter [MQTT-3.8.3-3], or a QoS above 2 [MQTT-3-8.3-4]. A filter that is
            malformed itself is for SUBACK to refuse.
    """
    fields = _Fields(body)
    packet_id, filters = _packet_id(fields), []
    while fields.remaining:
        topic_filter, qos = fields.text(), fields.take(1)[0]
        if qos > 2:
            raise MalformedPacketError(f"SUBSCRIBE with QoS byte {qos}")
        filters.append((topic_filter, qos))
    if not filters:
        raise MalformedPacketError("SUBSCRIBE without a filter")
    return packet_id, filters


def parse_unsubscribe(body: bytes) -> tuple[int, list[str]]:
    """The packet id of an UNSUBSCRIBE packet, and its filters. [MQTT 3.10]"""
    fields = _Fields(body)
    packet_id, filters = _packet_id(fields), []
    while fields.remaining:
        filters.append(fields.text())
    if not filters:
        raise MalformedPacketError("UNSUBSCRIBE without a filter [MQTT-3.10.3-2]")
    return packet_id, filters


def encode_connack(code: ConnackCode) -> bytes:
    """A CONNACK without a stored session."""
    return bytes((PacketType.CONNACK << 4, 2, 0, code))


def encode_ack(kind: PacketType, packet_id: int) -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP."""
    return bytes((kind << 4 | _FLAGS.get(kind, 0), 2)) + packet_id.to_bytes(2)


def encode_connect(connect: Connect) -> bytes:
    """A CONNECT packet."""
    flags = connect.clean_session << 1
    payload = _text(connect.client_id)
    if connect.will_topic is not None:
        flags |= 4 | connect.will_qos << 3 | connect.will_retain << 5
        payload += _text(connect.will_topic) + _data(connect.will_message)
    if connect.user_name is not None:
        flags |= 128
        payload += _text(connect.user_name)
    if connect.password is not None:
        flags |= 64
        payload += _data(connect.password)
    header = _data(b"MQTT") + bytes((4, flags)) + connect.keep_alive.to_bytes(2)
    return _packet(PacketType.CONNECT << 4, header + payload)


def encode_publish(topic: str, payload: bytes, *, qos: int = 0, packet_id: int = 0) -> bytes:
    """A PUBLISH packet."""
    header = _text(topic) + (packet_id.to_bytes(2) if qos else b"")
    return _packet(PacketType.PUBLISH << 4 | qos << 1, header + payload)


def _packet(first_byte: int, body: bytes) -> bytes:
    length, encoded = len(body), bytearray((first_byte,))
    while True:
        length, byte = length >> 7, length & 0x7F
        encoded.append(byte | 0x80 if length else byte)
        if not length:
            return bytes(encoded) + body


def _packet_id(fields: _Fields) -> int:
    packet_id = fields.number()
    if not packet_id:
        raise MalformedPacketError("packet id 0 [MQTT-2.3.1-1]")
    return packet_id


def _text(text: str) -> bytes:
    return _data(text.encode())


def _data(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data
