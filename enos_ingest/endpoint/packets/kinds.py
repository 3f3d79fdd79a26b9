"""What packets there are, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "PUBLISH_FLAGS",
    "Ack",
    "ConnackCode",
    "Connect",
    "Disconnect",
    "MalformedPacketError",
    "Packet",
    "PacketType",
    "PingReq",
    "Publish",
    "Subscribe",
    "Unsubscribe",
    "UnsupportedVersionError",
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
    """A packet breaks the protocol, or a limit; its connection must be closed. [MQTT-4.8.0-1]"""


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


# Those below are made by the ten thousand a second: not frozen, which would cost more than all the rest of them.


@dataclass(slots=True)
class Publish:
    """A PUBLISH packet; `packet_id` is 0 for QoS 0.

    `size` is the payload's length in bytes; where it is more than `payload` holds, that is only its beginning.
    """

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    dup: bool
    retain: bool
    size: int


@dataclass(slots=True)
class Ack:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP."""

    kind: PacketType
    packet_id: int


@dataclass(slots=True)
class Subscribe:
    """A SUBSCRIBE packet: well-formed filters, each with the QoS asked for."""

    packet_id: int
    filters: list[tuple[str, int]]


@dataclass(slots=True)
class Unsubscribe:
    """An UNSUBSCRIBE packet: well-formed filters."""

    packet_id: int
    filters: list[str]


@dataclass(slots=True)
class PingReq:
    """A PINGREQ packet."""


@dataclass(slots=True)
class Disconnect:
    """A DISCONNECT packet."""


Packet = Connect | Publish | Ack | Subscribe | Unsubscribe | PingReq | Disconnect
"""What clients send."""

PUBLISH_FLAGS = tuple(
    None if qos == 3 or (qos == 0 and dup) else (qos, bool(dup), bool(retain))
    for dup in (0, 1)
    for qos in (0, 1, 2, 3)
    for retain in (0, 1)
)
"""QoS, DUP and RETAIN by the lower four bits of a PUBLISH's first byte; None for QoS 3 [MQTT-3.3.1-4], and for DUP
with QoS 0 [MQTT-3.3.1-2]."""
