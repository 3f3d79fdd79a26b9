"""Rows that are too old, or too many, deleted beside the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import NamedTuple

from enos_ingest.storage.faults import translated
from enos_ingest.storage.sqlite import CHECKPOINT_PAGES, connect_beside
from enos_ingest.storage.transactions import transaction

__all__ = ["PURGE_ROWS", "PURGE_SECONDS", "Purge", "Purged", "connected_to_purge", "delete_slice", "purge"]

PURGE_ROWS = 500
"""Rows deleted in one transaction, some milliseconds: the writer waits for it, and devices for the writer."""

PURGE_SECONDS = 5.0
"""How long one purge goes on: a service that stops waits for it. A hundred thousand rows go in that time, more than
come between two purges, a minute; should there be more once, the next one goes on."""


class Purge(NamedTuple):
    """The statements for one kind of rows.

    Attributes:
        old: deletes the oldest of those before a time, at most a number of them.
        oldest: deletes the oldest, at most a number of them.
        total: says how many there are.
    """

    old: str
    oldest: str
    total: str


class Purged(NamedTuple):
    """What a purge has done: how many rows are deleted, and kept, and whether none is left that should go."""

    deleted: int
    kept: int
    is_done: bool


def purge(path: Path, rows: Purge, before: int, keep: int) -> Purged:
    """Delete rows from before a time, in epoch milliseconds, and the oldest beyond `keep`.

    Slice by slice, each a transaction of its own, with pauses between them in which the writer gets its turn; for
    `PURGE_SECONDS` at the most, what is left then is for the next call. Blocks.

    Raises:
        StorageError: the database cannot be written now.
    """
    with connected_to_purge(path) as connection:
        deleted, end = 0, monotonic() + PURGE_SECONDS
        while monotonic() < end and (count := delete_slice(connection, rows.old, before, PURGE_ROWS)):
            deleted += count
        kept = int(connection.execute(rows.total).fetchone()[0])
        while kept > keep and monotonic() < end:
            count = delete_slice(connection, rows.oldest, min(kept - keep, PURGE_ROWS))
            deleted += count
            kept -= count
        return Purged(deleted, kept, is_done=monotonic() < end)


@contextmanager
def connected_to_purge(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for the block, to delete rows with beside the writer; its faults become `StorageError`."""
    with translated(path):
        connection = connect_beside(path.resolve())
        try:
            # What a power cut brings back is deleted at the next call.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            yield connection
        finally:
            connection.close()


def delete_slice(connection: sqlite3.Connection, statement: str, *parameters: int) -> int:
    """Delete some rows in a transaction of their own, then leave the writer its turn; returns how many there were."""
    started = perf_counter()
    with transaction(connection):
        count = connection.execute(statement, parameters).rowcount
    if count:
        # SQLite has no queue of those who wait to write: without a pause the writer could come last for long.
        sleep(perf_counter() - started)
    return count
