"""The fold: brings points from the inbox into their place, beside the commits and never for long in their way."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter

from enos_ingest.logs import get_logger
from enos_ingest.storage import inbox
from enos_ingest.storage.faults import explain
from enos_ingest.storage.sorter import Sorter, Step
from enos_ingest.storage.transactions import transaction

__all__ = ["FOLD_POINTS", "MOST_POINTS", "Fold"]

log = get_logger(__name__)

FOLD_POINTS = 100_000
"""Points in the inbox at which a fold begins: enough of each series that pages are written once for many points, few
enough to be read through in a tenth of a second."""

FOLD_SIZE = 16 * 2**20
"""The same in characters, where values are long."""

MOST_POINTS = 10 * FOLD_POINTS
MOST_SIZE = 10 * FOLD_SIZE
"""What the inbox may hold; beyond, commits wait for the fold."""

SMALL_POINTS = 500
SMALL_SIZE = 64 * 1024
"""What is folded in one transaction, without the sorter."""

IDLE_SECONDS = 0.2
"""How long nothing must have come before a smaller inbox is folded, so that who reads finds little of it."""

FOLD_SECONDS = 10.0
"""How long points stay in the inbox at the most where something always comes, but never enough for a fold."""

LOG_PAGES = 250
"""Pages in the write-ahead log that go to the database file, in some 5 ms, when nothing waits. Otherwise a commit would
find it in its way that there are `CHECKPOINT_PAGES`."""

_COMMIT_PAGES, _STEP_PAGES = 4, 50
"""What a commit and a step of a fold write besides the text of points; no more than a guess is needed."""

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds until a fold that failed is tried again."""


