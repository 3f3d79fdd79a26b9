"""The fold: brings points from the inbox into their place, beside the commits and never for long in their way."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from time import monotonic, perf_counter
from typing import NamedTuple

from enos_ingest.storage import inbox
from enos_ingest.storage.faults import explain
from enos_ingest.storage.inbox import Appended, Row
from enos_ingest.storage.store import FoldState
from enos_ingest.storage.transactions import transaction

__all__ = ["FOLD_POINTS", "MOST_POINTS", "Fold"]

FOLD_POINTS = 100_000
"""Points in the inbox at which a fold begins: enough of each series that pages are written once for many points, few
enough to be read through in a tenth of a second."""

FOLD_SIZE = 16 * 2**20
"""The same in characters, where values are long."""

MOST_POINTS = 5 * FOLD_POINTS
MOST_SIZE = 4 * FOLD_SIZE
"""What the inbox may hold; beyond, commits wait for the fold. A point takes some 200 bytes of memory until then, and
its characters: up to four bytes each of a text that has one outside of the Basic Multilingual Plane."""

IDLE_SECONDS = 0.2
"""How long nothing must have come before a smaller inbox is folded, so that who reads finds little of it."""

FOLD_SECONDS = 10.0
"""How long points stay in the inbox at the most where something always comes, but never enough for a fold."""

SLICE_SIZE = 64 * 1024
_ROW_SIZE = 40
_PAGE_SIZE = 1000
"""What is put in its place in one transaction, some 2 ms, which is how long a commit may find the fold in its way:
characters of values, `_ROW_SIZE` more for each point, and `_PAGE_SIZE` for each series, whose page takes as long."""

REMOVED_SIZE = 2**20
_REMOVE_COST = 1000
"""Characters of the inbox that are deleted in one transaction: some 20 000 points, which takes as long as it takes to
put so many in their place."""

LOG_PAGES = 250
"""Pages in the write-ahead log that go to the database file, in some 5 ms, when nothing waits. Otherwise a commit would
find it in its way that there are `CHECKPOINT_PAGES`."""

_COMMIT_PAGES, _STEP_PAGES = 4, 50
"""What a commit and a step of a fold write besides the text of points; no more than a guess is needed."""

FIRST_PAUSE, LAST_PAUSE = 1.0, 5.0
"""Seconds until a fold that failed is tried again: a hub whose fold fails is not ready, and should be soon after its
disk has space."""

_PUT_ROWS = 100
"""Points that go over in a statement: each is a search for its place, but starting one takes longer than that."""

_HEAD = "INSERT INTO points (series, time, value, quality, origin) VALUES "
_ROW = "(?, ?, ?, ?, ?)"
# Of two of one time the later wins.
_TAIL = """
    ON CONFLICT (series, time) DO UPDATE SET
        value = excluded.value, quality = excluded.quality, origin = excluded.origin
