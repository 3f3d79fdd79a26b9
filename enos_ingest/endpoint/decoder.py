"""MQTT packets from a stream of bytes, in whatever pieces it comes."""

from __future__ import annotations

from enos_ingest.endpoint.packets import (
    PUBLISH_FLAGS,
    Ack,
    MalformedPacketError,
    Packet,
    PacketType,
    Publish,
    check_flags,
    decode_length,
    parse_connect,
    parse_packet,
    parse_publish,
    parse_topic_name,
    publish_flags,
)

__all__ = ["KEPT_BYTES", "Decoder"]

KEPT_BYTES = 4096
"""What is kept of a payload that is over the limit: enough to find the id that its answer carries."""

_LONGEST_HEADER = 5
_LONGEST_IN_3_BYTES = 2_097_151

_LONGEST_TOPIC = 65_535

_FIXED_LENGTHS = {
    PacketType.PUBACK: 2,
    PacketType.PUBREC: 2,
    PacketType.PUBREL: 2,
    PacketType.PUBCOMP: 2,
    PacketType.PINGREQ: 0,
    PacketType.DISCONNECT: 0,
}

_TLS_HANDSHAKE = 0x16
"""What a client begins with that takes the port for one of TLS. [RFC 8446 5.1]"""

_HTTP_METHODS = b"DGHOPT"
"""How a client begins that takes it for one of HTTP: DELETE, GET, HEAD, OPTIONS, POST, TRACE."""

_PUBACK = PacketType.PUBACK


class Decoder:
    """Cuts what a client sends into packets, first CONNECT, then the others. [MQTT-3.1.0-1] [MQTT-3.1.0-2]

    A packet that lies in one piece of the stream is read where it is; of one that does not the bytes are gathered,
    each copied once. A PUBLISH with a payload over `message_bytes` is passed over without being gathered and comes
    out with the first `KEPT_BYTES` of its payload at the most, once all of it has been seen. After an error the
    decoder is of no more use.

    Args:
        connect_bytes: the longest CONNECT.
        packet_bytes: the longest packet.
        message_bytes: the longest payload that comes out whole.
    """

    __slots__ = ("_begun", "_data", "_end", "_message_bytes", "_packet_bytes", "_plain", "_position", "_waiting")

    def __init__(self, *, connect_bytes: int, packet_bytes: int, message_bytes: int) -> None:
        self._packet_bytes = packet_bytes
        self._message_bytes = message_bytes
        # What is this short breaks no limit, whatever it is.
        self._plain = min(message_bytes, packet_bytes - _LONGEST_HEADER, _LONGEST_IN_3_BYTES)
        self._data = b""
        self._position = 0
        self._end = 0
        self._waiting: list[bytes] = []
        self._begun: _Begun | None = _Begun(connect_bytes, message_bytes, is_first=True)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self._position == self._end and not self._waiting:
            self._data = data
            self._position = 0
            self._end = len(data)
        else:
            self._waiting.append(data)

    @property
    def is_empty(self) -> bool:
        """Whether no byte is held."""
        return self._begun is None and self._position == self._end and not self._waiting

    @property
    def wanted(self) -> int:
        """How many bytes the packet that has begun will take until it is whole, as far as can be seen; else 0."""
        return 0 if self._begun is None else self._begun.wanted

    @property
    def announced(self) -> int:
        """How long the packet that has begun is, as far as can be seen; else 0."""
        return 0 if self._begun is None else self._begun.announced

    @property
    def buffered(self) -> int:
        """Bytes held."""
        begun = 0 if self._begun is None else len(self._begun.held)
        return begun + self._end - self._position + sum(map(len, self._waiting))

    def rest(self) -> bytes:
        """Take the bytes behind the last packet, to hand the stream to somebody else; nothing is held any more."""
        rest = b"".join((self._data[self._position :], *self._waiting))
        self._data, self._position, self._end = b"", 0, 0
        self._waiting.clear()
        self._begun = None
        return rest

    def next(self) -> Packet | None:
        """The next packet; None where more bytes are needed.

        Raises:
            UnsupportedVersionError: a CONNECT of another version than MQTT 3.1.1.
            MalformedPacketError: anything else that the specification forbids, as soon as it can be seen.
        """
        position, end = self._position, self._end
        if position == end or self._begun is not None:
            return self._next_in_pieces()
        data = self._data
        try:
            first_byte = data[position]
            length = data[position + 1]
            start = position + 2
            # Up to three bytes of the length, each with its highest bit set if there is another; a fourth is not met
            # in a piece of a stream.
            if length > 127:
                length += (data[start] << 7) - 128
                start += 1
                if length > 16_383:
                    length += (data[start] << 14) - 16_384
                    start += 1
            after = start + length
            if after > end or length > self._plain:
                return self._next_in_pieces()
            # The two packets that come by the ten thousand a second are read in line, unless anything is odd with
            # them, which the careful functions find out.
            if first_byte == 0x40:
                packet_id = data[start] << 8 | data[start + 1]
                if length == 2 and packet_id:
                    self._position = after
                    return Ack(_PUBACK, packet_id)
            elif first_byte >> 4 == 3 and (flags := PUBLISH_FLAGS[first_byte & 0x0F]) is not None:
                qos, dup, retain = flags
                topic_start = start + 2
                topic_end = topic_start + (data[start] << 8 | data[start + 1])
                if qos:
                    payload_start = topic_end + 2
                    packet_id = data[topic_end] << 8 | data[topic_end + 1]
                else:
                    payload_start = topic_end
                    packet_id = 0
                if payload_start <= after and (packet_id or not qos):
                    topic = parse_topic_name(data[topic_start:topic_end])
                    self._position = after
                    return Publish(topic, data[payload_start:after], qos, packet_id, dup, retain, after - payload_start)
        except IndexError:
            return self._next_in_pieces()
        packet = parse_packet(first_byte, data[start:after])
        self._position = after
        return packet

    def _next_in_pieces(self) -> Packet | None:
        """The next packet where it does not lie in the piece that is being read, or may break a limit."""
        if self._position == self._end:
            self._data = b"".join(self._waiting)
            self._waiting.clear()
            self._position, self._end = 0, len(self._data)
            if not self._end:
                return None
            if self._begun is None:
                return self.next()
        if self._begun is None:
            self._begun = _Begun(self._packet_bytes, self._message_bytes)
        self._position = self._begun.add(self._data, self._position)
        if self._begun.is_whole:
            packet, self._begun = self._begun.packet(), None
            return packet
        return self._next_in_pieces()


