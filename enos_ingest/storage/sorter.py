"""The sorter: a thread that brings the points of many commits into the order of their place."""

from __future__ import annotations

import queue
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from enos_ingest.storage.inbox import ARRIVED, UPSERT
from enos_ingest.storage.sqlite import connect_beside

__all__ = ["Sorted", "Sorter", "Step"]

SORT_POINTS = 250_000
"""Points that are sorted at once: some third of a second, and 30 MB while it lasts."""

SORT_SIZE = 32 * 2**20
"""Characters of their text, where values are long: bounds the memory of a sort, which takes some three times that."""

SLICE_SIZE = 64 * 1024
_ROW_SIZE = 40
_PAGE_SIZE = 1000
"""What is put in its place in one transaction, some 2 ms, which is how long a commit may find the fold in its way:
characters of values, `_ROW_SIZE` more for each point, and `_PAGE_SIZE` for each series, whose page takes as long."""

REMOVED_SIZE = 2**20
_REMOVE_COST = 1000
"""Characters of the inbox that are deleted in one transaction: some 20 000 points, which takes as long as it takes to
put so many in their place."""

_RELEASE = -1
"""Asked for in place of a row of the inbox, whose ids are positive."""

# Whole commits, the oldest first, up to the first that reaches a bound.
_LAST = """
    SELECT max(id) FROM (
        SELECT id, sum(points) OVER before - points AS points, sum(size) OVER before - size AS size
        FROM inbox WHERE id > :after WINDOW before AS (ORDER BY id)
    )
    WHERE points < :points AND size < :size
"""

_TABLE = """
    CREATE TABLE scratch.sorted (
        id INTEGER PRIMARY KEY, series INTEGER, time INTEGER, value TEXT, quality INTEGER, origin INTEGER
    )
"""

_SORT = f"""
    INSERT INTO scratch.sorted (series, time, value, quality, origin)
    {ARRIVED} WHERE inbox.id > :after AND inbox.id <= :last ORDER BY series, time, inbox.id, each.key
"""

# One row for all: each row that is fetched waits for the interpreter lock. Points are looked at some at a time, in the
# order of their ids; a window over every single one takes longer than the sort.
_WEIGHTS = """
    SELECT json_group_array(json_array(last, points, size, series, first_series, last_series)) FROM (
        SELECT
            max(id) AS last,
            count(*) AS points,
            sum(length(value)) AS size,
            count(DISTINCT series) AS series,
            min(series) AS first_series,
            max(series) AS last_series
        FROM scratch.sorted GROUP BY id / :some ORDER BY last
    )
"""

_LONGEST = "SELECT coalesce(max(length(value)), 0) FROM scratch.sorted"

_SOME_POINTS = 32
"""Points that are weighed together, fewer where values are so long that they would make a slice by themselves."""

_PARTS = """
    SELECT max(id), sum(points), sum(size) FROM (
        SELECT id, points, size, (sum(size + :row) OVER (ORDER BY id) - size) / :part AS part
        FROM inbox WHERE id > :after AND id <= :last
    )
    GROUP BY part ORDER BY part
"""

_PUT = f"""
    INSERT INTO main.points (series, time, value, quality, origin)
    SELECT series, time, value, quality, origin FROM scratch.sorted WHERE id > ? AND id <= ? ORDER BY id {UPSERT}
"""  # noqa: S608 - only constants are put in

_REMOVE = "DELETE FROM main.inbox WHERE id <= ?"


class Step(NamedTuple):
    """One transaction of a fold; what it costs, in points put in their place; what it removes from the inbox."""

    statement: str
    parameters: tuple[int, ...]
    cost: int
    removed: int = 0
    removed_size: int = 0


class Sorted(NamedTuple):
    """What is to be done once `scratch`, a database in memory, is attached; it may be done again from the first step.

    All points are in their place before the first is removed, and the oldest are removed first: at every moment what
    is left in the inbox is as new as what is in its place, or newer. `last` is the newest row of the inbox, `points`
    and `size` what is removed in all.
    """

    scratch: str
    last: int
    points: int
    size: int
    steps: list[Step]


