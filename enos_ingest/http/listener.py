"""The HTTP listener: uvicorn in the service's own loop, on a socket that is bound beforehand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from enos_ingest.commands.refusals import RestCode
from enos_ingest.http.bounds import Connections, Refused
from enos_ingest.http.envelope import envelope
from enos_ingest.logs import FewLines
from enos_ingest.sockets import Bind, bind_socket, cannot_listen

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HttpListener"]

_NEVER_WAIT = frozenset({"/healthz", "/readyz", "/metrics"})
"""Answered also while calls are at their limit: who keeps the hub alive must hear from it just then."""

_BACKLOG = 128
"""Connections that the system holds until we accept them."""

_HEADER_BYTES = 16_384
_KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle between two calls. Longer than clients commonly keep one in a pool: who sends a
command just as the hub closes the connection cannot tell whether it was taken."""

_REQUEST_SECONDS = 10.0
"""How long a client may take to send a whole request; uvicorn has no such bound and would wait for ever."""

_UNREAD_BYTES = 16_777_216
"""Of a body whose request has been answered, such as one that is too long. So much of it is taken and dropped, as a
client may not look for the answer before it has sent all, and would lose it if the connection were closed at once."""

_TAKING_SECONDS = 30.0
"""How long a client may take nothing of an answer that waits for it. It is not closed for being slow: as long as some
of it goes, the clock starts anew. uvicorn has no such bound, and would keep the answer, and its place among the calls
that are being answered, for ever."""


