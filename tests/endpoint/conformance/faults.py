"""What a client may not send, each with the statement that it breaks where there is one."""

from __future__ import annotations

from typing import NamedTuple

from enos_ingest.endpoint.packets import Connect, PacketType, encode_ack, encode_connect, encode_publish
from tests.endpoint.raw import PINGREQ

__all__ = ["FIRST", "LATER", "SENT", "Fault"]


class Fault(NamedTuple):
    """Bytes that close a connection.

    `at` counts the bytes after which that must be clear; `said` is a part of the reason given.
    """

    name: str
    sent: bytes
    at: int
    said: str


SENT = encode_connect(Connect("gw-1", True, 60, "user", b"pass", None, b"", 0, False))


def _connect(flags: int, payload: bytes, *, head: bytes = b"\x00\x04MQTT\x04") -> bytes:
    body = head + bytes((flags,)) + b"\x00\x3c" + payload
    return bytes((0x10, len(body))) + body


def _in_connect(name: str, flags: int, payload: bytes, said: str) -> Fault:
    """What shows in a CONNECT when all of it is there."""
    sent = _connect(flags, payload)
    return Fault(name, sent, len(sent), said)


FIRST = [
    Fault("[MQTT-3.1.0-1] PINGREQ first", PINGREQ, 1, "no CONNECT"),
    Fault("[MQTT-3.1.0-1] PUBLISH first", encode_publish("a", b""), 1, "no CONNECT"),
    Fault("[MQTT-3.1.0-1] SUBSCRIBE first", b"\x82\x06\x00\x01\x00\x01a\x00", 1, "no CONNECT"),
    Fault("[MQTT-3.1.0-1] another protocol first", b"GET / HTTP/1.1\r\n\r\n", 1, "spoke HTTP"),
    Fault("[MQTT-2.2.2-2] CONNECT with flags", b"\x11" + _connect(2, b"\x00\x01a")[1:], 1, "no CONNECT"),
    Fault("endless length of CONNECT", b"\x10\x80\x80\x80\x80", 5, "more than 4 bytes"),
    Fault("[MQTT-3.1.4-1] CONNECT without a body", b"\x10\x00", 2, "inside a field"),
    Fault("[MQTT-3.1.4-1] CONNECT without flags", b"\x10\x07\x00\x04MQTT\x04", 9, "inside a field"),
    _in_connect("[MQTT-3.1.2-3] reserved flag", 0x03, b"\x00\x01a", "reserved flag"),
    _in_connect("[MQTT-3.1.2-13] QoS of no will", 0x0A, b"\x00\x01a", "will flags"),
    _in_connect("[MQTT-3.1.2-14] will of QoS 3", 0x1E, b"\x00\x01a\x00\x01t\x00\x01m", "will flags"),
    _in_connect("[MQTT-3.1.2-15] no will to retain", 0x22, b"\x00\x01a", "will flags"),
    _in_connect("[MQTT-3.1.2-9] will without a message", 0x06, b"\x00\x01a\x00\x01t", "inside a field"),
    _in_connect("[MQTT-3.1.2-11] message of no will", 0x02, b"\x00\x01a\x00\x01t\x00\x01m", "bytes after"),
    _in_connect("[MQTT-3.1.2-18] user name without its flag", 0x02, b"\x00\x01a\x00\x01u", "bytes after"),
    _in_connect("[MQTT-3.1.2-19] no user name", 0x82, b"\x00\x01a", "inside a field"),
    _in_connect("[MQTT-3.1.2-20] password without its flag", 0x82, b"\x00\x01a\x00\x01u\x00\x01p", "bytes after"),
    _in_connect("[MQTT-3.1.2-21] no password", 0xC2, b"\x00\x01a\x00\x01u", "inside a field"),
    _in_connect("[MQTT-3.1.2-22] password without user name", 0x42, b"\x00\x01a\x00\x01p", "password without"),
    _in_connect("[MQTT-3.1.3-3] no client id", 0x02, b"", "inside a field"),
    _in_connect("[MQTT-3.1.3-4] client id that is no UTF-8", 0x02, b"\x00\x01\xff", "not UTF-8"),
    _in_connect("[MQTT-1.5.3-2] client id with NUL", 0x02, b"\x00\x01\x00", "NUL"),
    _in_connect("[MQTT-3.1.3-10] will topic that is no UTF-8", 0x06, b"\x00\x01a\x00\x01\xff\x00\x01m", "not UTF-8"),
    _in_connect("[MQTT-4.7.1-1] will topic with #", 0x06, b"\x00\x01a\x00\x01#\x00\x01m", "will topic"),
    _in_connect("[MQTT-4.7.3-1] empty will topic", 0x06, b"\x00\x01a\x00\x00\x00\x01m", "will topic"),
    _in_connect("[MQTT-3.1.3-11] user name that is no UTF-8", 0x82, b"\x00\x01a\x00\x01\xff", "not UTF-8"),
]
"""In place of a CONNECT, or in one."""

