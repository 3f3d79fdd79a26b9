"""Points as they arrive: appended in one piece, read until they are folded into their place.

An upsert into `points` touches a page for each series. A commit of many devices' points would write as many pages as
it has points; so it appends one row with all of them, as JSON text, and the fold sorts many commits' worth at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

import orjson

__all__ = ["ARRIVED", "ORIGINS", "UPSERT", "Content", "Row", "append", "content", "fold_all", "pending"]

ORIGINS = ("post", "resume", "integration")
"""The ways a point may come; the database holds the index, so the order must not change."""

# `rows` of a commit is an array of [series, time, value, quality, origin]. The value is a JSON string that holds JSON
# text: SQLite neither converts its numbers nor sees a NUL, which is escaped twice.
ARRIVED = """
    SELECT
        json_extract(each.value, '$[0]') AS series,
        json_extract(each.value, '$[1]') AS time,
        json_extract(each.value, '$[2]') AS value,
        json_extract(each.value, '$[3]') AS quality,
        json_extract(each.value, '$[4]') AS origin
    FROM main.inbox AS inbox, json_each(inbox.rows) AS each
"""
"""Every point of the inbox; `inbox.id`, then `each.key`, is the order of arrival."""

# Rows are taken in order, so of two points of one time the later wins.
UPSERT = """
    ON CONFLICT (series, time) DO UPDATE SET
        value = excluded.value, quality = excluded.quality, origin = excluded.origin
"""

_FOLD_ALL = f"""
    INSERT INTO main.points (series, time, value, quality, origin)
    {ARRIVED} WHERE true ORDER BY series, time, inbox.id, each.key {UPSERT}
"""

_OF_SERIES = f"""
    {ARRIVED}
    WHERE series IN (SELECT value FROM json_each(:series)) AND time BETWEEN :start AND :end
    ORDER BY inbox.id, each.key
"""  # noqa: S608 - only constants are put in

Row: TypeAlias = tuple[int, str, int | None, int]
"""Time, value as JSON text, quality, index of the origin."""


class Content(NamedTuple):
    """What is in the inbox, or in a part of it: points, and the characters of their text."""

    points: int
    size: int


def append(connection: sqlite3.Connection, parts: Iterable[bytes], points: int) -> Content:
    """Append the points of one commit; `parts` are their rows as JSON, without brackets, some of them empty."""
    if not points:
        return Content(0, 0)
    text = f"[{b','.join(filter(None, parts)).decode()}]"
    connection.execute("INSERT INTO inbox (points, size, rows) VALUES (?, ?, ?)", (points, len(text), text))
    return Content(points, len(text))


def content(connection: sqlite3.Connection) -> Content:
    """What is in the inbox."""
    query = "SELECT coalesce(sum(points), 0), coalesce(sum(size), 0) FROM inbox"
    return Content._make(connection.execute(query).fetchone())


def fold_all(connection: sqlite3.Connection) -> None:
    """Put all points of a small inbox in their place, within the transaction that is open."""
    connection.execute(_FOLD_ALL)
    connection.execute("DELETE FROM inbox")


def pending(
    connection: sqlite3.Connection, series: Iterable[int], start: int, end: int
) -> Mapping[int, dict[int, Row]]:
    """Of each of these series what is not folded yet, by time, from `start` to `end` inclusive."""
    found: dict[int, dict[int, Row]] = {}
    parameters = {"series": orjson.dumps(list(series)).decode(), "start": start, "end": end}
    for series_id, *row in connection.execute(_OF_SERIES, parameters):
        found.setdefault(series_id, {})[row[0]] = (row[0], row[1], row[2], row[3])
    return found
