"""An HTTP listener of our own with a client, for the time of a block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import ASGIApp

from enos_ingest.http.listener import HttpListener
from enos_ingest.sockets import Bind
from tests.process import PATIENCE

__all__ = ["serving"]


@asynccontextmanager
async def serving(app: ASGIApp, **bounds: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that really listens; `bounds` are the listener's."""
    listener = HttpListener(app, Bind("127.0.0.1", 0), **bounds)
    listener.bind()
    await listener.start()
    try:
        # A proxy in somebody's environment is not to be asked.
        url = f"http://{listener.address}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as client:
            yield client
    finally:
        await listener.stop(5)
