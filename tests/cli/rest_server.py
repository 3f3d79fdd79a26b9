"""A small HTTP server in the place of a hub: it answers what a test says, and keeps what it was asked."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import orjson

__all__ = ["Call", "RestServer", "serving"]


class Call(NamedTuple):
    """A request that arrived; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What is answered next."""

    status: int
    headers: dict[str, str]
    body: bytes


class RestServer:
    """The server; `address` is `HOST:PORT`. It speaks TLS where it has a context for that."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.calls: list[Call] = []
        self._answers: deque[Answer] = deque()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.serve(self)

            do_POST = do_GET  # noqa: N815 - as above

            def log_message(self, *_: Any) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="REST server of a test")
        self._thread.start()

    def will_answer(self, data: Any, *, code: int = 0, msg: str = "Success", status: int = 200) -> None:
        """Answer one more call with an envelope."""
        document = {"code": code, "msg": msg, "submsg": None, "requestId": "7d863d517eae4f18a2776452eb1305bb"}
        self.will_send(orjson.dumps({**document, "data": data}), status=status)

    def will_send(self, body: bytes, *, status: int = 200, **headers: str) -> None:
        """Answer one more call with any bytes."""
        self._answers.append(Answer(status, headers, body))

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        parts = urlsplit(handler.path)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        self.calls.append(Call(handler.command, parts.path, dict(parse_qsl(parts.query)), headers, body))
        if not self._answers:
            return  # the connection ends without an answer
        answer = self._answers.popleft()
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[RestServer]:
    """A server until the block ends."""
    server = RestServer(tls)
    try:
        yield server
    finally:
        server.close()
