"""The writer thread: group commit, retries, the fold beside them, and telling who waits."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count, repeat
from pathlib import Path
from time import perf_counter
from typing import Any

from enos_ingest.errors import StorageError, StoreClosedError
from enos_ingest.logs import get_logger
from enos_ingest.outcome import Record
from enos_ingest.storage.database import Database
from enos_ingest.storage.faults import explain, translated
from enos_ingest.storage.fold import Fold
from enos_ingest.storage.group import Group
from enos_ingest.storage.quarantine import Bounds, Usage
from enos_ingest.storage.store import Done, WriterStats

__all__ = ["SqliteWriter"]

log = get_logger(__name__)

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
        # Records as they are handed in, no group when the fold has something to do, False at the end.
        self._groups: queue.SimpleQueue[Group | bool] = queue.SimpleQueue()
        with translated(path):
            self._database = Database(path, Bounds(quarantine_rows, quarantine_bytes))
            try:
                self._fold = Fold(self._database.connection, self._database.path, self._look)
            except BaseException:
                self._database.close()
                raise
        self._on_state = on_state
        self._handed_in = Group()
        self._too_late: list[Done] = []
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
        self._worst_seconds = 0.0
        self._total_seconds = 0.0
        # What the two threads share, besides the queue and the counters of the fold, which the loop only reads.
        self._closing = threading.Event()
        # A daemon, so that a program that ends without `close` ends; SQLite then recovers at the next start.
        self._thread = threading.Thread(target=self._run, name="enos-ingest-writer", daemon=True)
        self._thread.start()

    def commit(self, record: Record, done: Done) -> None:
        """Hand a record in; `done` is told once it is on disk, in the order of the calls."""
        if self._closed:
            self._refuse(done)
            return
        self._pending += 1
        # All of one turn of the event loop are handed over together.
        if not self._handed_in.dones:
            self._loop.call_soon(self._hand_over)
        self._handed_in.add(record, done, self._database.known)
        if self._handed_in.is_full:
            self._hand_over()

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
            commit_seconds_total=self._total_seconds,
            last_commit_seconds=self._last_seconds,
            worst_commit_seconds=self._worst_seconds,
            unfolded_points=self._fold.points,
            folds=self._fold.count,
            fold_seconds_total=self._fold.seconds,
            fold_failure=self._fold.failure,
        )

    async def close(self) -> None:
        """Commit everything handed in, then stop.

        While the database cannot commit, each waiting group gets no more than one further try; what is left fails
        with `StoreClosedError`.
        """
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._closing.set()
            self._groups.put(False)
        await asyncio.shield(self._ended)
        self._thread.join()

    def _hand_over(self) -> None:
        if self._handed_in.dones:
            self._groups.put(self._handed_in)
            self._handed_in = Group()

    def _refuse(self, done: Done) -> None:
        """Tell one that came too late, after all that were in time."""
        if self._ended.done():
            self._loop.call_soon(done, StoreClosedError("the store is closed"))
        else:
            self._too_late.append(done)

    def _look(self) -> None:
        """Have the writer thread look at the fold; called in any thread."""
        self._groups.put(True)

    # The writer thread.

    def _run(self) -> None:
        failure = None
        waiting: deque[Group] = deque()
        ended = False
        try:
            while waiting or not ended:
                ended = ended or self._take(waiting)
                idle = not waiting
                if waiting:
                    group = waiting.popleft()
                    while waiting and group.takes(waiting[0]):
                        group.extend(waiting.popleft())
                    failure = self._commit(group) if failure is None else self._give_up(group, failure)
                if not ended:
                    self._fold.advance(idle=idle, quiet=not waiting and self._groups.empty())
        finally:
            self._end()

    def _take(self, waiting: deque[Group]) -> bool:
        """Take all records that are there, having waited where nothing is to be done; True if none comes after them."""
        try:
            handed_in = self._groups.get(timeout=0 if waiting else self._fold.patience())
            while handed_in is not False:
                if handed_in is not True:
                    waiting.append(handed_in)
                handed_in = self._groups.get_nowait()
        except queue.Empty:
            return False
        return True

    def _commit(self, group: Group) -> str | None:
        """Commit, however often it takes; returns why not, once the store is closing and cannot."""
        pause = FIRST_PAUSE
        while True:
            last_try = self._closing.is_set()
            started = perf_counter()
            try:
                self._fold.make_room(group.points)
                content = self._database.commit(group)
            except Exception as error:  # noqa: BLE001 - whatever it is, the thread must live and the group be kept
                failure = explain(error, self._database.path)
                self._tell(self._failed, failure)
                if last_try:
                    return self._give_up(group, failure)
                self._closing.wait(pause)
                pause = min(2 * pause, LAST_PAUSE)
            else:
                seconds = perf_counter() - started
                self._fold.appended(content)
                self._tell(self._committed, group, self._database.usage, seconds)
                return None

    def _give_up(self, group: Group, failure: str) -> str:
        self._tell(self._abandoned, group, failure)
        return failure

    def _end(self) -> None:
        try:
            try:
                self._fold.close()
            finally:
                self._database.close()
        except Exception as error:  # noqa: BLE001 - all is committed or refused; the next start folds the log in
            self._tell(self._failed, explain(error, self._database.path))
        self._tell(self._finished)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop was closed without awaiting `close`: nobody is left to be told, and nobody is answered.
            if not self._loop.is_closed():
                raise

    # Back in the event loop.

    def _committed(self, group: Group, usage: Usage, seconds: float) -> None:
        self._pending -= len(group)
        self._commits += 1
        self._last_seconds = seconds
        self._worst_seconds = max(self._worst_seconds, seconds)
        self._total_seconds += seconds
        self._usage = usage
        self._records += len(group) - len(group.faults)
        self._points += group.points
        # Before those who wait are told: they may ask.
        self._set_failure(None)
        if group.faults:
            _tell_all(group.dones, map(group.faults.get, count()))
        else:
            _tell_all(group.dones, repeat(None))

    def _failed(self, failure: str) -> None:
        self._failed_commits += 1
        self._set_failure(failure)

    def _abandoned(self, group: Group, failure: str) -> None:
        self._pending -= len(group)
        msg = f"the store was closed before this record could be committed: {failure}"
        _tell_all(group.dones, repeat(StoreClosedError(msg)))

    def _finished(self) -> None:
        _tell_all(self._too_late, repeat(StoreClosedError("the store is closed")))
        self._too_late.clear()
        self._ended.set_result(None)

    def _set_failure(self, failure: str | None) -> None:
        if failure == self._failure:
            return
        self._failure = failure
        if self._on_state is not None:
            try:
                self._on_state(failure)
            except Exception:  # a fault of one who listens must not keep those who wait from being told
                log.exception("what listened for the state of the store failed")


def _tell_all(dones: Iterable[Done], faults: Iterable[StorageError | None]) -> None:
    """Tell each that waits its fault; what fails in one must not keep the others waiting."""
    rest = zip(dones, faults, strict=False)
    while True:
        try:
            for done, fault in rest:
                done(fault)
        except Exception:  # the next round goes on with the one after it
            log.exception("what waited for a commit failed")
        else:
            return
