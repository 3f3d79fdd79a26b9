"""Points as they arrive: appended in one piece, read until they are folded into their place.

An upsert into `points` touches a page for each series. A commit of many devices' points would write as many pages as
it has points; so it appends one row with all of them, as JSON text, and the fold sorts many commits' worth at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import orjson

__all__ = ["SLICES", "UPSERT", "Batch", "Row", "append", "batches", "pending", "remove"]

# All rows of the array `rows` of a commit, with their place in the order of arrival. `rows` holds
# [series, time, value, quality, origin] for each point. The value is a JSON string that holds JSON text: SQLite neither
# converts its numbers nor sees a NUL, which is escaped twice.
_ROWS = """
    SELECT
        json_extract(each.value, '$[0]') AS series,
        json_extract(each.value, '$[1]') AS time,
        each.value AS point,
        (inbox.id << 32) | each.key AS arrival
    FROM inbox, json_each(inbox.rows) AS each
"""

ARRIVED = f"""
    SELECT
        series,
        time,
        json_extract(point, '$[2]') AS value,
        json_extract(point, '$[3]') AS quality,
        json_extract(point, '$[4]') AS origin,
        arrival
    FROM ({_ROWS})
"""  # noqa: S608 - only constants are put in, here and below
"""Every point of the inbox, with its place in the order of arrival."""

# Of several points of one series and time the one that arrived last is taken, with max() and the row that it is of.
# Grouping sorts, and each slice is a text that `UPSERT` takes: all of it happens in SQLite, without the GIL.
SLICES = f"""
    WITH arrived AS MATERIALIZED ({_ROWS} WHERE inbox.id <= :last)
    SELECT '[' || group_concat(point) || ']'
    FROM (
        SELECT point, (row_number() OVER ()) / :slice AS slice
        FROM (SELECT point, max(arrival) FROM arrived GROUP BY series, time)
    )
    GROUP BY slice
"""  # noqa: S608
"""The points of all commits up to `last`, by series and time, as JSON arrays of `slice` rows each."""

# `WHERE true` keeps the parser from reading ON CONFLICT as a join.
UPSERT = """
    INSERT INTO points (series, time, value, quality, origin)
    SELECT
        json_extract(value, '$[0]'),
        json_extract(value, '$[1]'),
        json_extract(value, '$[2]'),
        json_extract(value, '$[3]'),
        json_extract(value, '$[4]')
    FROM json_each(?)
    WHERE true
    ON CONFLICT (series, time) DO UPDATE SET
        value = excluded.value, quality = excluded.quality, origin = excluded.origin
"""
"""Puts one slice in its place; the same slice again changes nothing."""

_OF_SERIES = f"""
    SELECT series, time, value, quality, origin FROM ({ARRIVED})
    WHERE series IN (SELECT value FROM json_each(:series))
    ORDER BY arrival
"""  # noqa: S608


Row: TypeAlias = tuple[int, str, int | None, int]
"""Time, value as JSON text, quality, index of the origin."""


class Batch(NamedTuple):
    """One row of the inbox: the points of one commit, and the bytes of their text."""

    id: int
    points: int
    size: int


def append(connection: sqlite3.Connection, parts: Sequence[bytes], points: int) -> Batch:
    """Append the points of one commit; `parts` are their rows as JSON, without brackets."""
    text = f"[{b','.join(parts).decode()}]"
    statement = "INSERT INTO inbox (points, size, rows) VALUES (?, ?, ?)"
    batch_id = connection.execute(statement, (points, len(text), text)).lastrowid
    assert batch_id is not None
    return Batch(batch_id, points, len(text))


def batches(connection: sqlite3.Connection) -> Iterable[Batch]:
    """What is in the inbox, oldest first."""
    return map(Batch._make, connection.execute("SELECT id, points, size FROM inbox ORDER BY id"))


def remove(connection: sqlite3.Connection, last: int) -> None:
    """Remove what has been folded."""
    connection.execute("DELETE FROM inbox WHERE id <= ?", (last,))


def pending(
    connection: sqlite3.Connection, series: Iterable[int]
) -> Mapping[int, dict[int, tuple[int, str, int | None, int]]]:
    """Of each of these series what is not folded yet, by time: `(time, value, quality, origin)`."""
    found: dict[int, dict[int, Row]] = {}
    rows = connection.execute(_OF_SERIES, {"series": orjson.dumps(list(series)).decode()}).fetchall()
    for series_id, time, value, quality, origin in rows:
        found.setdefault(series_id, {})[time] = (time, value, quality, origin)
    return found
