"""Waiting for an event, but not for ever."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["within"]


async def within(event: asyncio.Event, seconds: float) -> bool:
    """Whether an event comes within some seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
