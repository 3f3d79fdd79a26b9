"""The MQTT packets of a generator, made and read by hand: nothing is shared with what is measured."""

from __future__ import annotations

from enos_ingest.protocol.credentials import make_credentials
from enos_ingest.protocol.identity import DeviceId

__all__ = [
    "CONNACK",
    "DISCONNECT",
    "PUBACK",
    "PUBLISH",
    "SUBACK",
    "device_connect",
    "encode_connect",
    "encode_packet",
    "encode_subscribe",
    "encode_text",
    "read_packet",
]

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9

DISCONNECT = b"\xe0\x00"

_SIGNED_AT = 1_795_221_824_968
"""The timestamp in client ids, opaque to a hub: the same everywhere, so that all CONNECTs are as long."""


def device_connect(device: DeviceId, secret: str, *, keep_alive: int = 0) -> bytes:
    """A device's CONNECT, signed."""
    made = make_credentials(device, secret, _SIGNED_AT)
    return encode_connect(made.client_id, made.user_name, made.password, keep_alive=keep_alive)


def encode_connect(client_id: str, user_name: str, password: str, *, keep_alive: int = 0) -> bytes:
    """A CONNECT of MQTT 3.1.1 with a clean session; `keep_alive` in seconds, 0 for none."""
    header = encode_text(b"MQTT") + b"\x04\xc2" + keep_alive.to_bytes(2)
    return encode_packet(
        0x10, header + b"".join(encode_text(text.encode()) for text in (client_id, user_name, password))
    )


def encode_subscribe(packet_id: int, topic_filter: bytes, qos: int) -> bytes:
    """A SUBSCRIBE to one filter."""
    return encode_packet(0x82, packet_id.to_bytes(2) + encode_text(topic_filter) + bytes((qos,)))


def encode_packet(first: int, body: bytes) -> bytes:
    """A packet: its first byte, the length, the body."""
    length, header = len(body), bytearray((first,))
    while True:
        length, byte = length >> 7, length & 0x7F
        header.append(byte | 0x80 if length else byte)
        if not length:
            return bytes(header) + body


def encode_text(text: bytes) -> bytes:
    """A field with its length in front."""
    return len(text).to_bytes(2) + text


def read_packet(data: bytes, at: int) -> tuple[int, int, int] | None:
    """The packet that starts at `at`: its first byte, where its body starts and where it ends.

    None where it is not all there.
    """
    length = 0
    for index in range(at + 1, min(at + 5, len(data))):
        byte = data[index]
        length |= (byte & 0x7F) << (7 * (index - at - 1))
        if not byte & 0x80:
            end = index + 1 + length
            return None if end > len(data) else (data[at], index + 1, end)
    return None
