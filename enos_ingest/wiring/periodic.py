"""Work that is done again and again until the service stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from enos_ingest.logs import get_logger

__all__ = ["repeat"]

log = get_logger(__name__)


def repeat(name: str, work: Callable[[], Awaitable[None]], seconds: float, parts: contextlib.AsyncExitStack) -> None:
    """Do something every so many seconds, until the parts of the service are closed."""
    ended = asyncio.Event()
    task = asyncio.create_task(_every(seconds, work, ended), name=name)
    parts.push_async_callback(_ended, task, ended)


async def _every(seconds: float, work: Callable[[], Awaitable[None]], ended: asyncio.Event) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ended.wait()
                return
        try:
            await work()
        except Exception:  # out of file descriptors, for one: a watch that ended would never see a change again
            log.exception("a periodic task failed and will be tried again")


async def _ended(task: asyncio.Task[None], ended: asyncio.Event) -> None:
    """Let a periodic task come to its end: a thread of its may be reading what is closed next."""
    ended.set()
    await task
