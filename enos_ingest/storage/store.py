"""What a store promises, whatever engine is behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from enos_ingest.outcome import Point, Record

__all__ = ["QuarantineEntry", "QuarantineSummary", "Reader", "Writer", "WriterStats"]


class WriterStats(NamedTuple):
    """What the writer has done since it was opened, for metrics.

    `failure` is the sentence that says why the store cannot commit now, None while it can. Seconds are those of
    successful commits; `failed_commits` counts tries.
    """

    pending: int
    commits: int
    committed_records: int
    committed_points: int
    failed_commits: int
    quarantine_rows: int
    quarantine_bytes: int
    failure: str | None
    last_commit_seconds: float = 0.0
    commit_seconds_total: float = 0.0


class Writer(Protocol):
    """The one way into the database for a running service.

    `commit` hands a record in and returns at once. The future is done once the record is on disk, in the order
    of the calls; while the database cannot commit it stays pending, and the writer tries again by itself.
    It fails only for a record that no database could hold (`StorageError`) or after `close`.
    """

    def commit(self, record: Record) -> asyncio.Future[None]: ...

    def stats(self) -> WriterStats: ...

    async def close(self) -> None:
        """Commit everything handed in (as long as the database can), then stop."""
        ...


class QuarantineSummary(NamedTuple):
    """One line of `quarantine ls`; `size` is the payload's length as received, in bytes."""

    id: int
    time: int
    topic: str
    publisher: str
    code: int
    reason: str
    size: int


class QuarantineEntry(NamedTuple):
    """One rejected message; `size` is the payload's length as received, more than is kept of one that was too big."""

    id: int
    time: int
    topic: str
    publisher: str
    code: int
    reason: str
    payload: bytes
    size: int


class Reader(Protocol):
    """The way out: never blocks the writer."""

    def points(
        self,
        product_key: str,
        device_key: str,
        *,
        measurepoint: str | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> Iterator[Point]:
        """Stored points by measurepoint, then time; `start` and `end` are inclusive epoch milliseconds."""
        ...

    def latest(self, product_key: str, device_key: str, *, measurepoint: str | None = None) -> Iterator[Point]:
        """The point with the greatest time of each measurement point, found without a scan."""
        ...

    def quarantine(self, *, limit: int) -> Iterator[QuarantineSummary]:
        """The newest rejected messages, newest first."""
        ...

    def quarantine_entry(self, entry_id: int) -> QuarantineEntry | None:
        """One rejected message, None where there is none of that id."""
        ...

    def close(self) -> None: ...
