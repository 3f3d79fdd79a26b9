"""Whoever is told by the writer may fail at that; it stops nobody."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from enos_ingest.errors import StorageError
from enos_ingest.storage.writer import SqliteWriter
from tests.storage.samples import PATIENCE, commit, open_writer, point, record, stored


def test_a_callback_that_fails_stops_nobody(tmp_path: Path) -> None:
    """Who waits for a commit may fail when told; everybody else is told, in order, and the writer goes on."""
    path = tmp_path / "x.db"
    told: list[int] = []

    def done(number: int) -> Callable[[StorageError | None], None]:
        def tell(error: StorageError | None) -> None:
            assert error is None
            told.append(number)
            if number % 3 == 0:
                raise ValueError(number)

        return tell

    async def run() -> None:
        async with open_writer(path) as writer:
            for number in range(30):
                writer.commit(record(point(time=number)), done(number))
            await commit(writer, record())
            assert told == list(range(30))
            assert writer.stats().pending == 0
            await commit(writer, record(point(time=30)))

    asyncio.run(run())
    assert len(stored(path)) == 31


def test_a_state_callback_that_fails_stops_nobody(tmp_path: Path) -> None:
    """Who is told of the store's state may fail; those who wait for commits are told all the same."""
    path = tmp_path / "x.db"
    asyncio.run(_fail_in_on_state(path))
    assert len(stored(path)) == 10


async def _fail_in_on_state(path: Path) -> None:
    called = asyncio.Event()

    def on_state(_: str | None) -> None:
        called.set()
        raise ValueError

    writer = SqliteWriter(path, on_state=on_state)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        futures = [commit(writer, record(point(time=number))) for number in range(10)]
        async with asyncio.timeout(PATIENCE):
            await called.wait()
        other.execute("ROLLBACK")
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*futures)
        await writer.close()
