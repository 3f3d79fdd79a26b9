"""TLS between a socket and a protocol."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, cast

from enos_ingest.endpoint.handshakes import Handshakes, TooManyHandshakesError

__all__ = ["TlsTransport"]

_ALERT_SECONDS = 5.0
"""How long a client whose TLS has failed may take to read why; after that its socket goes."""

_READ_BYTES = 262_144
"""More than one record ever holds."""

_NOBODY = asyncio.Protocol()
"""Who is told what comes after the end."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The server's side of TLS: to the socket's transport a protocol, to the protocol behind it a transport.

    That protocol is told of the connection before the handshake, so that it can turn it away unspent, and it has no
    step to take for it: the handshake is made as the client's bytes come in, in turn with those of others, and data
    follow it. The event loops'
    own TLS would tell only after it; their `start_tls` loses what a client sends at once (uvloop), or holds 256 KiB
    for each connection, where this takes 20 (asyncio).

    After `write_eof` what comes is handed on as it comes, still encrypted: who has said goodbye only counts it.

    What is written before the handshake is dropped, nobody could read it. The client's end of data is the connection's
    end, whatever `eof_received` returns. A failure of TLS ends it too: `connection_lost` gets the `ssl.SSLError`.
    """

    __slots__ = (
        "_cut", "_ended", "_failure", "_handshakes", "_has_left", "_incoming", "_outgoing", "_protocol", "_secured",
        "_socket", "_tls",
    )  # fmt: skip

    def __init__(self, context: ssl.SSLContext, protocol: asyncio.BaseProtocol, handshakes: Handshakes) -> None:
        super().__init__()
        self._handshakes = handshakes
        self._protocol = cast(asyncio.Protocol, protocol)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._secured = False
        self._ended = False
        self._has_left = False
        self._failure: ssl.SSLError | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._socket: asyncio.Transport

    # What the socket's transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)
        self._protocol.connection_made(self)

    def data_received(self, data: bytes) -> None:
        if self._has_left:
            self._protocol.data_received(data)
            return
        self._incoming.write(data)
        if self._secured:
            self._read()
        elif not self._ended:
            self._socket.pause_reading()
            try:
                self._handshakes.wait(self)
            except TooManyHandshakesError as error:
                self._fail(error)

    def eof_received(self) -> None:
        self._protocol.eof_received()
        self._ended = True

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        if self._cut is not None:
            self._cut.cancel()
        # Each holds the other: without this the memory would come back only with the next collection of garbage.
        protocol, self._protocol = self._protocol, _NOBODY
        protocol.connection_lost(self._failure or error)

    # What `Handshakes` calls.

    def shake_hands(self) -> None:
        """Take the handshake as far as the client's bytes reach, then read on."""
        if self._ended:
            return
        self._socket.resume_reading()
        if self._shake_hands():
            self._read()

    # What the protocol calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, as one or more records."""
        if self._ended or self._has_left or not self._secured or not data:
            return
        self._tls.write(data)  # all of it: memory is never full
        self._flush()

    def close(self) -> None:
        """End the connection once what was written has left."""
        if self._ended:
            return
        self._ended = True
        if self._secured and not self._has_left:
            self._say_goodbye()
        self._socket.close()

    def abort(self) -> None:
        """End the connection now."""
        self._ended = True
        self._socket.abort()

    def is_closing(self) -> bool:
        """Whether the connection has ended or is about to."""
        return self._ended or self._socket.is_closing()

    def pause_reading(self) -> None:
        """Hand no more data on, and read none."""
        # All that was read before has been handed on: nothing is held back here.
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._socket.resume_reading()

    def is_reading(self) -> bool:
        """Whether data is read."""
        return not self._ended and self._socket.is_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand everything that comes to another protocol."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who gets what comes."""
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object` and `sslcontext`, and what the socket's transport knows."""
        match name:
            case "ssl_object":
                return self._tls
            case "sslcontext":
                return self._tls.context
            case _:
                return self._socket.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is told to pause and resume writing."""
        self._socket.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """When the protocol is told to resume and pause writing."""
        return self._socket.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Bytes that have not left yet, as records."""
        return self._socket.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        """Always."""
        return True

    def write_eof(self) -> None:
        """Say goodbye, behind what was written."""
        if self._ended or self._has_left:
            return
        self._has_left = True
        if self._secured:
            self._say_goodbye()
        self._socket.write_eof()

    def _shake_hands(self) -> bool:
        """Take the handshake as far as the client's bytes reach; whether it is made."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._fail(error)
            return False
        self._secured = True
        return True

    def _read(self) -> None:
        """Hand on all data that is complete, in one piece."""
        parts: list[bytes] = []
        goodbye = False
        failure: ssl.SSLError | None = None
        try:
            while part := self._tls.read(_READ_BYTES):
                parts.append(part)
                if not self._incoming.pending and not self._tls.pending():
                    break  # the next `read` would tell so with an exception, which costs more
            else:
                goodbye = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            failure = error
        # The rest of the handshake, and the keys that a client may ask to be renewed.
        self._flush()
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if data:
            self._protocol.data_received(data)
        if failure is not None:
            self._fail(failure)
        elif goodbye and not self._ended:
            self._protocol.eof_received()
            self.close()

    def _say_goodbye(self) -> None:
        """So that the client can tell the end from a cut line. [RFC 8446 6.1]"""
        with contextlib.suppress(ssl.SSLError):  # the client's own goodbye is not waited for
            self._tls.unwrap()
        self._flush()

    def _fail(self, failure: ssl.SSLError) -> None:
        """End a connection whose TLS is broken; what OpenSSL has to tell the client goes first."""
        if self._ended:
            return
        self._ended = True
        self._failure = failure
        self._flush()
        self._cut = asyncio.get_running_loop().call_later(_ALERT_SECONDS, self._socket.abort)
        self._socket.close()

    def _flush(self) -> None:
        records = self._outgoing.read()
        if records:
            self._socket.write(records)
