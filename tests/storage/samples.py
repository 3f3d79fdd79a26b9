"""Points, records and an open writer for the tests of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from enos_ingest.commands.command import Command, Kind
from enos_ingest.errors import StorageError
from enos_ingest.outcome import Point, Record, Rejection
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.storage.writer import SqliteWriter

PRODUCT, DEVICE = "EbxGvUrE", "gw-1"

PATIENCE = 60
"""Seconds after which a test that waits for something is given up."""


def point(
    value: Any = 1, *, name: str = "temp", time: int = 1, quality: int | None = None, origin: str = "post"
) -> Point:
    """A point of the one device that these tests know."""
    return Point(PRODUCT, DEVICE, name, time, value, quality, origin)


def record(*points: Point) -> Record:
    """A message that brings points and nothing else."""
    return Record(list(points))


def rejection(number: int = 1, payload: bytes = b"{", reason: str = "no JSON") -> Rejection:
    """A rejected message, received at the time `number`."""
    return Rejection(
        number, "/sys/EbxGvUrE/gw-1/thing/measurepoint/post", f"{PRODUCT}/{DEVICE}", 1206, reason, payload, len(payload)
    )


def command(number: int = 1, **changes: Any) -> Command:
    """A cached command to the one device, made at the time `number`; `changes` are members that differ."""
    made: dict[str, Any] = {
        "id": str(10**17 + number),
        "device": DeviceId(PRODUCT, DEVICE),
        "kind": Kind.SET_MEASUREPOINT,
        "identifier": "temp",
        "input": 21.5,
        "topic": f"/sys/{PRODUCT}/{DEVICE}/thing/service/measurepoint/set",
        "payload": b"{}",
        "timeout": 30,
        "pending_ttl": 600,
        "created": number,
        "application": "scada",
    }
    return Command(**(made | changes))


def ordered(command: Command) -> Record:
    """What stores a command and nothing else."""
    return Record([], command=command)


@asynccontextmanager
async def open_writer(
    path: Path,
    *,
    quarantine_rows: int = 1000,
    quarantine_bytes: int = 2**20,
    on_state: Callable[[str | None], None] | None = None,
) -> AsyncIterator[SqliteWriter]:
    """A writer that is closed at the end of the block."""
    writer = SqliteWriter(path, quarantine_rows=quarantine_rows, quarantine_bytes=quarantine_bytes, on_state=on_state)
    try:
        yield writer
    finally:
        await writer.close()


def commit(writer: SqliteWriter, record: Record) -> asyncio.Future[None]:
    """Hand a record in; the future is done as the writer says."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: StorageError | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    writer.commit(record, done)
    return future


async def folded(writer: SqliteWriter) -> None:
    """Wait until everything is in its place; nobody tells."""
    async with asyncio.timeout(PATIENCE):
        while writer.stats().unfolded_points:
            await asyncio.sleep(0.01)


def stored(path: Path) -> list[Point]:
    """Every point of the one device, as a reader gives them."""
    with SqliteReader(path) as reader:
        return list(reader.points(PRODUCT, DEVICE))
