"""A server whose protocols are behind `TlsTransport`, and Python's own clients of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import trustme

from enos_ingest.endpoint.tls_transport import TlsTransport
from tests.process import PATIENCE

__all__ = ["MemoryClient", "Recorder", "Site", "awaited", "client_context", "eventually", "receive", "server_context"]

T = TypeVar("T")

CA = trustme.CA()


@dataclass
class Site:
    """A server whose protocols are `Recorder`s, in a thread with an event loop of its own."""

    loop: asyncio.AbstractEventLoop
    context: ssl.SSLContext
    port: int = 0
    recorders: list[Recorder] = field(default_factory=list)
    reply: Callable[[Recorder, bytes], None] = lambda recorder, data: recorder.transport.write(data)

    def run(self, work: Awaitable[Any]) -> Any:
        """Await something in the server's thread."""

        async def awaiting() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(awaiting(), self.loop).result(PATIENCE)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call something in the server's thread."""

        async def calling() -> Any:
            return function(*arguments)

        return self.run(calling())

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A client whose handshake is made; a connection that is cut is an error to it."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return (context or client_context()).wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


class Recorder(asyncio.Protocol):
    """Answers what comes, and remembers all that it was told."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.transport: TlsTransport
        self.received = b""
        self.told: list[str] = []
        self.error: Exception | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.transport = transport
        self.told.append("made")
        self.site.recorders.append(self)

    def data_received(self, data: bytes) -> None:
        self.told.append("data")
        self.received += data
        self.site.reply(self, data)

    def eof_received(self) -> None:
        self.told.append("eof")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append("lost")
        self.error = error
        self.lost.set()


def client_context() -> ssl.SSLContext:
    """A client that trusts our certificates."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1").configure_cert(context)
    return context


class MemoryClient:
    """A client that has its records in hand; a context manager that closes its socket."""

    def __init__(self, site: Site) -> None:
        self.socket = socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send: Callable[[bytes], None] = self.socket.sendall
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client_context().wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def append(self, data: bytes) -> None:
        """Send bytes that are not TLS, behind the records that are to be sent."""
        self._outgoing.write(data)

    def until_done(self, step: Callable[[], T]) -> T:
        """Take a step of TLS, with as many exchanges as it needs."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.send(self._outgoing.read())
                self._incoming.write(self.socket.recv(65536))


def receive(client: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer where the connection ends."""
    data = b""
    while len(data) < size and (part := client.recv(65536)):
        data += part
    return data


def awaited(site: Site, index: int = 0) -> Recorder:
    """A connection's protocol, once the connection has ended."""
    recorder = site.recorders[index]
    site.run(recorder.lost.wait())
    return recorder


def eventually(site: Site, look: Callable[[], bool]) -> None:
    """Look in the server's thread, turn by turn, until it is so."""

    async def looking() -> None:
        async with asyncio.timeout(PATIENCE):
            while not look():
                await asyncio.sleep(0.001)

    site.run(looking())