class HttpListener:
    """Serves one ASGI application: `bind`, `start`, `stop`, in this order and once.

    Args:
        setting: the name of the setting that `bind` comes from, for the sentence of a StartError.
        connections: open at the same time; more are closed at once.
        connections_per_address: the same, of one source address.
        requests: answered at the same time; more get 503, but those that never wait.
        refused: told of each connection and request over these bounds.
        request_seconds: how long a client may take to send a request.
        keep_alive_seconds: how long a connection may be idle between two requests; whole ones.
        unread_bytes: how much of a body is dropped after the answer before the connection is closed.
        taking_seconds: how long a client may take nothing of an answer that waits for it.
    """

    def __init__(
        self,
        app: ASGIApp,
        bind: Bind,
        *,
        setting: str = "http.bind",
        connections: int = 4096,
        connections_per_address: int = 2048,
        requests: int = 4000,
        refused: Callable[[Refused], None] = lambda _: None,
        request_seconds: float = _REQUEST_SECONDS,
        keep_alive_seconds: int = _KEEP_ALIVE_SECONDS,
        unread_bytes: int = _UNREAD_BYTES,
        taking_seconds: float = _TAKING_SECONDS,
    ) -> None:
        self._bind = bind
        self._setting = setting
        self._socket: socket.socket | None = None
        self._port = 0
        self._task: asyncio.Task[None] | None = None
        config = _make_config(_Bounded(app, requests, refused), keep_alive_seconds)
        config.connections = Connections(connections, connections_per_address)
        config.refused = refused
        config.request_seconds = request_seconds
        config.unread_bytes = unread_bytes
        config.taking_seconds = taking_seconds
        config.lines = FewLines()
        self._server = _Server(config)

    def bind(self) -> None:
        """Take the port; raises StartError where that cannot be."""
        self._socket = bind_socket(self._bind, self._setting)
        self._port = self._socket.getsockname()[1]

    @property
    def port(self) -> int:
        """The port that is really used, also where the setting says 0; 0 before `bind`."""
        return self._port

    @property
    def address(self) -> Bind:
        """The bind with the port that is really used."""
        return Bind(self._bind.host, self._port)

    async def start(self) -> None:
        """Serve; returns once requests are answered. Raises StartError where the port cannot be listened on."""
        assert self._socket is not None, "bind comes first"
        try:
            # Two programs can both bind a port; the second to listen is told. uvloop would lose that error.
            self._socket.listen(_BACKLOG)
        except OSError as exc:
            self._socket.close()
            raise cannot_listen(self._bind, exc, self._setting) from exc
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http listener")
        listening = asyncio.create_task(self._server.listening.wait(), name="http listener start")
        try:
            await asyncio.wait([self._task, listening], return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():
                await self._task
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def stop(self, seconds: float) -> None:
        """Take no more requests and end within about `seconds`: what is not answered by then is cut off."""
        if self._task is None or self._socket is None:
            if self._socket is not None:
                self._socket.close()
            return
        self._server.config.timeout_graceful_shutdown = math.ceil(seconds)
        self._server.leave()
        await asyncio.wait([self._task])
        # uvicorn cancels a late request and leaves it, and its connection, behind.
        late = self._server.server_state.tasks
        if late:
            await asyncio.wait(late)
        for connection in list(self._server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        self._task.result()


class _Bounded:
    """An ASGI application with a bound on the requests that it answers at the same time.

    uvicorn's own bound also counts connections that send nothing, and says 503 to who asks whether the hub lives.
    """

    def __init__(self, app: ASGIApp, requests: int, refused: Callable[[Refused], None]) -> None:
        self._app = app
        self._limit = requests
        self._refused = refused
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _NEVER_WAIT:
            await self._app(scope, receive, send)
            return
        if self._requests >= self._limit:
            self._refused("requests")
            busy = envelope(RestCode.BUSY, f"as many calls are being answered as limits.http_requests = {self._limit}")
            await busy(scope, receive, send)
            return
        self._requests += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1


class _Config(uvicorn.Config):
    connections: Connections
    refused: Callable[[Refused], None]
    request_seconds: float
    unread_bytes: int
    taking_seconds: float
    lines: FewLines


def _make_config(app: ASGIApp, keep_alive_seconds: int) -> _Config:
    return _Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=keep_alive_seconds,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves the signals to the service and says when it listens."""

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """Begin to end."""
        self.should_exit = True
        self._leaving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        # uvicorn looks ten times a second whether to end, and every tenth time renews the Date header.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), 1)


class _FewWarnings(logging.LoggerAdapter[logging.Logger]):
    """uvicorn's logger for what strangers make it warn of: a line for each of their requests would fill the disk."""

    def __init__(self, logger: logging.Logger, lines: FewLines) -> None:
        super().__init__(logger)
        self.level = logger.level
        self._lines = lines

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        if self._lines.next() is not None:
            super().warning(msg, *args, **kwargs)


class _Protocol(H11Protocol):
    """uvicorn's connection, with bounds: how many there are, the time and bytes of a request, the time of an answer."""

    config: _Config

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Here and not by `Config(access_log=False)`, which would silence other uvicorns of this process too.
        self.access_log = False
        self.logger = _FewWarnings(self.logger, self.config.lines)  # type: ignore[assignment]
        self._address: str | None = None
        """Where it comes from, as far as it is counted; None where it was not let in."""
        self._deadline: asyncio.TimerHandle | None = None
        self._unread = 0
        """Bytes that came since the answer, of the body of the request that was answered."""
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # There is no address behind a Unix socket, which uvicorn could be given.
        address = self.client[0] if self.client is not None else ""
        reason = self.config.connections.admit(address)
        if reason is not None:
            self.config.refused(reason)
            transport.abort()
            return
        self._address = address
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Between requests uvicorn's own keep-alive timer runs; any byte stops it, so ours takes over.
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing():
            if self._deadline is None:
                self._set_deadline()
            self._count_unread(len(data))
        else:
            self._clear_deadline()
            self._unread = 0

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # What a client sent ahead of this answer is read now and not in `data_received`; it may be part of a request.
        begun = self.conn.their_state is h11.SEND_BODY or (self.conn.their_state is h11.IDLE and self._is_behind)
        if begun and self._deadline is None and not self.transport.is_closing():
            self._set_deadline()

    @property
    def _is_behind(self) -> bool:
        """Whether bytes are here that are no request yet."""
        data, _ = self.conn.trailing_data
        return bool(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        self._await_no_taking()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        self._await_no_taking()
        if self._address is not None:
            self.config.connections.leave(self._address)
        super().connection_lost(exc)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing of a client that asks for WebSocket or HTTP/2 as well: it is answered as if it had not."""

    def _await_taking(self) -> None:
        """Look later whether the client has taken anything of what waits for it now."""
        waiting = self.transport.get_write_buffer_size()
        self._taking = self.loop.call_later(self.config.taking_seconds, self._has_taken, waiting)

    def _has_taken(self, waited: int) -> None:
        if self.transport.get_write_buffer_size() < waited:
            self._await_taking()
        else:
            self.transport.abort()

    def _await_no_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _count_unread(self, size: int) -> None:
        if self.conn.our_state is not h11.DONE:
            self._unread = 0
            return
        self._unread += size
        if self._unread > self.config.unread_bytes:
            self.transport.abort()

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(self.config.request_seconds, self.transport.abort)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