class Fold:
    """Decides when and what to fold, and does it in transactions of its own; used by the writer's thread.

    Nothing depends on a fold being finished, and repeating it changes nothing: its transactions are not synced.

    Args:
        connection: the writer's.
        path: the database.
        ready: called in another thread when `advance` has something to do.

    Raises:
        sqlite3.Error: the database cannot be read.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, ready: Callable[[], None]) -> None:
        self.points, self._size = inbox.content(connection)
        """How many points the inbox holds; the event loop may look at it, and at what follows."""
        self.count = 0
        """How many folds have been finished."""
        self.seconds = 0.0
        """How long commits could find the fold in their way, in all."""
        self.failure: str | None = None
        """Why the last fold failed, None once one has gone on."""
        self._connection = connection
        self._path = path
        # What no sort has taken yet.
        self._unsorted, self._unsorted_size = self.points, self._size
        self._sorter = Sorter(path, ready)
        self._sorting = False
        self._steps: deque[Step] = deque()
        self._last = 0
        self._attached = False
        self._synced = True
        self._owed = 0
        self._log_pages = 0
        self._begun = self._idle_at = monotonic()
        self._resume = 0.0
        self._pause = FIRST_PAUSE

    def patience(self) -> float | None:
        """Seconds that the writer may wait for the next record before it calls `advance`; None: until it is ready."""
        if self._steps or (self._sorting and self._sorter.is_ready):
            due = self._resume
        elif self.points and not self._sorting:
            due = max(self._resume, self._idle_at)
        else:
            return None
        return max(0.0, due - monotonic())

    def appended(self, content: inbox.Content) -> None:
        """Note what a commit has appended.

        It owes the fold twice as many points, and more the fuller the inbox is: whatever the rate, the fold keeps up.
        """
        now = monotonic()
        self._idle_at = now + IDLE_SECONDS
        if not self.points:
            self._begun = now
        self.points += content.points
        self._size += content.size
        self._unsorted += content.points
        self._unsorted_size += content.size
        self._owed += content.points * max(2, self.points // FOLD_POINTS)
        self._log_pages += _COMMIT_PAGES + content.size // 4096

    def advance(self, *, idle: bool, quiet: bool = False) -> None:
        """Do what is due: what the commits owe, or one step where none came. A failure is noted, and tried again.

        Args:
            idle: whether there was nothing to commit since the last call.
            quiet: whether there is nothing to commit now.
        """
        if monotonic() < self._resume:
            return
        try:
            self._advance(idle=idle)
            if quiet and self._log_pages >= LOG_PAGES:
                self._log_pages = 0
                self._connection.execute("PRAGMA main.wal_checkpoint(PASSIVE)")
        except Exception as error:  # noqa: BLE001 - whatever it is, commits go on
            self._failed(error)

    def make_room(self, points: int) -> None:
        """Before a commit of so many points: fold until the inbox can take it, and leave the connection synced.

        Raises:
            sqlite3.Error, StorageError, MemoryError: the database cannot be written now; the same may be tried again.
        """
        self._sync()
        try:
            while self.points and (self.points + points > MOST_POINTS or self._size > MOST_SIZE):
                if self._sorting and not self._steps:
                    self._collect(wait=True)
                if self._steps:
                    self._put(1)
                elif not self._sorting:
                    self._begin()
        except Exception as error:
            self._failed(error)
            raise

    def close(self) -> None:
        """Give up what is being done; it is folded after the next start."""
        self._sorter.close()
        self._detach()

    def _advance(self, *, idle: bool) -> None:
        if self._sorting and not self._steps:
            self._collect()
        if self._steps:
            self._put(1 if idle else self._owed)
        if self._is_due():
            self._begin()

    def _is_due(self) -> bool:
        if self._sorting or not self._unsorted:
            return False
        if self._unsorted >= FOLD_POINTS or self._unsorted_size >= FOLD_SIZE:
            return True
        # One that is smaller waits for the one before.
        return not self._steps and monotonic() >= min(self._idle_at, self._begun + FOLD_SECONDS)

    def _begin(self) -> None:
        self._begun = monotonic()
        if not self._steps and self.points <= SMALL_POINTS and self._size <= SMALL_SIZE:
            started = perf_counter()
            with self._unsynced(), transaction(self._connection):
                inbox.fold_all(self._connection)
            self._log_pages += _STEP_PAGES
            self._recount(inbox.Content(0, 0))
            self._went_on(started)
            self.count += 1
            return
        # While rows of the inbox have still to be removed, those that come get greater ids.
        self._sorter.sort(self._last if self._steps else 0)
        self._sorting = True

    def _recount(self, content: inbox.Content) -> None:
        self.points, self._size = self._unsorted, self._unsorted_size = content

    def _collect(self, *, wait: bool = False) -> None:
        """Take what is sorted, if it is."""
        try:
            result = self._sorter.result(wait=wait)
        except Exception:  # passed on; what was not sorted will be, once the fold is tried again
            self._sorting = False
            raise
        if result is None:
            return
        self._sorting = False
        self._owed = 0
        self._detach()
        self._connection.execute("ATTACH ? AS scratch", (result.scratch,))
        self._attached = True
        self._sorter.release()
        self._steps.extend(result.steps)
        self._last = result.last
        self._unsorted -= result.points
        self._unsorted_size -= result.size
        if not result.steps:
            # Somebody else has emptied the inbox.
            self._recount(inbox.content(self._connection))

    def _put(self, points: int) -> None:
        """Put at least so many points in their place, if the fold has as many left."""
        if points <= 0:
            return
        started = perf_counter()
        with self._unsynced():
            while self._steps and points > 0:
                step = self._steps[0]
                self._connection.execute(step.statement, step.parameters)
                self._steps.popleft()
                self._log_pages += _STEP_PAGES
                points -= step.cost
                self._owed -= step.cost
                self.points -= step.removed
                self._size -= step.removed_size
        self._went_on(started)
        if not self._steps:
            self.count += 1
            self._detach()

    @contextmanager
    def _unsynced(self) -> Iterator[None]:
        """Let transactions in the block reach the disk with a later one: a power cut may undo the last of them.

        What was committed before is on disk already, and what is committed afterwards takes all of the log with it.
        """
        self._synced = False
        self._connection.execute("PRAGMA main.synchronous = NORMAL")
        try:
            yield
        finally:
            self._sync()

    def _sync(self) -> None:
        if not self._synced:
            self._connection.execute("PRAGMA main.synchronous = FULL")
            self._synced = True

    def _detach(self) -> None:
        if self._attached:
            self._connection.execute("DETACH scratch")
            self._attached = False

    def _went_on(self, started: float) -> None:
        self.seconds += perf_counter() - started
        if self.failure is not None:
            log.info("points are folded again", points=self.points)
            self.failure = None
            self._resume = 0.0
            self._pause = FIRST_PAUSE

    def _failed(self, error: Exception) -> None:
        failure = explain(error, self._path)
        if failure != self.failure:
            log.error("points stay in the inbox: folding them fails, and is tried again", reason=failure)
            self.failure = failure
        self._resume = monotonic() + self._pause
        self._pause = min(2 * self._pause, LAST_PAUSE)
