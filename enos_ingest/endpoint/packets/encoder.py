"""Packets to bytes."""

from __future__ import annotations

import struct

from enos_ingest.endpoint.packets.kinds import ConnackCode, Connect, PacketType

__all__ = [
    "PINGRESP",
    "encode_ack",
    "encode_connack",
    "encode_connect",
    "encode_publish",
    "encode_publish_to",
    "encode_suback",
    "encode_topic",
    "encode_unsuback",
]

PINGRESP = bytes((PacketType.PINGRESP << 4, 0))
"""The one packet that is always the same."""

_head_of_ack = struct.Struct(">BBH").pack
_head_2 = struct.Struct(">BB").pack
_head_3 = struct.Struct(">BBB").pack


def encode_connack(code: ConnackCode) -> bytes:
    """A CONNACK without a stored session. [MQTT-3.2.2-1] [MQTT-3.2.2-3] [MQTT-3.2.2-4]"""
    return bytes((PacketType.CONNACK << 4, 2, 0, code))


def encode_ack(kind: PacketType, packet_id: int) -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP."""
    return _head_of_ack(0x62 if kind == 6 else kind << 4, 2, packet_id)


def encode_suback(packet_id: int, codes: list[int]) -> bytes:
    """A SUBACK with a code for each filter, in their order. [MQTT-3.9.3-1]"""
    return _packet(PacketType.SUBACK << 4, packet_id.to_bytes(2) + bytes(codes))


def encode_unsuback(packet_id: int) -> bytes:
    """An UNSUBACK."""
    return _head_of_ack(PacketType.UNSUBACK << 4, 2, packet_id)


def encode_connect(connect: Connect) -> bytes:
    """A CONNECT packet."""
    flags = connect.clean_session << 1
    payload = encode_topic(connect.client_id)
    if connect.will_topic is not None:
        flags |= 4 | connect.will_qos << 3 | connect.will_retain << 5
        payload += encode_topic(connect.will_topic) + _data(connect.will_message)
    if connect.user_name is not None:
        flags |= 128
        payload += encode_topic(connect.user_name)
    if connect.password is not None:
        flags |= 64
        payload += _data(connect.password)
    header = _data(b"MQTT") + bytes((4, flags)) + connect.keep_alive.to_bytes(2)
    return _packet(PacketType.CONNECT << 4, header + payload)


def encode_publish(topic: str, payload: bytes, *, qos: int = 0, packet_id: int = 0) -> bytes:
    """A PUBLISH packet."""
    return encode_publish_to(encode_topic(topic), payload, qos, packet_id)


def encode_topic(topic: str) -> bytes:
    """A topic as `encode_publish_to` takes it, for those that send to the same topic often."""
    return _data(topic.encode())


def encode_publish_to(encoded_topic: bytes, payload: bytes, qos: int, packet_id: int) -> bytes:
    """A PUBLISH packet to a topic that is encoded already; of QoS 0 it has no packet id."""
    if qos:
        encoded_topic += packet_id.to_bytes(2)
    return _head(0x30 | qos << 1, len(encoded_topic) + len(payload)) + encoded_topic + payload


def _packet(first_byte: int, body: bytes) -> bytes:
    return _head(first_byte, len(body)) + body


def _head(first_byte: int, length: int) -> bytes:
    """The first byte of a packet and its remaining length. [MQTT 2.2.3]"""
    if length < 128:
        return _head_2(first_byte, length)
    if length < 16_384:
        return _head_3(first_byte, length & 0x7F | 0x80, length >> 7)
    encoded = bytearray((first_byte,))
    while length > 127:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def _data(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data
