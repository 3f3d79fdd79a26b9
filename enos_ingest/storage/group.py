"""What many messages write in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import orjson

from enos_ingest.errors import StorageError
from enos_ingest.outcome import Point, Record
from enos_ingest.storage import change_rows, command_rows, inbox, quarantine
from enos_ingest.storage.inbox import ORIGINS, Content
from enos_ingest.storage.store import Done

__all__ = ["MAX_POINTS", "MAX_RECORDS", "Group", "SeriesIds", "SeriesKey", "append_points", "store"]

SeriesKey: TypeAlias = tuple[str, str, str]
"""Product key, device key, measurement point."""

SeriesIds: TypeAlias = Mapping[tuple[str, str], Mapping[str, int]]
"""The ids of series that are known to be stored, by product and device key, then measurement point."""

MAX_RECORDS = 1000
"""Messages in one transaction. A sync takes some milliseconds whatever it syncs, so hundreds of messages share it;
with many thousands the first would wait for the last, and the log of a single commit would grow without end."""

MAX_POINTS = 20_000
"""Points in one transaction, and so in one row of the inbox, so that a reply never waits long for others.
A single message may hold more and is then a group of its own."""

MAX_BYTES = 16 * 2**20
"""Bytes of points and rejected payloads in one transaction; bounds the memory for handing them over, about
three times as much."""

_ORIGIN_CODES = {name: code for code, name in enumerate(ORIGINS)}

_KEYS_A_STATEMENT = 100

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1

_Rows: TypeAlias = Sequence[tuple[Any, ...]]

_NO_IDS: Mapping[str, int] = {}
_NO_ROWS: _Rows = ()


class Special(NamedTuple):
    """A record that takes more than to append its points, and those of its points whose series is to be found yet.

    `rows` are all its points, with the series' key in place of its id where that is not known; none where all are.
    `command` is its command as a row, `changes` are its changes.
    """

    record: Record
    rows: _Rows
    command: command_rows.Row | None = None
    changes: tuple[change_rows.Rows, ...] = ()


class Group:
    """Records of one transaction in the order in which they were handed in, each with who is told of its fate.

    It is made in the event loop, record by record, and handed to the writer thread whole: an instruction of Python
    there costs the loop as much, and a fight for the GIL on top. So what is done there for each record is done in C,
    but for those that are `special`.
    """

    __slots__ = ("dones", "faults", "parts", "points", "size", "special")

    def __init__(self) -> None:
        self.dones: list[Done] = []
        """Who is told, in the order of the records."""
        self.parts: list[bytes] = []
        """Of each record its points as JSON rows, without the outer brackets; empty for those without, or special."""
        self.points = 0
        """How many points they have together."""
        self.size = 0
        """How many bytes they have together, about."""
        self.special: dict[int, Special] = {}
        """Records with new series, or with more than points, by their place."""
        self.faults: dict[int, StorageError] = {}
        """Why no database could hold a record, by its place; nothing of it is written."""

    def __len__(self) -> int:
        return len(self.dones)

    @property
    def is_full(self) -> bool:
        """Whether further records belong to the next group."""
        return len(self.dones) >= MAX_RECORDS or self.points >= MAX_POINTS or self.size >= MAX_BYTES

    def add(self, record: Record, done: Done, known: SeriesIds) -> None:
        """Append a record; whatever is wrong with it, it fails alone."""
        points, rejection = record.points, record.rejection
        part, rows, command = b"", _NO_ROWS, None
        changes: tuple[change_rows.Rows, ...] = ()
        try:
            if points:
                part, rows = _encode(points, known)
            if record.command is not None:
                command = command_rows.to_row(record.command)
            if record.changes:
                changes = change_rows.to_rows(record.changes)
        except Exception as error:  # noqa: BLE001 - told to who waits for this record
            self.fail(len(self.dones), error)
        else:
            self.points += len(points)
            self.size += len(part)
            if (
                rows
                or rejection is not None
                or record.activated
                or command is not None
                or changes
                or record.wanted is not None
            ):
                self.special[len(self.dones)] = Special(record, rows, command, changes)
                self.size += sum(len(row[2]) for row in rows) + change_rows.size(changes)
                if rejection is not None:
                    self.size += len(rejection.payload)
                if command is not None:
                    self.size += command_rows.size(command)
        self.dones.append(done)
        self.parts.append(part)

    def takes(self, other: Group) -> bool:
        """Whether the records of both may be one group."""
        return (
            len(self.dones) + len(other.dones) <= MAX_RECORDS
            and self.points + other.points <= MAX_POINTS
            and self.size + other.size <= MAX_BYTES
        )

    def extend(self, other: Group) -> None:
        """Append the records of another group."""
        before = len(self.dones)
        self.dones += other.dones
        self.parts += other.parts
        self.points += other.points
        self.size += other.size
        for place, special in other.special.items():
            self.special[before + place] = special
        for place, fault in other.faults.items():
            self.faults[before + place] = fault

    def fail(self, place: int, error: BaseException) -> None:
        """Note why a record cannot be stored; nothing of it will be."""
        fault = StorageError(f"the record cannot be stored: {error}")
        fault.__cause__ = error
        self.faults[place] = fault

    def alone(self, place: int) -> Group:
        """A group of one of the records, to see whether it can be written."""
        group = Group()
        group.dones.append(self.dones[place])
        group.parts.append(self.parts[place])
        if place in self.special:
            group.special[0] = self.special[place]
        group.points = self._points_of(place)
        return group

    def drop_faulty(self) -> None:
        """Keep nothing to write of records with a fault; who waits for them is still told."""
        for place in self.faults:
            self.points -= self._points_of(place)
            self.parts[place] = b""
            self.special.pop(place, None)

    def _points_of(self, place: int) -> int:
        special = self.special.get(place)
        return len(special.record.points) if special else len(orjson.loads(b"[" + self.parts[place] + b"]"))


def append_points(connection: sqlite3.Connection, group: Group) -> Content:
    """Append the points of a group without special records to the inbox."""
    return inbox.append(connection, group.parts, group.points)


def store(
    connection: sqlite3.Connection, group: Group, bounds: quarantine.Bounds
) -> tuple[dict[SeriesKey, int], Content]:
    """Write a group, whatever it holds, within the transaction that is open.

    Returns:
        the ids of series that were not known, and what was appended to the inbox; both hold once the transaction is
        committed.
    """
    special = group.special.values()
    found = _series_ids(connection, {row[0] for each in special for row in each.rows if type(row[0]) is tuple})
    parts = list(group.parts)
    for place, each in group.special.items():
        if each.rows:
            parts[place] = orjson.dumps([(found.get(row[0], row[0]), *row[1:]) for row in each.rows])[1:-1]
    content = inbox.append(connection, parts, group.points)
    rejections = [each.record.rejection for each in special if each.record.rejection is not None]
    quarantine.add(connection, rejections, bounds)
    # Before activations: the device may be one of those that are registered here.
    change_rows.put(connection, [(each.changes, each.record.wanted) for each in special])
    for each in special:
        connection.executemany(
            "UPDATE devices SET activated = ? WHERE product_key = ? AND device_key = ? AND activated IS NULL",
            [(each.record.time, *device) for device in each.record.activated],
        )
    command_rows.put(connection, [each.command for each in special if each.command is not None])
    serial = max((each.record.serial for each in special), default=0)
    if serial:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'registry_serial'", (serial,))
    return found, content


def _encode(points: Sequence[Point], known: SeriesIds) -> tuple[bytes, _Rows]:
    """The points as JSON rows without their outer brackets; or as rows, where a series is not known."""
    rows: list[tuple[Any, ...]] = []
    all_known = True
    # Of one message most points have their device and their time in common: what is the same object is looked at once.
    last_product = last_device = last_time = object()
    ids = _NO_IDS
    dumps, codes = orjson.dumps, _ORIGIN_CODES
    for product_key, device_key, measurepoint, time, value, quality, origin in points:
        if device_key is not last_device or product_key is not last_product:
            last_product, last_device = product_key, device_key
            ids = known.get((product_key, device_key), _NO_IDS)
        # What is in the inbox must fit into `points`: there it would be too late to refuse it.
        if time is not last_time:
            _require_int64(measurepoint, "time", time)
            last_time = time
        if quality is not None:
            _require_int64(measurepoint, "quality", quality)
        text = dumps(value)
        if text == b"null" and value is not None:
            msg = f"{measurepoint}: {value} has no JSON form"
            raise ValueError(msg)
        series: int | SeriesKey | None = ids.get(measurepoint)
        if series is None:
            all_known = False
            series = (product_key, device_key, measurepoint)
        rows.append((series, time, text.decode(), quality, codes[origin]))
    if all_known:
        return dumps(rows)[1:-1], _NO_ROWS
    return b"", rows


def _require_int64(measurepoint: str, what: str, value: object) -> None:
    if not isinstance(value, int) or not _INT64_MIN <= value <= _INT64_MAX:
        msg = f"{measurepoint}: {what} {value} is no integer of 64 bits"
        raise ValueError(msg)


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
