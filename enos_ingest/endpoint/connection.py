"""One MQTT connection's bytes: packets in, packets out, deadlines, the end."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Mapping
from typing import Any, cast

from enos_ingest.endpoint.decoder import Decoder
from enos_ingest.endpoint.incoming import PATIENCE_SECONDS, SHORT_BYTES, SLOWEST_BYTES
from enos_ingest.endpoint.limits import PACKETS_A_TURN, SECONDS_A_TURN
from enos_ingest.endpoint.outgoing import SLOW_BYTES
from enos_ingest.endpoint.packets import Connect, MalformedPacketError, Subscribe, Unsubscribe
from enos_ingest.endpoint.roles import ConnectionHost, PacketHandler
from enos_ingest.endpoint.streams import Streams
from enos_ingest.settings import LimitsSettings

__all__ = ["Connection"]

_LONG = frozenset({Subscribe, Unsubscribe})
"""Packets that may take as long as many others, and end a turn."""

_FLUSH_SECONDS = 5.0
"""How long an ended connection may take to read what was sent to it; after that its socket goes."""

_LINGER_SECONDS = 2.0
"""How long the client of an ended connection may take to close it, too. Were the socket closed while it still sends,
TCP would reset the connection, and the client could lose what it was sent last, such as why it is refused."""

_LINGER_BYTES = 4_194_304
"""What it may send meanwhile, unread: the buffers of two systems."""


class Connection(asyncio.Protocol):
    """Reads packets and hands them on, first CONNECT to the listener, then the others to a handler.

    While it is paused nothing is read: TCP pushes back, the client keeps its data, and its silence is ours.

    Args:
        inside: whether it came over the hub's own way in.
        is_tls: whether it comes over TLS.
    """

    __slots__ = (
        "_begun", "_closing", "_decoder", "_discarded", "_gone", "_handler", "_has_sent", "_heard", "_holds", "_host",
        "_limits", "_loop", "_out", "_paused", "_silence", "_slow", "_streams", "_timer", "_touched", "_transport",
        "inside", "is_tls", "peer",
    )  # fmt: skip

    def __init__(
        self,
        host: ConnectionHost,
        limits: LimitsSettings,
        *,
        inside: bool = False,
        is_tls: bool = False,
    ) -> None:
        self.peer = "unknown", 0
        """The client's address and port, read once: a socket that is gone has none."""
        self.inside = inside
        self.is_tls = is_tls
        self._host = host
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder(
            connect_bytes=limits.connect_bytes, packet_bytes=limits.packet_bytes, message_bytes=limits.message_bytes
        )
        self._handler: PacketHandler | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._out: list[bytes] = []
        self._paused = False
        self._holds = False
        self._slow = False
        self._has_sent = False
        self._closing = ""
        self._discarded = 0
        self._gone = False
        self._streams: tuple[Streams, asyncio.StreamWriter] | None = None
        self._silence = 0.0
        self._heard = 0.0
        self._begun = 0.0
        self._touched = 0.0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if peer:
            self.peer = str(peer[0]), int(peer[1])
        # From there on it is looked at how much a client leaves unread, see `_look_at_unread`.
        self._transport.set_write_buffer_limits(high=min(SLOW_BYTES, self._limits.outgoing_bytes))
        if self._host.arrived(self):
            # With TLS its handshake is within that time, too.
            self._timer = self._loop.call_later(self._limits.connect_seconds, self._connect_late)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._discarded += len(data)
            if self._discarded > _LINGER_BYTES:
                self._transport.abort()
            return
        self._decoder.feed(data)
        if not self._paused and self._ready():
            self._read()
        self._look_at_held()

    def pause_writing(self) -> None:
        self._slow = True
        self._look_at_unread()

    def resume_writing(self) -> None:
        self._slow = False
        self._host.outgoing.forget(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._gone:
            return
        if isinstance(error, ssl.SSLError) and self._handler is None and not self._closing:
            self._host.no_handshake(self, error)
        self._end("network", "" if error is None else str(error))
        self._gone = True
        self._host.outgoing.forget(self)
        self._handler = None  # each holds the other: so the memory comes back at once
        self._host.departed(self)

    # What the listener and the handler call.

    def serve(self, handler: PacketHandler, keep_alive: int) -> None:
        """Hand the packets after CONNECT to a handler.

        Args:
            keep_alive: seconds as the client asked; 1.5 times as long without a packet closes [MQTT-3.1.2-24]. While
                one is coming its bytes count as well, as long as they come at a bearable rate.
        """
        self._handler = handler
        self._stop_timer()
        self._silence = keep_alive * 1.5
        if self._silence:
            self._heard = self._loop.time()
            self._timer = self._loop.call_later(self._silence, self._look_at_time)

    def detach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Hand the socket over as streams, with what was read after CONNECT; the taker calls `finish` at the end."""
        self._stop_timer()
        self._gone = True
        self._host.outgoing.forget(self)
        self._let_go()
        reader = asyncio.StreamReader(loop=self._loop)
        streams = Streams(reader, loop=self._loop)
        self._transport.set_write_buffer_limits()
        self._transport.set_protocol(streams)
        streams.connection_made(self._transport)
        rest = self._decoder.rest()
        if rest:
            reader.feed_data(rest)
        if self._paused:
            self._transport.resume_reading()
        writer = asyncio.StreamWriter(self._transport, streams, reader, self._loop)
        self._streams = streams, writer  # also so that the writer, when it is forgotten, does not close the socket
        return reader, writer

    def finish(self) -> None:
        """Take the socket back from the streams and close it once what was sent has left."""
        assert self._streams is not None
        streams, _ = self._streams
        if streams.is_lost:
            self._host.departed(self)
            return
        self._gone = False
        self._transport.set_protocol(self)
        self._closing = "finished"
        self._leave(linger=not streams.has_ended)

    @property
    def address(self) -> str:
        """The client's address."""
        return self.peer[0]

    @property
    def certificate(self) -> Mapping[str, Any] | None:
        """The certificate that the client has shown, as `ssl` gives it; None where it has shown none."""
        tls = self._transport.get_extra_info("ssl_object")
        return None if tls is None else tls.getpeercert() or None

    @property
    def unread(self) -> int:
        """How many bytes wait for the client to read them."""
        return self._transport.get_write_buffer_size()

    @property
    def is_closing(self) -> bool:
        """Whether the connection has ended or is about to."""
        return bool(self._closing) or self._gone

    def send(self, data: bytes) -> None:
        """Send bytes; all of one turn of the event loop leave together."""
        if not self._out:
            self._has_sent = True
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def pause(self) -> None:
        """Read no further, until `resume`."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading, first what is here already."""
        if not self._paused or self.is_closing:
            return
        self._paused = False
        self._heard = self._loop.time()
        self._begun = 0.0
        self._read()
        self._look_at_held()
        if not self._paused and not self.is_closing:
            self._transport.resume_reading()

    def close(self, reason: str, detail: str = "", *, linger: bool = True) -> None:
        """End the connection once what was sent has left; a client that does not read it is cut off soon.

        Args:
            linger: whether the client may take a moment to close it, too, so that it loses nothing of that.
        """
        if self.is_closing:
            return
        self._flush()
        self._end(reason, detail)
        # After DISCONNECT nothing comes that a reset could answer.
        self._leave(linger=linger and self._has_sent and reason != "client")

    def abort(self, reason: str, detail: str = "") -> None:
        """End the connection now."""
        self._end(reason, detail)
        self._transport.abort()

    # What `Incoming` and `Outgoing` call.

    def go_on(self) -> None:
        """There is room for the long packet that has begun."""
        self._loop.call_soon(self._next_turn)

    def holds_too_much(self, detail: str) -> None:
        """End the connection for the memory that it takes."""
        if self._handler is not None:
            self.abort("memory", detail)
        else:
            self._host.held_too_much(self, detail)

    def reads_too_slowly(self, detail: str) -> None:
        """End the connection for what it leaves unread."""
        self.abort("slow", detail)

    def _leave(self, *, linger: bool) -> None:
        """Close the socket behind what was sent, at once or once the client closes it, too."""
        if linger and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # the client has gone, which shows next
                self._transport.write_eof()
            self._transport.resume_reading()
            self._timer = self._loop.call_later(_LINGER_SECONDS, self._linger_no_more)
        else:
            self._transport.close()
            self._timer = self._loop.call_later(_FLUSH_SECONDS, self._transport.abort)

    def _linger_no_more(self) -> None:
        """Close the socket of a client that does not, though it has had time to read what it was sent."""
        if self.unread:
            self._timer = self._loop.call_later(_FLUSH_SECONDS - _LINGER_SECONDS, self._transport.abort)
        else:
            self._transport.abort()

    def _end(self, reason: str, detail: str) -> None:
        self._stop_timer()
        if self._closing:
            return
        self._closing = reason
        self._out.clear()
        self._decoder.rest()
        self._let_go()
        if self._handler is not None:
            self._handler.ended(reason, detail)

    def _read(self) -> None:
        heard = False
        left = PACKETS_A_TURN
        end = time.monotonic() + SECONDS_A_TURN  # the loop's own time stands still within a turn
        try:
            while not self._paused and not self._closing and (packet := self._decoder.next()) is not None:
                heard = True
                left -= 1
                if self._handler is not None:
                    self._handler.receive(packet)
                else:
                    self._stop_timer()  # a password has a time of its own
                    self._host.connect(self, cast(Connect, packet))
                    if not self._ready():
                        break
                over = not left or type(packet) in _LONG or time.monotonic() > end
                if over and not self._paused and not self._closing:
                    self.pause()
                    self._loop.call_soon(self._next_turn)
        except MalformedPacketError as error:
            if self._handler is not None:
                self.close("protocol", str(error))
            else:
                self._host.malformed(self, error)
        if heard:
            self._heard = self._loop.time()
            self._begun = 0.0

    def _look_at_held(self) -> None:
        """Say how much is held of what is not complete; a long packet waits until there is room for all of it."""
        if self.inside or self._closing or (self._decoder.is_empty and not self._holds):
            return
        incoming = self._host.incoming
        if self._decoder.wanted <= SHORT_BYTES:
            incoming.release(self)
        elif not self._paused and not incoming.reserve(self, self._decoder.wanted):
            self._host.waits_for_room()
            self.pause()
        self._touched = self._loop.time()
        self._begun = self._begun or self._touched
        if self._timer is None and self._decoder.announced > SHORT_BYTES:
            self._timer = self._loop.call_later(PATIENCE_SECONDS, self._look_at_time)
        held = self._decoder.buffered
        self._holds = held > 0
        incoming.hold(self, held)

    def _let_go(self) -> None:
        """Hold nothing any more."""
        if self._holds:
            self._holds = False
            self._host.incoming.forget(self)

    def _next_turn(self) -> None:
        """Go on where a turn has ended, once the others have had theirs."""
        if not self.is_closing and self._ready():
            self.resume()

    def _ready(self) -> bool:
        """Whether there is room for what comes; a handler that has none goes on by itself."""
        return self._handler is None or self._closing != "" or self._handler.ready()

    def _flush(self) -> None:
        if self._out and not self._gone:
            data = b"".join(self._out)
            self._out.clear()
            self._transport.write(data)
            if self._slow:
                self._look_at_unread()

    def _look_at_unread(self) -> None:
        """Cut off a client that leaves too much unread, it alone or all together."""
        unread = self.unread
        if unread > self._limits.outgoing_bytes:
            self.abort("slow", f"{unread} bytes were not read")
        else:
            self._host.outgoing.note(self, unread)

    def _connect_late(self) -> None:
        self._host.malformed(self, MalformedPacketError(f"no CONNECT within {self._limits.connect_seconds:g} seconds"))

    def _look_at_time(self) -> None:
        """Close a client that was silent for too long, or whose packet takes too long.

        Silence while nothing is read is not the client's.
        """
        self._timer = None
        patience = self._silence or PATIENCE_SECONDS
        now = self._loop.time()
        size = self._decoder.announced
        left = patience
        if self._paused:
            pass
        elif self._decoder.wanted:
            whole = self._begun + patience + size / SLOWEST_BYTES - now
            if whole <= 0:
                self.close("unfinished", f"a packet of {size} bytes had not come after {now - self._begun:.0f} seconds")
                return
            left = min(self._touched + patience - now, whole)
        elif self._silence:
            left = self._heard + patience - now
        else:
            return
        if left > 0:
            self._timer = self._loop.call_later(left, self._look_at_time)
        else:
            self.close("keep_alive", f"silent for {patience:g} seconds")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
