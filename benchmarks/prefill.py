"""A database that holds millions of points before a hub sees it."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.accounts import PRODUCT
from benchmarks.reports import POINTS
from enos_ingest.storage.sqlite import connect_writer

__all__ = ["prefill"]

_POINTS = """
    WITH RECURSIVE ages(age) AS (SELECT 1 UNION ALL SELECT age + 1 FROM ages WHERE age < :each)
    INSERT INTO points (series, time, value, quality, origin)
    SELECT id, 1000 * (:now - :each - 1 + age), '182.5', NULL, 1
    FROM series CROSS JOIN ages
    WHERE id <= :series
    ORDER BY id, age
"""


def prefill(path: Path, rows: int, devices: int, points: int) -> None:
    """Make a database with about `rows` points, a second apart and the last of them now.

    They are those of the devices that `make_registry` makes, shared out evenly: what a hub stores next goes into
    the same series.
    """
    connection = connect_writer(path)
    try:
        # Nobody needs what a power cut leaves of it.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        if rows:
            names = list(POINTS)[:points]
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO series (product_key, device_key, measurepoint) VALUES (?, ?, ?)",
                [(PRODUCT, f"device-{number}", name) for number in range(devices) for name in names],
            )
            series = devices * len(names)
            connection.execute(_POINTS, {"each": max(1, rows // series), "now": int(time.time()), "series": series})
            connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
