"""What is said to a server over plain sockets, and all the bytes that it says."""

from __future__ import annotations

import contextlib
import socket
from contextlib import ExitStack
from typing import BinaryIO, NamedTuple

from enos_ingest.endpoint.packets import PacketType, decode_length, parse_publish
from tests.endpoint.raw import PINGREQ
from tests.endpoint.waiting import DEADLINE

__all__ = ["Said", "Step", "play", "render"]

PINGRESP = b"\xd0\x00"

Said = list[bytes | None]
"""The packets of a server, each with its header; None for the end of the connection."""


class Step(NamedTuple):
    """Bytes for a server.

    `answers` is how many packets are waited for before a PINGREQ shows that there are no more; what is committed
    first may be answered later than that. `peer` numbers the connections of one script.
    """

    sent: bytes
    answers: int = 0
    peer: int = 0


def play(steps: list[Step], host: str, port: int) -> list[Said]:
    """What a server says to each step of a script."""
    with ExitStack() as stack:
        peers: dict[int, _Peer] = {}
        said = []
        for step in steps:
            if step.peer not in peers:
                connection = stack.enter_context(socket.create_connection((host, port), DEADLINE))
                peers[step.peer] = _Peer(connection, stack.enter_context(connection.makefile("rb")))
            said.append(peers[step.peer].ask(step))
        return said


def render(said: Said) -> str:
    """Packets for people, such as `SUBACK 00 01 80`: what follows the header, of PUBLISH with its topic as text."""
    return ", ".join("closed" if packet is None else _words(packet) for packet in said) or "nothing"


def _words(packet: bytes) -> str:
    kind, flags, body = PacketType(packet[0] >> 4), packet[0] & 0x0F, packet[2:]
    if kind is PacketType.PUBLISH:
        publish = parse_publish(packet[0], body)
        return f"PUBLISH {flags:04b} {publish.topic} {publish.payload.decode()}"
    return f"{kind.name} {body.hex(' ')}".rstrip()


class _Peer:
    def __init__(self, connection: socket.socket, stream: BinaryIO) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._stream = stream

    def ask(self, step: Step) -> Said:
        said: Said = []
        self._send(step.sent)
        while len(said) < step.answers and None not in said:
            said.append(self._packet())
        if None not in said:
            self._send(PINGREQ)
            while (packet := self._packet()) != PINGRESP and packet is not None:
                said.append(packet)
            if packet is None:
                said.append(None)
        return said

    def _send(self, data: bytes) -> None:
        # Where the server has closed, reading shows it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def _packet(self) -> bytes | None:
        try:
            packet = self._stream.read(2)
            if not packet:
                return None
            while (length := decode_length(packet[1:])) is None:
                packet += self._stream.read(1) or b"\xff"  # an end inside the length is no length
            return packet + self._stream.read(length)
        except ConnectionResetError:
            return None
