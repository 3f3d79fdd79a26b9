"""A relay as amqtt sees it: a CONNECT, then a reader and a writer of bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from amqtt.adapters import ReaderAdapter, WriterAdapter

from enos_ingest.endpoint.packets import Connect
from enos_ingest.protocol.topics import parse_topic

__all__ = ["Inbound", "Outbound", "connect_for_broker"]


class Inbound(ReaderAdapter):  # type: ignore[misc]
    """Gives amqtt whole packets, as the bytes that it asks for.

    Args:
        next_packet: the next packet, b"" at the end of the connection.
        close: called when amqtt wants the connection to end.
    """

    def __init__(self, next_packet: Callable[[], Awaitable[bytes]], close: Callable[[], None]) -> None:
        self._next_packet = next_packet
        self._close = close
        self._packet = b""
        self._position = 0

    async def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes of the current packet; b"" at the end of the connection."""
        if self._position >= len(self._packet):
            self._packet, self._position = await self._next_packet(), 0
        end = len(self._packet) if n < 0 else self._position + n
        data = self._packet[self._position : end]
        self._position += len(data)
        return data

    def feed_eof(self) -> None:
        self._close()


class Outbound(WriterAdapter):  # type: ignore[misc]
    """Takes the packets that amqtt sends.

    Args:
        send: takes one packet.
        peer: address and port of the client.
        close: called when amqtt ends the connection.
    """

    def __init__(self, send: Callable[[bytes], None], peer: tuple[str, int], close: Callable[[], None]) -> None:
        self._send = send
        self._peer = peer
        self._close = close

    def write(self, data: bytes) -> None:
        self._send(data)

    async def drain(self) -> None:
        """Never waits: a slow reader is cut off where its packets go, and must not hold up the others."""

    def get_peer_info(self) -> tuple[str, int]:
        return self._peer

    def get_ssl_info(self) -> None:
        return None

    async def close(self) -> None:
        self._close()


def connect_for_broker(connect: Connect, client_id: str) -> Connect:
    """The CONNECT that amqtt sees.

    Without credentials, which were checked here. Always a clean session: amqtt would keep others, and queue for
    them, without a bound. Without keep-alive: the relay enforces it, amqtt does not. The will was checked, too.
    """
    return Connect(
        client_id=client_id,
        clean_session=True,
        keep_alive=0,
        user_name=None,
        password=None,
        will_topic=connect.will_topic,
        will_message=connect.will_message,
        will_qos=connect.will_qos,
        # A retained uplink would reach every new watcher, and the hub itself each time it subscribes.
        will_retain=connect.will_retain and parse_topic(connect.will_topic or "") is None,
    )
