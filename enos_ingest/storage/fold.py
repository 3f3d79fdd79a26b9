"""The fold: brings points from the inbox into their place, beside the commits and never for long in their way."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic

from enos_ingest.logs import get_logger
from enos_ingest.storage import inbox
from enos_ingest.storage.faults import explain
from enos_ingest.storage.inbox import Batch
from enos_ingest.storage.sqlite import connect_reader

__all__ = ["FOLD_POINTS", "MOST_POINTS", "Fold"]

log = get_logger(__name__)

FOLD_POINTS = 100_000
"""Points in the inbox at which a fold begins: enough of each series that pages are written once for many points, few
enough to be sorted in a quarter of a second and to be read through in a tenth."""

FOLD_BYTES = 32 * 2**20
"""The same, in bytes: bounds the memory for sorting, some three times as much."""

MOST_POINTS = 10 * FOLD_POINTS
"""Points in the inbox beyond which commits wait for the fold."""

SLICE_POINTS = 1000
"""Points that are put in their place in one statement: some 2 ms."""

IDLE_SECONDS = 0.2
"""How long nothing must have come before a smaller inbox is folded, so that who reads finds little of it."""

_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0
"""Seconds until a fold that failed is tried again."""


class Fold:
    """Decides when and what to fold; used by the writer's thread, but for the sorting, which has one of its own.

    Args:
        path: the database.
        found: what the inbox holds.
        sorted_: called in the sorter's thread when slices are ready, or sorting has failed.
    """

    def __init__(self, path: Path, found: Iterable[Batch], sorted_: Callable[[], None]) -> None:
        self._path = path
        self._batches = deque(found)
        self.points = sum(batch.points for batch in self._batches)
        """How many points the inbox holds."""
        self.done = 0
        """How many folds have been finished."""
        self._slices: deque[str] = deque()
        self._last = 0
        self._sorting = False
        self._resume = 0.0
        self._pause = _FIRST_PAUSE
        self._sorter = _Sorter(path, sorted_)

    @property
    def ready(self) -> bool:
        """Whether there are slices to put in their place."""
        return bool(self._slices)

    @property
    def overfull(self) -> bool:
        """Whether commits must wait for the fold."""
        return self.points >= MOST_POINTS

    def patience(self) -> float | None:
        """Seconds that the writer may wait for the next record before `begin`; None for as long as it takes."""
        if not self._batches or self._sorting:
            return None
        return max(IDLE_SECONDS, self._resume - monotonic())

    def appended(self, batch: Batch) -> None:
        """Note what a commit has appended; begins a fold where there is enough."""
        self._batches.append(batch)
        self.points += batch.points
        if self.points >= FOLD_POINTS:
            self.begin()

    def begin(self) -> None:
        """Have what is there sorted, the oldest first, unless a fold is on its way or has just failed."""
        if self._sorting or self._slices or not self._batches or monotonic() < self._resume:
            return
        size = 0
        for batch in self._batches:
            if size and size + batch.size > FOLD_BYTES:
                break
            size += batch.size
            self._last = batch.id
        self._sorting = True
        self._sorter.sort(self._last)

    def collect(self) -> None:
        """Take what the sorter has done."""
        if not self._sorter.done.empty():
            self._sorting = False
            result = self._sorter.done.get()
            if isinstance(result, Exception):
                self.failed(result)
            else:
                self._slices.extend(result)

    def share(self, points: int) -> list[str]:
        """The slices to put in their place beside a commit of so many points.

        Twice as many points as it appends, and more the fuller the inbox is: whatever the rate, the fold keeps up.
        """
        wanted = points * max(2, self.points // FOLD_POINTS)
        return [self._slices[index] for index in range(min(len(self._slices), 1 + wanted // SLICE_POINTS))]

    def put(self, slices: list[str], connection: sqlite3.Connection) -> None:
        """Put slices in their place, in the transaction that is open; with the last of a fold its inbox goes."""
        for text in slices:
            connection.execute(inbox.UPSERT, (text,))
        if slices and len(slices) == len(self._slices):
            inbox.remove(connection, self._last)

    def committed(self, slices: list[str]) -> None:
        """The transaction that slices were put in place in is on disk."""
        for _ in slices:
            self._slices.popleft()
        if slices and not self._slices:
            while self._batches and self._batches[0].id <= self._last:
                self.points -= self._batches.popleft().points
            self.done += 1
            self._pause = _FIRST_PAUSE
            if self.points >= FOLD_POINTS:
                self.begin()

    def failed(self, error: BaseException) -> None:
        """Leave the inbox as it is for a while; a fold that is repeated from its start changes nothing."""
        log.warning(
            "points stay in the inbox, their fold failed and will be tried again",
            reason=explain(error, self._path),
            seconds=self._pause,
            points=self.points,
        )
        self._slices.clear()
        self._resume = monotonic() + self._pause
        self._pause = min(2 * self._pause, _LAST_PAUSE)

    def close(self) -> None:
        """End the sorter; what is in the inbox is folded after the next start."""
        self._sorter.close()


class _Sorter:
    """A thread that sorts; most of its time is SQLite's, without the GIL."""

    def __init__(self, path: Path, sorted_: Callable[[], None]) -> None:
        self.done: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()
        self._path = path
        self._sorted = sorted_
        self._asked: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="enos-ingest-sorter", daemon=True)
        self._thread.start()

    def sort(self, last: int) -> None:
        """Sort everything up to this row of the inbox."""
        self._asked.put(last)

    def close(self) -> None:
        """End the thread, once it is done with what it sorts."""
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (last := self._asked.get()) is not None:
            try:
                self.done.put(self._slices(last))
            except Exception as error:  # noqa: BLE001 - the writer is told, and tries again
                self.done.put(error)
            self._sorted()

    def _slices(self, last: int) -> list[str]:
        # A connection for each sort: none holds the log in place between them.
        connection = connect_reader(self._path)
        try:
            rows = connection.execute(inbox.SLICES, {"last": last, "slice": SLICE_POINTS}).fetchall()
        finally:
            connection.close()
        return [text for (text,) in rows]
