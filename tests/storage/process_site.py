"""A writer whose engine has a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from enos_ingest.storage.process import ProcessLink
from enos_ingest.storage.writer import SqliteWriter
from tests.storage.samples import (
    PATIENCE,
)


@asynccontextmanager
async def open_process(
    path: Path,
    *,
    on_state: Callable[[str | None], None] | None = None,
    on_lost: Callable[[], None] | None = None,
) -> AsyncIterator[SqliteWriter]:
    """A writer with a process, closed at the end of the block."""
    writer = SqliteWriter(path, quarantine_rows=1000, on_state=on_state, on_lost=on_lost, process=True)
    try:
        yield writer
    finally:
        async with asyncio.timeout(PATIENCE):
            await writer.close()


def pid(writer: SqliteWriter) -> int:
    """The id of the writer's process."""
    assert isinstance(writer.link, ProcessLink)
    return writer.link.pid
