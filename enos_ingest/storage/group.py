"""What many messages write in one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import orjson

from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record
from enos_ingest.storage import quarantine

__all__ = [
    "MAX_POINTS",
    "MAX_RECORDS",
    "ORIGINS",
    "Entry",
    "Group",
    "SeriesIds",
    "SeriesKey",
    "only_points",
    "store",
    "store_points",
]

SeriesKey: TypeAlias = tuple[str, str, str]
"""Product key, device key, measurement point."""

SeriesIds: TypeAlias = Mapping[SeriesKey, int]

MAX_RECORDS = 1000
"""Messages in one transaction. A sync takes some milliseconds whatever it syncs, so hundreds of messages share it;
with many thousands the first would wait for the last, and the log of a single commit would grow without end."""

MAX_POINTS = 20_000
"""Points in one transaction: some 100 ms of work, so that a reply never waits much longer than that for others.
A single message may hold more and is then a group of its own."""

MAX_BYTES = 16 * 2**20
"""Bytes of values and rejected payloads in one transaction; bounds the memory for handing them over, about
three times as much."""

ORIGINS = ("post", "resume", "integration")
"""The ways a point may come; the database holds the index, so the order must not change."""

_ORIGIN_CODES = {name: code for code, name in enumerate(ORIGINS)}

_KEYS_A_STATEMENT = 100

# All rows in one statement, as one JSON array: SQLite then works without the GIL from the first row to the last,
# where `executemany` takes it once a row and waits for the event loop each time. `WHERE true` keeps the parser from
# reading ON CONFLICT as a join. Rows are taken in order, so of two points of one time the later wins. The value is a
# JSON string that holds JSON text: SQLite neither converts its numbers nor sees a NUL, which is escaped twice.
_UPSERT = """
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


class Entry:
    """One record, ready to be written, and the future that tells its fate.

    It is made in the event loop, not in the writer thread: every instruction of Python there costs the loop as much,
    and a fight for the GIL on top. `json` are the rows without their brackets, None where the id of a series is
    still to be found: then they are in `rows`, with the series' key in place of its id. `fault` is why no database
    could hold the record, None where no reason is known.
    """

    __slots__ = ("fault", "future", "json", "points", "record", "rows", "size")

    def __init__(self, record: Record, future: asyncio.Future[None], known: SeriesIds) -> None:
        self.record = record
        self.future = future
        self.json: bytes | None = b""
        self.rows: list[list[Any]] = []
        self.points = 0
        self.size = 0
        self.fault: StorageError | None = None
        try:
            self._encode(known)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, a record fails alone
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Note why this record cannot be stored; nothing of it will be."""
        self.fault = StorageError(f"the record cannot be stored: {error}")
        self.fault.__cause__ = error

    def _encode(self, known: SeriesIds) -> None:
        rows: list[list[Any]] = []
        all_known = True
        for product_key, device_key, measurepoint, time, value, quality, origin in self.record.points:
            text = orjson.dumps(value)
            if text == b"null" and value is not None:
                msg = f"{measurepoint}: {value} has no JSON form"
                raise ValueError(msg)
            key = (product_key, device_key, measurepoint)
            series = known.get(key)
            if series is None:
                all_known = False
            rows.append([series or key, time, text.decode(), quality, _ORIGIN_CODES[origin]])
            self.size += len(text)
        if all_known:
            self.json = orjson.dumps(rows)[1:-1]
        else:
            self.json, self.rows = None, rows
        self.points = len(rows)
        if self.record.rejection is not None:
            self.size += len(self.record.rejection.payload)


class Group:
    """The records of one transaction, in the order in which they were handed in."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._points = 0
        self._size = 0

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        self.entries.append(entry)
        self._points += entry.points
        self._size += entry.size

    @property
    def full(self) -> bool:
        """Whether further records belong to the next group."""
        return len(self.entries) >= MAX_RECORDS or self._points >= MAX_POINTS or self._size >= MAX_BYTES


def only_points(entries: Sequence[Entry]) -> bool:
    """Whether `store_points` is all that is to be done: no new series, nothing rejected, nobody activated."""
    return all(
        entry.json is not None and entry.record.rejection is None and entry.record.activated is None
        for entry in entries
    )


def store_points(connection: sqlite3.Connection, entries: Sequence[Entry], found: SeriesIds) -> None:
    """Write the points of entries in one statement; `found` has the series that were not known."""
    parts = [entry.json if entry.json is not None else _with_ids(entry.rows, found) for entry in entries]
    rows = b",".join(part for part in parts if part)
    if rows:
        connection.execute(_UPSERT, ((b"[" + rows + b"]").decode(),))


def store(connection: sqlite3.Connection, entries: Sequence[Entry], bounds: quarantine.Bounds) -> dict[SeriesKey, int]:
    """Write entries, whatever they hold, within the transaction that is open.

    Returns:
        the ids of series that were not known; they hold once the transaction is committed.
    """
    found = _series_ids(connection, {row[0] for entry in entries for row in entry.rows if type(row[0]) is tuple})
    store_points(connection, entries, found)
    rejections = [entry.record.rejection for entry in entries if entry.record.rejection is not None]
    quarantine.add(connection, rejections, bounds)
    for entry in entries:
        device = entry.record.activated
        if device is not None:
            connection.execute(
                "UPDATE devices SET activated = ? WHERE product_key = ? AND device_key = ? AND activated IS NULL",
                (entry.record.time, *device),
            )
    return found


def _with_ids(rows: Sequence[Sequence[Any]], found: SeriesIds) -> bytes:
    return orjson.dumps([[found.get(row[0], row[0]), *row[1:]] for row in rows])[1:-1]


def _series_ids(connection: sqlite3.Connection, keys: Iterable[SeriesKey]) -> dict[SeriesKey, int]:
    """The ids of series, made where they do not exist."""
    found: dict[SeriesKey, int] = {}
    rest = iter(sorted(keys))
    # Keys are bound as parameters, not handed over as JSON: SQLite's JSON ends a string at its first NUL.
    while chunk := list(islice(rest, _KEYS_A_STATEMENT)):
        places = ", ".join(["(?, ?, ?)"] * len(chunk))
        flat = [column for key in chunk for column in key]
        connection.execute(
            # Only question marks are put in, here and below.
            f"INSERT INTO series (product_key, device_key, measurepoint) VALUES {places} ON CONFLICT DO NOTHING",  # noqa: S608
            flat,
        )
        rows = connection.execute(
            "SELECT product_key, device_key, measurepoint, id FROM series "  # noqa: S608
            f"WHERE (product_key, device_key, measurepoint) IN (VALUES {places})",
            flat,
        )
        found.update(
            ((product_key, device_key, measurepoint), series) for product_key, device_key, measurepoint, series in rows
        )
    return found
