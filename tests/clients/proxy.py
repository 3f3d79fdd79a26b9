"""A network between clients and a hub that can be cut."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

from enos_ingest.endpoint.decoder import Decoder
from enos_ingest.endpoint.packets import Packet

__all__ = ["Proxy", "proxy"]

_PIECE = 65536


class Proxy:
    """Passes TCP connections on, one after the other, and notes the packets that clients send.

    Attributes:
        host, port: where it listens.
        sent: the packets of each connection so far, CONNECT first.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.sent: list[list[Packet]] = []
        self._target = target
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._passing: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self._accepting = threading.Thread(target=self._accept, name="proxy")
        self._accepting.start()

    def cut(self) -> None:
        """Reset all connections, on both sides: when it returns each side's system knows."""
        with self._lock:
            ends, self._ends = self._ends, []
            passing, self._passing = self._passing, []
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):  # wakes the thread that reads it
                end.shutdown(socket.SHUT_RD)
            end.close()
        # A socket is open for as long as a thread is still about to return from reading it.
        for thread in passing:
            thread.join()

    def close(self) -> None:
        """Cut everything, and listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was closed
                return
            hub = socket.create_connection(self._target)
            packets: list[Packet] = []
            self.sent.append(packets)
            with self._lock:
                self._ends += [client, hub]
                for source, target, noted in ((client, hub, packets), (hub, client, None)):
                    thread = threading.Thread(target=_pass_on, args=(source, target, noted), name="proxy")
                    self._passing.append(thread)
                    thread.start()


def _pass_on(source: socket.socket, target: socket.socket, noted: list[Packet] | None) -> None:
    decoder = Decoder(connect_bytes=_PIECE, packet_bytes=_PIECE, message_bytes=_PIECE)
    with contextlib.suppress(OSError):  # it was cut
        while data := source.recv(_PIECE):
            if noted is not None:
                decoder.feed(data)
                noted += iter(decoder.next, None)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(target: tuple[str, int]) -> Iterator[Proxy]:
    """A network to an address, gone at the end of the block."""
    opened = Proxy(target)
    try:
        yield opened
    finally:
        opened.close()