LATER = [
    Fault("[MQTT-3.1.0-2] second CONNECT", SENT, 1, "packet type 1"),
    *(
        Fault(f"type {kind}", bytes((kind << 4, 0)), 1, f"packet type {kind} is not for connected clients")
        for kind in (0, 2, 9, 11, 13, 15)
    ),
    Fault("[MQTT-2.2.2-2] PUBACK flags", b"\x41\x02\x00\x01", 1, "PUBACK with flags 0001"),
    Fault("[MQTT-2.2.2-2] PUBREC flags", b"\x52\x02\x00\x01", 1, "PUBREC with flags"),
    Fault("[MQTT-3.6.1-1] PUBREL flags", b"\x60\x02\x00\x01", 1, "PUBREL with flags 0000"),
    Fault("[MQTT-2.2.2-2] PUBCOMP flags", b"\x78\x02\x00\x01", 1, "PUBCOMP with flags"),
    Fault("[MQTT-3.8.1-1] SUBSCRIBE flags", b"\x80\x06\x00\x01\x00\x01a\x00", 1, "SUBSCRIBE with flags"),
    Fault("[MQTT-3.10.1-1] UNSUBSCRIBE flags", b"\xa0\x05\x00\x01\x00\x01a", 1, "UNSUBSCRIBE with flags"),
    Fault("[MQTT-2.2.2-2] PINGREQ flags", b"\xc1\x00", 1, "PINGREQ with flags"),
    Fault("[MQTT-3.14.1-1] DISCONNECT flags", b"\xe8\x00", 1, "DISCONNECT with flags"),
    Fault("endless length", b"\x30\xff\xff\xff\xff\x01", 5, "more than 4 bytes"),
    Fault("[MQTT-3.3.1-4] QoS 3", b"\x36\x05\x00\x01a\x00\x01", 1, "QoS 3"),
    Fault("[MQTT-3.3.1-4] QoS 3 with DUP", b"\x3f\x05\x00\x01a\x00\x01", 1, "QoS 3"),
    Fault("[MQTT-3.3.1-2] QoS 0 with DUP", b"\x38\x03\x00\x01a", 1, "QoS 0 and DUP"),
    Fault("[MQTT-3.3.2-1] no topic", b"\x30\x00", 2, "inside a field"),
    Fault("[MQTT-3.3.2-1] half a length of a topic", b"\x30\x01\x00", 2, "inside a field"),
    Fault("[MQTT-3.3.2-1] topic longer than the packet", b"\x30\x03\x00\x02a", 4, "inside a field"),
    Fault("[MQTT-3.3.2-1] topic over all of it", b"\x32\x04\xff\xffab", 4, "inside a field"),
    Fault("[MQTT-2.3.1-1] no packet id", b"\x32\x03\x00\x01a", 4, "inside a field"),
    Fault("[MQTT-2.3.1-1] half a packet id", b"\x34\x04\x00\x01a\x01", 4, "inside a field"),
    Fault("[MQTT-2.3.1-1] packet id 0", b"\x32\x05\x00\x01a\x00\x00", 7, "packet id 0"),
    Fault("[MQTT-1.5.3-1] topic that is no UTF-8", b"\x30\x04\x00\x02a\xff", 6, "not UTF-8"),
    Fault("[MQTT-1.5.3-1] topic with a surrogate", b"\x30\x05\x00\x03\xed\xa0\x80", 7, "not UTF-8"),
    Fault("[MQTT-1.5.3-1] topic in too many bytes", b"\x30\x04\x00\x02\xc0\xaf", 6, "not UTF-8"),
    Fault("[MQTT-1.5.3-2] topic with NUL", b"\x30\x05\x00\x03a\x00b", 7, "NUL"),
    Fault("[MQTT-4.7.3-1] empty topic", b"\x30\x02\x00\x00", 4, "no topic name"),
    Fault("[MQTT-3.3.2-2] topic with +", b"\x30\x05\x00\x03a/+", 7, "no topic name"),
    Fault("[MQTT-4.7.1-1] topic with #", b"\x30\x05\x00\x03a/#", 7, "no topic name"),
    Fault("the server's own topic", b"\x30\x06\x00\x04$SYS", 8, "no topic name"),
    Fault("long topic with +", b"\x30\xae\x02\x01\x2c" + b"+" * 300, 305, "no topic name"),
    *(
        Fault(f"[MQTT-2.3.1-1] {kind.name} with packet id 0", encode_ack(kind, 0), 4, "packet id 0")
        for kind in (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP)
    ),
    Fault("short PUBACK", b"\x40\x01\x00", 2, "PUBACK with a body of 1 bytes"),
    Fault("long PUBACK", b"\x40\x03\x00\x01\x00", 2, "PUBACK with a body of 3 bytes"),
    Fault("empty PUBREL", b"\x62\x00", 2, "PUBREL with a body of 0 bytes"),
    Fault("PINGREQ with a body", b"\xc0\x01a", 2, "PINGREQ with a body"),
    Fault("DISCONNECT with a body", b"\xe0\x01a", 2, "DISCONNECT with a body"),
    Fault("[MQTT-2.3.1-1] SUBSCRIBE with packet id 0", b"\x82\x06\x00\x00\x00\x01a\x00", 8, "packet id 0"),
    Fault("[MQTT-3.8.3-3] SUBSCRIBE without a filter", b"\x82\x02\x00\x01", 4, "without a filter"),
    Fault("[MQTT-3-8.3-4] SUBSCRIBE with QoS 3", b"\x82\x06\x00\x01\x00\x01a\x03", 8, "QoS byte 3"),
    Fault("[MQTT-3-8.3-4] SUBSCRIBE with reserved bits", b"\x82\x06\x00\x01\x00\x01a\x41", 8, "QoS byte 65"),
    Fault("[MQTT-3.8.3-1] filter that is no UTF-8", b"\x82\x06\x00\x01\x00\x01\xff\x00", 8, "not UTF-8"),
    Fault("[MQTT-4.7.1-2] filter a#", b"\x82\x07\x00\x01\x00\x02a#\x00", 9, "no topic filter"),
    Fault("[MQTT-4.7.1-3] filter a+", b"\x82\x07\x00\x01\x00\x02a+\x00", 9, "no topic filter"),
    Fault("[MQTT-4.7.3-1] empty filter", b"\x82\x05\x00\x01\x00\x00\x00", 7, "no topic filter"),
    Fault("[MQTT-4.7.3-2] filter with NUL", b"\x82\x06\x00\x01\x00\x01\x00\x00", 8, "NUL"),
    Fault("SUBSCRIBE without a QoS", b"\x82\x05\x00\x01\x00\x01a", 7, "inside a field"),
    Fault("[MQTT-2.3.1-1] UNSUBSCRIBE with packet id 0", b"\xa2\x05\x00\x00\x00\x01a", 7, "packet id 0"),
    Fault("[MQTT-3.10.3-2] UNSUBSCRIBE without a filter", b"\xa2\x02\x00\x01", 4, "without a filter"),
    Fault("[MQTT-3.10.3-1] UNSUBSCRIBE, filter that is no UTF-8", b"\xa2\x05\x00\x01\x00\x01\xff", 7, "not UTF-8"),
    Fault("UNSUBSCRIBE, filter longer than the packet", b"\xa2\x05\x00\x01\x00\x02a", 7, "inside a field"),
    Fault("[MQTT-4.7.1-2] UNSUBSCRIBE from a#", b"\xa2\x06\x00\x01\x00\x02a#", 8, "no topic filter"),
]
"""After CONNECT."""
