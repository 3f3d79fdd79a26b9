"""What a store promises, whatever engine is behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

from enos_ingest.devices.directory import Directory
from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record

__all__ = [
    "Committer",
    "Done",
    "FoldState",
    "QuarantineEntry",
    "QuarantineSummary",
    "StoredRegistry",
    "Writer",
    "WriterStats",
]


Done: TypeAlias = Callable[[StorageError | None], None]
"""Is told that a record is on disk, or why it never will be."""


class FoldState(NamedTuple):
    """How it stands with the fold.

    `points` are committed and wait in the inbox, `folds` were finished, which commits could find in their way for so
    many `seconds`; `failure` says why it cannot go on now, None while it can.
    """

    points: int
    folds: int
    seconds: float
    failure: str | None


class WriterStats(NamedTuple):
    """What the writer has done since it was opened, for metrics.

    `failure` is the sentence that says why the store cannot commit now, None while it can. Seconds are those of
    successful commits; `failed_commits` counts tries. `unfolded_points` are committed, and wait in the inbox for the
    fold; `fold_failure` says why they have to wait, which holds up nobody while there is room.
    """

    pending: int
    commits: int
    committed_records: int
    committed_points: int
    failed_commits: int
    quarantine_rows: int
    quarantine_bytes: int
    failure: str | None
    commit_seconds_total: float = 0.0
    worst_commit_seconds: float = 0.0
    unfolded_points: int = 0
    folds: int = 0
    fold_seconds_total: float = 0.0
    fold_failure: str | None = None


class Committer(Protocol):
    """What takes records for the database.

    `commit` hands a record in and returns at once. `done` is called in the event loop, in the order of the calls: with
    None once the record is on disk, with an error for a record that no database could hold, or one that came too late
    (`StoreClosedError`). While the database cannot commit nothing is called, and the writer tries again by itself.
    """

    def commit(self, record: Record, done: Done) -> None: ...


class Writer(Committer, Protocol):
    """The one way into the database for a running service."""

    def stats(self) -> WriterStats: ...

    async def close(self) -> None:
        """Commit everything handed in (as long as the database can), then stop."""
        ...


class StoredRegistry(NamedTuple):
    """The registry as it was read.

    `revision` grows with each change but those over the wire, `serial` is the number of the last one of those.
    """

    revision: int
    serial: int
    directory: Directory


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