class _Begun:
    """A packet of which not all bytes are here yet; what can be no part of a good one is told at once.

    Args:
        packet_bytes: the longest packet.
        message_bytes: the longest payload that is kept whole.
        is_first: whether it is the first packet of its stream.
    """

    __slots__ = (
        "_first_byte", "_is_first", "_kind", "_length", "_message_bytes", "_packet_bytes", "_skipped", "_start",
        "_to_skip", "_wanted", "held",
    )  # fmt: skip

    def __init__(self, packet_bytes: int, message_bytes: int, *, is_first: bool = False) -> None:
        self.held = bytearray()
        """What is kept of it."""
        self._packet_bytes = packet_bytes
        self._message_bytes = message_bytes
        self._is_first = is_first
        self._first_byte = 0
        self._kind = PacketType.CONNECT
        self._start = 0
        self._length = 0
        # How many bytes are held when there is something to see next.
        self._wanted = 1
        self._skipped = 0
        self._to_skip = 0

    @property
    def wanted(self) -> int:
        """How many bytes of it will be held, as far as can be seen."""
        return self._wanted

    @property
    def announced(self) -> int:
        """How long it is, as far as can be seen."""
        return self._start + self._length

    @property
    def is_whole(self) -> bool:
        """Whether its last byte has been seen."""
        return len(self.held) == self._wanted and not self._to_skip

    def add(self, data: bytes, position: int) -> int:
        """Take what belongs to the packet from `data`, from `position` on; returns the position behind it.

        Raises:
            MalformedPacketError: as for `Decoder.next`.
        """
        held = self.held
        while len(held) < self._wanted:
            piece = data[position : position + self._wanted - len(held)]
            if not piece:
                return position
            held += piece
            position += len(piece)
            if len(held) == self._wanted:
                self._look()
        skipped = min(self._to_skip, len(data) - position)
        self._to_skip -= skipped
        return position + skipped

    def packet(self) -> Packet:
        """The packet, once it is whole."""
        body = bytes(self.held[self._start :])
        if self._is_first:
            return parse_connect(body)
        if self._kind is not PacketType.PUBLISH:
            return parse_packet(self._first_byte, body)
        publish = parse_publish(self._first_byte, body)
        publish.size += self._skipped
        return publish

    def _look(self) -> None:
        """See how many bytes more are wanted, as far as those held tell."""
        held = self.held
        if len(held) == 1:
            self._look_at_first_byte(held[0])
        elif not self._start:
            length = decode_length(held[1:])
            if length is None:
                self._wanted += 1
            else:
                self._look_at_length(length)
        elif self._kind is PacketType.PUBLISH and len(held) == self._start + 2:
            self._look_at_topic_length(int.from_bytes(held[-2:]))

    def _look_at_first_byte(self, first_byte: int) -> None:
        if self._is_first:
            if first_byte == _TLS_HANDSHAKE:
                raise MalformedPacketError("the client spoke TLS to the plain port")
            if first_byte in _HTTP_METHODS:
                raise MalformedPacketError("the client spoke HTTP to the MQTT port")
            if first_byte != PacketType.CONNECT << 4:
                raise MalformedPacketError(
                    f"first packet begins with byte {first_byte:#04x}, no CONNECT [MQTT-3.1.0-1]"
                )
        else:
            self._kind = check_flags(first_byte)
            if self._kind is PacketType.PUBLISH:
                publish_flags(first_byte)
        self._first_byte = first_byte
        self._wanted = 2

    def _look_at_length(self, length: int) -> None:
        self._start, self._length = len(self.held), length
        kind, total = self._kind, self._start + length
        limit = self._packet_bytes
        if kind in (PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE):
            # No longer than the longest PUBLISH that is kept: so much one connection may hold.
            limit = min(limit, self._message_bytes + _LONGEST_TOPIC)
        if total > limit:
            raise MalformedPacketError(f"{kind.name} of {total} bytes is over the limit of {limit}")
        if length != _FIXED_LENGTHS.get(kind, length):
            raise MalformedPacketError(f"{kind.name} with a body of {length} bytes")
        if kind is PacketType.PUBLISH:
            if length < 2:
                raise MalformedPacketError("PUBLISH ends inside a field")
            self._wanted += 2
        else:
            self._wanted = total

    def _look_at_topic_length(self, topic_length: int) -> None:
        qos, _, _ = publish_flags(self._first_byte)
        size = self._length - 2 - topic_length - (2 if qos else 0)
        if size < 0:
            raise MalformedPacketError("PUBLISH ends inside a field")
        if size > self._message_bytes:
            self._skipped = self._to_skip = size - min(KEPT_BYTES, self._message_bytes)
        self._wanted = self._start + self._length - self._skipped
