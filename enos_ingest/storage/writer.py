"""The writer thread: group commit, retries, futures."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from enos_ingest.errors import StoreClosedError
from enos_ingest.outcome import Record
from enos_ingest.storage.database import Database
from enos_ingest.storage.faults import explain, translated
from enos_ingest.storage.group import Entry, Group
from enos_ingest.storage.quarantine import Bounds, Usage
from enos_ingest.storage.store import WriterStats

__all__ = ["SqliteWriter"]

QUARANTINE_ROWS = 10_000
QUARANTINE_BYTES = 64 * 2**20
"""What is kept of rejected messages unless the caller says otherwise: enough for a person to see what is wrong."""

FIRST_PAUSE = 0.1
LAST_PAUSE = 2.0
"""Seconds between tries while the database cannot commit: the first short, because most locks are; the last short
enough that devices are served again within seconds of the disk having space."""


class SqliteWriter:
    """The `Writer` for SQLite: one thread that commits whatever has been handed in meanwhile.

    Made and used in a running event loop; `close` must be awaited before that loop ends. Opening blocks: it belongs
    before the listeners.

    Args:
        path: the database; made where it is missing.
        quarantine_rows, quarantine_bytes: how much of rejected messages is kept.
        on_state: called in the event loop when `stats().failure` changes, with its new value.

    Raises:
        StorageError: the database cannot be opened or written.
    """

    def __init__(
        self,
        path: Path,
        *,
        quarantine_rows: int = QUARANTINE_ROWS,
        quarantine_bytes: int = QUARANTINE_BYTES,
        on_state: Callable[[str | None], None] | None = None,
    ) -> None:
        if quarantine_rows < 0 or quarantine_bytes < 0:
            msg = "quarantine_rows and quarantine_bytes cannot be negative"
            raise ValueError(msg)
        self._loop = asyncio.get_running_loop()
        with translated(path):
            self._database = Database(path, Bounds(quarantine_rows, quarantine_bytes))
        self._on_state = on_state
        self._entries: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._closed = False
        # Everything counted here belongs to the event loop's thread: the writer thread only sends it over.
        self._pending = 0
        self._commits = 0
        self._records = 0
        self._points = 0
        self._failed_commits = 0
        self._failure: str | None = None
        self._usage = self._database.usage
        self._last_seconds = 0.0
        self._total_seconds = 0.0
        # What the two threads share, besides the queue.
        self._closing = threading.Event()
        # A daemon, so that a program that ends without `close` ends; SQLite then recovers at the next start.
        self._thread = threading.Thread(target=self._run, name="enos-ingest-writer", daemon=True)
        self._thread.start()

    def commit(self, record: Record) -> asyncio.Future[None]:
        """Hand a record in; the future is done once it is on disk, in the order of the calls."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self._closed:
            future.set_exception(StoreClosedError("the store is closed"))
            return future
        self._pending += 1
        self._entries.put(Entry(record, future, self._database.known))
        return future

    def stats(self) -> WriterStats:
        """What was done so far."""
        return WriterStats(
            pending=self._pending,
            commits=self._commits,
            committed_records=self._records,
            committed_points=self._points,
            failed_commits=self._failed_commits,
            quarantine_rows=self._usage.entries,
            quarantine_bytes=self._usage.size,
            failure=self._failure,
            last_commit_seconds=self._last_seconds,
            commit_seconds_total=self._total_seconds,
        )

    async def close(self) -> None:
        """Commit everything handed in, then stop.

        While the database cannot commit, each waiting group gets no more than one further try; what is left fails
        with `StoreClosedError`.
        """
        if not self._closed:
            self._closed = True
            self._closing.set()
            self._entries.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    # The writer thread.

    def _run(self) -> None:
        failure = None
        try:
            ended = False
            while not ended:
                group, ended = self._take()
                failure = self._commit(group) if failure is None else self._give_up(group, failure)
        finally:
            self._end()

    def _take(self) -> tuple[Group, bool]:
        """Wait for a record, take what else is there; the flag says that nothing comes after."""
        group = Group()
        entry = self._entries.get()
        while entry is not None:
            group.add(entry)
            if group.full:
                return group, False
            try:
                entry = self._entries.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: Group) -> str | None:
        """Commit, however often it takes; returns why not, once the store is closing and cannot."""
        pause = FIRST_PAUSE
        while group.entries:
            last_try = self._closing.is_set()
            started = perf_counter()
            try:
                self._database.commit(group.entries)
            except Exception as error:  # noqa: BLE001 - whatever it is, the thread must live and the group be kept
                failure = explain(error, self._database.path)
                self._tell(self._failed, failure)
                if last_try:
                    return self._give_up(group, failure)
                self._closing.wait(pause)
                pause = min(2 * pause, LAST_PAUSE)
            else:
                self._tell(self._committed, group.entries, self._database.usage, perf_counter() - started)
                break
        return None

    def _give_up(self, group: Group, failure: str) -> str:
        self._tell(self._abandoned, group.entries, failure)
        return failure

    def _end(self) -> None:
        try:
            self._database.close()
        except Exception as error:  # noqa: BLE001 - all is committed or refused; the next start folds the log in
            self._tell(self._failed, explain(error, self._database.path))
        self._tell(self._ended.set_result, None)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop was closed without awaiting `close`: nobody is left to be told, and nobody is answered.
            if not self._loop.is_closed():
                raise

    # Back in the event loop.

    def _committed(self, entries: list[Entry], usage: Usage, seconds: float) -> None:
        self._pending -= len(entries)
        self._commits += 1
        self._last_seconds = seconds
        self._total_seconds += seconds
        self._usage = usage
        for entry in entries:
            if entry.fault is None:
                self._records += 1
                self._points += len(entry.record.points)
            # A caller that was cancelled has cancelled its future; its record is stored all the same.
            if entry.future.done():
                continue
            if entry.fault is None:
                entry.future.set_result(None)
            else:
                entry.future.set_exception(entry.fault)
        self._set_failure(None)

    def _failed(self, failure: str) -> None:
        self._failed_commits += 1
        self._set_failure(failure)

    def _abandoned(self, entries: list[Entry], failure: str) -> None:
        self._pending -= len(entries)
        for entry in entries:
            if not entry.future.done():
                msg = f"the store was closed before this record could be committed: {failure}"
                entry.future.set_exception(StoreClosedError(msg))

    def _set_failure(self, failure: str | None) -> None:
        if failure == self._failure:
            return
        self._failure = failure
        if self._on_state is not None:
            self._on_state(failure)
