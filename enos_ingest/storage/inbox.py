"""Points as they arrive: appended in one piece, read until they are folded into their place.

An upsert into `points` touches a page for each series. A commit of many devices' points would write as many pages as
it has points; so it appends one row with all of them, as JSON text, and the fold puts many commits' worth in its place
at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import orjson

from enos_ingest.errors import StorageError

__all__ = ["NOTHING", "ORIGINS", "Appended", "Found", "Row", "append", "pending", "read"]

ORIGINS = ("post", "resume", "integration")
"""The ways a point, attribute or event may come; the database holds the index, so the order must not change."""

# `rows` of a commit is an array of [series, time, value, quality, origin]. The value is a JSON string that holds JSON
# text: SQLite neither converts its numbers nor sees a NUL, which is escaped twice.
_ARRIVED = """
    SELECT
        json_extract(each.value, '$[0]') AS series,
        json_extract(each.value, '$[1]') AS time,
        json_extract(each.value, '$[2]') AS value,
        json_extract(each.value, '$[3]') AS quality,
        json_extract(each.value, '$[4]') AS origin
    FROM main.inbox AS inbox, json_each(inbox.rows) AS each
"""
"""Every point of the inbox; `inbox.id`, then `each.key`, is the order of arrival."""

_OF_SERIES = f"""
    {_ARRIVED}
    WHERE series IN (SELECT value FROM json_each(:series)) AND time BETWEEN :start AND :end
    ORDER BY inbox.id, each.key
"""  # noqa: S608 - only constants are put in

Row: TypeAlias = tuple[int, int, str, int | None, int]
"""Series, time, value as JSON text, quality, index of the origin."""

Found: TypeAlias = tuple[int, str, int | None, int]
"""What follows the series."""


class Appended(NamedTuple):
    """One row of the inbox: its id, the characters of its text, and its points in the order in which they arrived."""

    id: int
    size: int
    rows: Sequence[Row]


NOTHING = Appended(0, 0, ())


def append(connection: sqlite3.Connection, rows: Sequence[Row]) -> Appended:
    """Append the points of one commit."""
    if not rows:
        return NOTHING
    text = orjson.dumps(rows).decode()
    added = connection.execute("INSERT INTO inbox (points, size, rows) VALUES (?, ?, ?)", (len(rows), len(text), text))
    assert added.lastrowid is not None  # as this was an INSERT
    return Appended(added.lastrowid, len(text), rows)


def read(connection: sqlite3.Connection) -> Iterator[Appended]:
    """What is in the inbox, in the order of arrival.

    Raises:
        StorageError: it is damaged.
    """
    for row_id, size, rows in connection.execute("SELECT id, size, rows FROM inbox ORDER BY id"):
        try:
            yield Appended(row_id, size, orjson.loads(rows))
        except orjson.JSONDecodeError as error:
            msg = f"row {row_id} of the inbox is damaged ({error}): restore the database from a backup"
            raise StorageError(msg) from None


def pending(
    connection: sqlite3.Connection, series: Iterable[int], start: int, end: int
) -> Mapping[int, dict[int, Found]]:
    """Of each of these series what is not folded yet, by time, from `start` to `end` inclusive."""
    found: dict[int, dict[int, Found]] = {}
    parameters = {"series": orjson.dumps(list(series)).decode(), "start": start, "end": end}
    for series_id, *row in connection.execute(_OF_SERIES, parameters):
        found.setdefault(series_id, {})[row[0]] = (row[0], row[1], row[2], row[3])
    return found
