"""What many messages write in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import orjson

from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record
from enos_ingest.storage import inbox, quarantine
from enos_ingest.storage.inbox import Content
from enos_ingest.storage.store import Done

__all__ = [
    "MAX_POINTS",
    "MAX_RECORDS",
    "ORIGINS",
    "Entry",
    "Group",
    "SeriesIds",
    "SeriesKey",
    "append_points",
    "only_points",
    "store",
]

SeriesKey: TypeAlias = tuple[str, str, str]
"""Product key, device key, measurement point."""

SeriesIds: TypeAlias = Mapping[SeriesKey, int]

MAX_RECORDS = 1000
"""Messages in one transaction. A sync takes some milliseconds whatever it syncs, so hundreds of messages share it;
with many thousands the first would wait for the last, and the log of a single commit would grow without end."""

MAX_POINTS = 20_000
"""Points in one transaction, and so in one row of the inbox, so that a reply never waits long for others.
A single message may hold more and is then a group of its own."""

MAX_BYTES = 16 * 2**20
"""Bytes of values and rejected payloads in one transaction; bounds the memory for handing them over, about
three times as much."""

ORIGINS = ("post", "resume", "integration")
"""The ways a point may come; the database holds the index, so the order must not change."""

_ORIGIN_CODES = {name: code for code, name in enumerate(ORIGINS)}

_KEYS_A_STATEMENT = 100

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class Entry:
    """One record, ready to be written, and who is told of its fate.

    It is made in the event loop, not in the writer thread: every instruction of Python there costs the loop as much,
    and a fight for the GIL on top. `json` are the rows without their brackets, None where the id of a series is
    still to be found: then they are in `rows`, with the series' key in place of its id. `fault` is why no database
    could hold the record, None where no reason is known.
    """

    __slots__ = ("done", "fault", "json", "points", "record", "rows", "size")

    def __init__(self, record: Record, done: Done, known: SeriesIds) -> None:
        self.record = record
        self.done = done
        self.json: bytes | None = b""
        self.rows: list[list[Any]] = []
        self.points = 0
        self.size = 0
        self.fault: StorageError | None = None
        try:
            if record.points:
                self._encode(known)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, a record fails alone
            self.fail(error)
        if record.rejection is not None:
            self.size += len(record.rejection.payload)

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
            # What is in the inbox must fit into `points`: there it would be too late to refuse it.
            if not _is_int64(time) or not (quality is None or _is_int64(quality)):
                msg = f"{measurepoint}: time {time} or quality {quality} is no integer of 64 bits"
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


class Group:
    """The records of one transaction, in the order in which they were handed in."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.points = 0
        """How many points they have together."""
        self._size = 0

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        self.entries.append(entry)
        self.points += entry.points
        self._size += entry.size

    @property
    def full(self) -> bool:
        """Whether further records belong to the next group."""
        return len(self.entries) >= MAX_RECORDS or self.points >= MAX_POINTS or self._size >= MAX_BYTES


def only_points(entries: Sequence[Entry]) -> bool:
    """Whether `append_points` is all that is to be done: no new series, nothing rejected, nobody activated."""
    return all(
        entry.json is not None and entry.record.rejection is None and entry.record.activated is None
        for entry in entries
    )


def append_points(connection: sqlite3.Connection, entries: Sequence[Entry], found: SeriesIds) -> Content:
    """Append the points of entries to the inbox; `found` has the series that were not known."""
    parts = [entry.json if entry.json is not None else _with_ids(entry.rows, found) for entry in entries]
    points = sum(entry.points for entry in entries)
    return inbox.append(connection, [part for part in parts if part], points) if points else Content(0, 0)


def store(
    connection: sqlite3.Connection, entries: Sequence[Entry], bounds: quarantine.Bounds
) -> tuple[dict[SeriesKey, int], Content]:
    """Write entries, whatever they hold, within the transaction that is open.

    Returns:
        the ids of series that were not known, and what was appended to the inbox; both hold once the transaction is
        committed.
    """
    found = _series_ids(connection, {row[0] for entry in entries for row in entry.rows if type(row[0]) is tuple})
    content = append_points(connection, entries, found)
    rejections = [entry.record.rejection for entry in entries if entry.record.rejection is not None]
    quarantine.add(connection, rejections, bounds)
    for entry in entries:
        device = entry.record.activated
        if device is not None:
            connection.execute(
                "UPDATE devices SET activated = ? WHERE product_key = ? AND device_key = ? AND activated IS NULL",
                (entry.record.time, *device),
            )
    return found, content


def _is_int64(value: object) -> bool:
    return isinstance(value, int) and _INT64_MIN <= value <= _INT64_MAX


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