"""
_PUT_MANY = f"{_HEAD}{', '.join([_ROW] * _PUT_ROWS)}{_TAIL}"
_PUT_ONE = f"{_HEAD}{_ROW}{_TAIL}"

_REMOVE = "DELETE FROM inbox WHERE id <= ?"

_by_time = itemgetter(1)


class _InboxRow(NamedTuple):
    id: int
    points: int
    size: int


class _Gathered:
    """Points of whole rows of the inbox, by series, and those rows."""

    def __init__(self) -> None:
        self.series: dict[int, list[Row]] = {}
        self.inbox: deque[_InboxRow] = deque()

    def add(self, appended: Appended) -> None:
        """Gather what was appended after all that is here."""
        self.inbox.append(_InboxRow(appended.id, len(appended.rows), appended.size))
        series = self.series
        for row in appended.rows:
            rows = series.get(row[0])
            if rows is None:
                series[row[0]] = [row]
            else:
                rows.append(row)

    def slices(self) -> Iterator[list[Row]]:
        """The points in the order of their place, those of one time in the order of their arrival, some at a time."""
        found: list[Row] = []
        size = 0
        for series in sorted(self.series):
            rows = self.series.pop(series)
            rows.sort(key=_by_time)
            size += _PAGE_SIZE
            for row in rows:
                weight = _ROW_SIZE + len(row[2])
                if found and size + weight > SLICE_SIZE:
                    yield found
                    found, size = [], 0
                found.append(row)
                size += weight
        if found:
            yield found

    def oldest(self) -> list[_InboxRow]:
        """The oldest rows of the inbox, as many as are removed in one transaction; one at the least."""
        size = 0
        found: list[_InboxRow] = []
        for row in self.inbox:
            size += row.size
            if found and size > REMOVED_SIZE:
                break
            found.append(row)
        return found


class Fold:
    """Decides when and what to fold, and does it in transactions of its own; used by the engine alone.

    What is in the inbox is in memory too, until it is in its place. All points of a fold are in their place before the
    first is removed, and the oldest are removed first: at every moment what is left in the inbox is as new as what is
    in its place, or newer. Nothing depends on a fold being finished, and repeating it changes nothing: its
    transactions are not synced.

    Args:
        connection: the engine's.
        path: the database.

    Raises:
        sqlite3.Error: the database cannot be read.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.points = 0
        """How many points the inbox holds."""
        self._count = 0
        self._seconds = 0.0
        self._failure: str | None = None
        self._connection = connection
        self._path = path
        # What comes, and what a fold that has begun has still to put in its place and to remove.
        self._size = 0
        self._fresh = _Gathered()
        self._folding: _Gathered | None = None
        self._slices: Iterator[list[Row]] = iter(())
        self._slice: list[Row] | None = None
        self._synced = True
        self._owed = 0
        self._log_pages = 0
        self._begun = self._idle_at = monotonic()
        self._resume = 0.0
        self._pause = FIRST_PAUSE
        for appended in inbox.read(connection):
            self._gather(appended)

    @property
    def state(self) -> FoldState:
        """How it stands with the fold."""
        return FoldState(self.points, self._count, self._seconds, self._failure)

    def patience(self) -> float | None:
        """Seconds that the engine may wait for the next record before it calls `advance`; None: until there is one."""
        if self._folding:
            due = self._resume
        elif self.points:
            due = max(self._resume, self._idle_at)
        elif self._failure is not None:
            due = self._resume
        else:
            return None
        return max(0.0, due - monotonic())

    def appended(self, appended: Appended) -> None:
        """Note what a commit has appended.

        It owes the fold twice as many points, and more the fuller the inbox is: whatever the rate, the fold keeps up.
        """
        now = monotonic()
        self._idle_at = now + IDLE_SECONDS
        self._log_pages += _COMMIT_PAGES + appended.size // 4096
        if not appended.rows:
            return
        if not self.points:
            self._begun = now
        self._gather(appended)
        self._owed += len(appended.rows) * max(2, self.points // FOLD_POINTS)

    def advance(self, *, idle: bool, quiet: bool = False) -> None:
        """Go on with what is to be folded: as much as is owed, more where the engine is `idle`.

        A fault is kept, and what it hit is tried again after a while. Where it is `quiet`, so that nothing waits, the
        write-ahead log goes to the file.
        """
        if monotonic() < self._resume:
            return
        try:
            self._advance(idle=idle)
            if quiet and self._log_pages >= LOG_PAGES:
                self._connection.execute("PRAGMA main.wal_checkpoint(PASSIVE)")
                self._log_pages = 0
            if not self.points and self._log_pages < LOG_PAGES:
                self._recovered()  # with nothing left to be done, nothing fails
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
                if self._folding is None:
                    self._begin()
                self._go_on(1)
        except Exception as error:
            self._failed(error)
            raise

    def _gather(self, appended: Appended) -> None:
        self.points += len(appended.rows)
        self._size += appended.size
        self._fresh.add(appended)

    def _advance(self, *, idle: bool) -> None:
        if self._folding is None and self._is_due():
            self._begin()
        if self._folding is not None:
            self._go_on(1 if idle else self._owed)

    def _is_due(self) -> bool:
        if not self.points:
            return False
        if self.points >= FOLD_POINTS or self._size >= FOLD_SIZE:
            return True
        return monotonic() >= min(self._idle_at, self._begun + FOLD_SECONDS)

    def _begin(self) -> None:
        self._begun = monotonic()
        self._owed = 0
        self._folding, self._fresh = self._fresh, _Gathered()
        self._slices = self._folding.slices()

    def _go_on(self, points: int) -> None:
        """Put at least so many points in their place, if the fold has as many left."""
        if points <= 0:
            return
        started = perf_counter()
        with self._unsynced():
            while points > 0 and self._folding is not None:
                cost = self._step(self._folding)
                self._log_pages += _STEP_PAGES
                self._owed -= cost
                points -= cost
        self._went_on(started)

    def _step(self, folding: _Gathered) -> int:
        """One transaction; returns what it costs, in points put in their place."""
        # One that failed is tried again.
        self._slice = self._slice or next(self._slices, None)
        if self._slice is not None:
            cost = len(self._slice)
            with transaction(self._connection):
                self._put(self._slice)
            self._slice = None
            return cost
        removed = folding.oldest()
        self._connection.execute(_REMOVE, (removed[-1].id,))
        for row in removed:
            folding.inbox.popleft()
            self.points -= row.points
            self._size -= row.size
        if not folding.inbox:
            self._folding = None
            self._count += 1
        return _REMOVE_COST

    def _put(self, rows: list[Row]) -> None:
        whole = len(rows) - len(rows) % _PUT_ROWS
        for start in range(0, whole, _PUT_ROWS):
            columns = chain.from_iterable(rows[start : start + _PUT_ROWS])
            self._connection.execute(_PUT_MANY, tuple(columns))
        self._connection.executemany(_PUT_ONE, rows[whole:])

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

    def _went_on(self, started: float) -> None:
        self._seconds += perf_counter() - started
        self._recovered()

    def _recovered(self) -> None:
        if self._failure is not None:
            self._failure = None
            self._resume = 0.0
            self._pause = FIRST_PAUSE

    def _failed(self, error: Exception) -> None:
        self._failure = explain(error, self._path)
        self._resume = monotonic() + self._pause
        self._pause = min(2 * self._pause, LAST_PAUSE)
