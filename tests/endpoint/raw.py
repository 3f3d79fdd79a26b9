"""A client that sends exactly the bytes a test gives it, and reads packets one by one."""

from __future__ import annotations

import select
import socket
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from enos_ingest.endpoint.packets import (
    Connect,
    PacketType,
    Publish,
    decode_length,
    encode_ack,
    encode_connect,
    encode_publish,
    parse_publish,
)
from tests.endpoint.waiting import DEADLINE

if TYPE_CHECKING:
    from enos_ingest.protocol.credentials import Credentials
    from enos_ingest.testing.hub import Hub

__all__ = ["DISCONNECT", "PINGREQ", "Packet", "RawClient", "connect_packet", "subscribe_packet", "unsubscribe_packet"]

PINGREQ = bytes((PacketType.PINGREQ << 4, 0))
DISCONNECT = bytes((PacketType.DISCONNECT << 4, 0))


class Packet(NamedTuple):
    """A packet as it came: its first byte and what follows the length."""

    first_byte: int
    body: bytes

    @property
    def kind(self) -> PacketType:
        """Its type."""
        return PacketType(self.first_byte >> 4)

    @property
    def publish(self) -> Publish:
        """Its parts, where it is a PUBLISH."""
        assert self.kind is PacketType.PUBLISH, self
        return parse_publish(self.first_byte, self.body)


class RawClient:
    """One TCP connection to a hub; closed at the end of a `with` block.

    Args:
        send_buffer, receive_buffer: bytes that the kernel keeps for this end, 0 for its default.
        source: the address to come from, "" for the kernel's choice.
    """

    def __init__(self, hub: Hub, *, send_buffer: int = 0, receive_buffer: int = 0, source: str = "") -> None:
        self._early: deque[Packet] = deque()
        self.socket = socket.socket()
        self.socket.settimeout(DEADLINE)
        if send_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect((hub.host, hub.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, *packets: bytes) -> None:
        """Send bytes, all at once."""
        self.socket.sendall(b"".join(packets))

    def receive(self) -> Packet | None:
        """The next packet; None where the hub has closed the connection."""
        return self._early.popleft() if self._early else self._next()

    def expect(self, kind: PacketType) -> Packet:
        """The next packet, which must be of this type."""
        received = self.receive()
        assert received is not None, f"closed instead of {kind.name}"
        assert received.kind is kind, received
        return received

    def receives_nothing(self) -> bool:
        """Whether nothing has come, and the connection is open."""
        return not self._early and not select.select([self.socket], [], [], 0)[0]

    def rest(self) -> list[Packet]:
        """Everything until the hub closes the connection; TimeoutError if it does not."""
        return list(iter(self.receive, None))

    def connect(self, sent: bytes) -> int:
        """Send CONNECT and return the code of CONNACK."""
        self.send(sent)
        return self.expect(PacketType.CONNACK).body[1]

    def subscribe(self, *filters: str, qos: int = 0, packet_id: int = 1) -> list[int]:
        """Subscribe and return what SUBACK says of each filter."""
        self.send(subscribe_packet(*filters, qos=qos, packet_id=packet_id))
        return list(self.expect(PacketType.SUBACK).body[2:])

    def unsubscribe(self, *filters: str, packet_id: int = 1) -> None:
        """Unsubscribe and wait for UNSUBACK."""
        self.send(unsubscribe_packet(*filters, packet_id=packet_id))
        self.expect(PacketType.UNSUBACK)

    def publish(self, topic: str, payload: bytes, packet_id: int = 1) -> None:
        """Publish with QoS 1 and wait for PUBACK; what comes before it, such as the reply, is received next."""
        self.send(encode_publish(topic, payload, qos=1, packet_id=packet_id))
        before: list[Packet] = []
        while (packet := self._next()) is not None and packet.kind is not PacketType.PUBACK:
            before.append(packet)
        assert packet is not None, "closed instead of PUBACK"
        assert packet.body == packet_id.to_bytes(2)
        self._early.extend(before)

    def acknowledged(self, count: int) -> list[int]:
        """The packet ids of the next so many PUBACKs, in their order, whatever else comes between them."""
        found: list[int] = []
        while len(found) < count:
            packet = self.receive()
            assert packet is not None, f"closed after {len(found)} of {count} PUBACKs"
            if packet.kind is PacketType.PUBACK:
                found.append(int.from_bytes(packet.body))
        return found

    def acknowledge(self, kind: PacketType, packet_id: int) -> None:
        """Send an acknowledgement."""
        self.send(encode_ack(kind, packet_id))

    def ping(self) -> None:
        """Make sure that the connection lives, and that nothing else was on its way."""
        self.send(PINGREQ)
        self.expect(PacketType.PINGRESP)

    def message(self) -> Publish:
        """The next packet, which must be a PUBLISH."""
        return self.expect(PacketType.PUBLISH).publish

    def ends_within(self, seconds: float) -> bool:
        """Whether the hub closes the connection within so many seconds, in which nothing else comes."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def ends_in_peace(self) -> bool:
        """Whether the hub closes the connection without a reset, once all that it sent has been received."""
        try:
            while self.socket.recv(65_536):
                pass
        except ConnectionResetError:
            return False
        return True

    def finish(self) -> None:
        """Say that nothing more will be sent, and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def _next(self) -> Packet | None:
        first = self._read(1)
        if not first:
            return None
        header, length = b"", None
        while length is None:
            header += self._read(1)
            length = decode_length(header)
        body = b""
        while len(body) < length:
            body += self._read(length - len(body)) or _fail()
        return Packet(first[0], body)

    def _read(self, count: int) -> bytes:
        try:
            return self.socket.recv(count)
        except ConnectionResetError:
            return b""


def connect_packet(
    credentials: Credentials | None = None,
    *,
    client_id: str | None = None,
    clean_session: bool = True,
    keep_alive: int = 0,
    will: tuple[str, bytes] | None = None,
    will_retain: bool = False,
) -> bytes:
    """A CONNECT; without credentials an anonymous one, with a client id in place of the credentials' own."""
    known = credentials.client_id if credentials else ""
    return encode_connect(
        Connect(
            client_id=known if client_id is None else client_id,
            clean_session=clean_session,
            keep_alive=keep_alive,
            user_name=credentials.user_name if credentials else None,
            password=credentials.password.encode() if credentials else None,
            will_topic=will[0] if will else None,
            will_message=will[1] if will else b"",
            will_qos=0,
            will_retain=will_retain,
        )
    )


def subscribe_packet(*filters: str, qos: int = 0, packet_id: int = 1) -> bytes:
    """A SUBSCRIBE."""
    return _packet(0x82, packet_id, b"".join(_text(item) + bytes((qos,)) for item in filters))


def unsubscribe_packet(*filters: str, packet_id: int = 1) -> bytes:
    """An UNSUBSCRIBE."""
    return _packet(0xA2, packet_id, b"".join(map(_text, filters)))


def _packet(first_byte: int, packet_id: int, filters: bytes) -> bytes:
    length = 2 + len(filters)
    assert length < 1 << 14
    # Two bytes are always enough for the length, and allowed where one would be.
    return bytes((first_byte, length & 0x7F | 0x80, length >> 7)) + packet_id.to_bytes(2) + filters


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2) + data


def _fail() -> bytes:
    raise AssertionError("the connection ended inside a packet")
