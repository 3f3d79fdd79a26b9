"""A connection as asyncio's streams, which may be taken back from them."""

from __future__ import annotations

import asyncio

__all__ = ["Streams"]


class Streams(asyncio.StreamReaderProtocol):
    """Streams that remember how far the end of their connection has come."""

    is_lost = False
    """Whether the socket is gone."""
    has_ended = False
    """Whether the client has said that it sends no more."""

    def eof_received(self) -> bool | None:
        self.has_ended = True
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        super().connection_lost(exc)