class Sorter:
    """A thread that sorts in a database in memory, all of it in SQLite: it takes no time from the event loop.

    Args:
        path: the database, which its writer has open.
        done: called in this thread when there is a result.

    Raises:
        sqlite3.Error: the database cannot be opened.
    """

    def __init__(self, path: Path, done: Callable[[], None]) -> None:
        self._connection = connect_beside(path)
        self._done = done
        self._name = f"file:/enos-ingest-{uuid.uuid4().hex}"
        self._count = 0
        self._asked: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Sorted | Exception] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="enos-ingest-sorter", daemon=True)
        self._thread.start()

    def sort(self, after: int) -> None:
        """Sort the oldest of what is in the inbox after this row; `result` must be asked for before the next."""
        self._asked.put(after)

    @property
    def is_ready(self) -> bool:
        """Whether there is a result."""
        return not self._results.empty()

    def release(self) -> None:
        """Let go of what was sorted: it is kept for as long as somebody else has it attached."""
        self._asked.put(_RELEASE)

    def result(self, *, wait: bool = False) -> Sorted | None:
        """What was sorted, once; None where it is not ready yet.

        Raises:
            Exception: whatever sorting failed with.
        """
        try:
            result = self._results.get(block=wait)
        except queue.Empty:
            return None
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """End the thread; what it sorts is given up."""
        self._asked.put(None)
        self._connection.interrupt()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while (after := self._asked.get()) is not None:
            if after == _RELEASE:
                # Should it fail, the next sort has to try again, and says so.
                with suppress(sqlite3.Error):
                    self._detach()
                continue
            try:
                self._results.put(self._sort(after))
            except Exception as error:  # noqa: BLE001 - the writer is told, and tries again
                self._results.put(error)
            self._done()

    def _detach(self) -> None:
        if any(name == "scratch" for _, name, _ in self._connection.execute("PRAGMA database_list")):
            self._connection.execute("DETACH scratch")

    def _sort(self, after: int) -> Sorted:
        # A new scratch each time: the writer may still read the one before, and one that failed needs no rollback.
        self._detach()
        connection = self._connection
        self._count += 1
        scratch = f"{self._name}-{self._count}?vfs=memdb"
        connection.execute("ATTACH ? AS scratch", (scratch,))
        connection.execute("PRAGMA scratch.journal_mode = OFF")
        connection.execute(_TABLE)
        bounds = {"after": after, "points": SORT_POINTS, "size": SORT_SIZE}
        (last,) = connection.execute(_LAST, bounds).fetchone()
        if last is None:
            return Sorted(scratch, after, 0, 0, [])
        part = {"after": after, "last": last}
        connection.execute(_SORT, part)
        steps = []
        before = 0
        for end, points in _slices(self._weights()):
            steps.append(Step(_PUT, (before, end), points))
            before = end
        removed = connection.execute(_PARTS, {**part, "row": _ROW_SIZE, "part": REMOVED_SIZE}).fetchall()
        steps.extend(Step(_REMOVE, (end,), _REMOVE_COST, points, size) for end, points, size in removed)
        return Sorted(scratch, last, sum(row[1] for row in removed), sum(row[2] for row in removed), steps)

    def _weights(self) -> Iterator[tuple[int, int, int]]:
        """What is sorted, some points at a time: the id of the last, how many, and what it takes to put them."""
        (longest,) = self._connection.execute(_LONGEST).fetchone()
        some = max(1, min(_SOME_POINTS, SLICE_SIZE // (_ROW_SIZE + longest)))
        (text,) = self._connection.execute(_WEIGHTS, {"some": some}).fetchone()
        before = None
        for last, points, size, series, first_series, last_series in orjson.loads(text):
            pages = series - (first_series == before)
            yield last, points, size + _ROW_SIZE * points + _PAGE_SIZE * pages
            before = last_series


def _slices(weights: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    """The id of the last point of each slice, and how many it has."""
    end = points = size = 0
    for last, more, weight in weights:
        if points and size + weight > SLICE_SIZE:
            yield end, points
            points = size = 0
        end = last
        points += more
        size += weight
    if points:
        yield end, points
