"""Points, latest values and rejected messages, read without blocking the writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import orjson

from enos_ingest.outcome import Point
from enos_ingest.storage.faults import translated
from enos_ingest.storage.inbox import ORIGINS, Found, pending
from enos_ingest.storage.opened import MAX_TIME, MIN_TIME, PAGE, OpenedReader, within
from enos_ingest.storage.store import QuarantineEntry, QuarantineSummary
from enos_ingest.storage.transactions import snapshot

__all__ = ["LATEST", "POINTS", "SERIES", "SqliteReader"]

SERIES = """
    SELECT id, measurepoint FROM series
    WHERE product_key = :product_key AND device_key = :device_key
    ORDER BY measurepoint
"""

_ONE_SERIES = """
    SELECT id, measurepoint FROM series
    WHERE product_key = :product_key AND device_key = :device_key AND measurepoint = :measurepoint
"""

POINTS = """
    SELECT time, value, quality, origin FROM points
    WHERE series = :series AND time BETWEEN :start AND :end
    ORDER BY time LIMIT :page
"""

LATEST = """
    SELECT time, value, quality, origin FROM points
    WHERE series = :series
    ORDER BY time DESC LIMIT 1
"""

_QUARANTINE = """
    SELECT id, time, topic, publisher, code, reason, size FROM quarantine
    WHERE id < :before
    ORDER BY id DESC LIMIT :page
"""


class SqliteReader(OpenedReader):
    """Points, folded or not, and the quarantine.

    What is committed while an iterator runs may or may not be seen by it.
    """

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
        first, last = within(start, end)
        if first > last:
            return
        known = self._series(product_key, device_key, measurepoint)
        # Looked at before what is folded: what is moved meanwhile is then seen twice, not missed.
        pending = self._pending(known, first, last)
        for series, name in known:
            folded = self._read_pages(POINTS, {"series": series}, first, last)
            for row in _merged(folded, pending.get(series, {})):
                yield _point(product_key, device_key, name, row)

    def latest(self, product_key: str, device_key: str, *, measurepoint: str | None = None) -> Iterator[Point]:
        """The point with the greatest time of each measurement point, found without a scan."""
        with translated(self._path), snapshot(self._connection):
            known = self._series(product_key, device_key, measurepoint)
            pending = self._pending(known, MIN_TIME, MAX_TIME)
            found = []
            for series, name in known:
                rows = {row[0]: row for row in self._read(LATEST, {"series": series})} | pending.get(series, {})
                if rows:
                    found.append(_point(product_key, device_key, name, rows[max(rows)]))
        yield from found

    def quarantine(self, *, limit: int) -> Iterator[QuarantineSummary]:
        """The newest rejected messages, newest first."""
        before = MAX_TIME
        while limit > 0:
            rows = self._read(_QUARANTINE, {"before": before, "page": min(limit, PAGE)})
            if not rows:
                return
            yield from map(QuarantineSummary._make, rows)
            limit -= len(rows)
            before = rows[-1][0]

    def quarantine_entry(self, entry_id: int) -> QuarantineEntry | None:
        """One rejected message, None where there is none of that id."""
        if not MIN_TIME <= entry_id <= MAX_TIME:
            return None
        rows = self._read(
            "SELECT id, time, topic, publisher, code, reason, payload, size FROM quarantine WHERE id = :id",
            {"id": entry_id},
        )
        return QuarantineEntry._make(rows[0]) if rows else None

    def _series(self, product_key: str, device_key: str, measurepoint: str | None) -> list[tuple[int, str]]:
        device = {"product_key": product_key, "device_key": device_key}
        if measurepoint is None:
            return self._read(SERIES, device)
        return self._read(_ONE_SERIES, {**device, "measurepoint": measurepoint})

    def _pending(self, series: list[tuple[int, str]], first: int, last: int) -> Mapping[int, dict[int, Found]]:
        with translated(self._path):
            return pending(self._connection, [series_id for series_id, _ in series], first, last)


def _merged(folded: Iterator[Found], arrived: dict[int, Found]) -> Iterator[Found]:
    """Both by time; of two rows of one time the one that arrived later, which is never the folded one."""
    waiting = deque(sorted(arrived))
    for row in folded:
        while waiting and waiting[0] < row[0]:
            yield arrived[waiting.popleft()]
        if not waiting or waiting[0] != row[0]:
            yield row
    for time in waiting:
        yield arrived[time]


def _point(product_key: str, device_key: str, measurepoint: str, row: Found) -> Point:
    time, value, quality, origin = row
    return Point(product_key, device_key, measurepoint, time, orjson.loads(value), quality, ORIGINS[origin])
