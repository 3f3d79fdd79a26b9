"""What many messages write in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import orjson

from enos_ingest.devices.changes import FactsWanted
from enos_ingest.outcome import Record, Rejection
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage import change_rows, command_rows, inbox, quarantine
from enos_ingest.storage.inbox import ORIGINS, Appended

__all__ = ["MAX_POINTS", "MAX_RECORDS", "Group", "Placed", "SeriesIds", "SeriesKey", "place", "store"]

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

_NO_IDS: Mapping[str, int] = {}

_as_tuple = itemgetter(slice(None))
"""Makes a plain tuple of a point, which orjson takes no other way, and nothing of what is no JSON."""


class Special(NamedTuple):
    """What a record asks the store for besides its points, see `Record`: its command and its changes as rows."""

    rejection: Rejection | None
    activated: tuple[DeviceId, ...]
    time: int
    command: command_rows.Row | None
    changes: tuple[change_rows.Rows, ...]
    wanted: FactsWanted | None
    serial: int


class Group:
    """Records of one transaction in the order in which they were handed in.

    It is made in the event loop, record by record, and handed to the store's engine whole, which may be another
    process: it can be pickled. What has to be done for each record is left to the engine, but for what can be wrong
    with it, and what takes less than handing it over as it is.
    """

    __slots__ = ("faults", "parts", "points", "size", "special")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        """Of each record its points as a JSON array; empty where it has none."""
        self.points = 0
        """How many points they have together."""
        self.size = 0
        """How many bytes they have together, about."""
        self.special: dict[int, Special] = {}
        """What records ask for besides points, by their place."""
        self.faults: dict[int, str] = {}
        """Why no database could hold a record, by its place; nothing of it is written."""

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def is_full(self) -> bool:
        """Whether further records belong to the next group."""
        return len(self.parts) >= MAX_RECORDS or self.points >= MAX_POINTS or self.size >= MAX_BYTES

    def add(self, record: Record) -> None:
        """Append a record; whatever is wrong with it, it fails alone."""
        points, part = record.points, b""
        try:
            if points:
                part = orjson.dumps(points, default=_as_tuple)
            if (
                record.rejection is not None
                or record.activated
                or record.changes
                or record.command is not None
                or record.wanted is not None
                or record.serial
            ):
                self._add_special(record)
        except Exception as error:  # noqa: BLE001 - told to who waits for this record
            self.fail(len(self.parts), error)
            part = b""
        else:
            self.points += len(points)
            self.size += len(part)
        self.parts.append(part)

    def takes(self, other: Group) -> bool:
        """Whether the records of both may be one group."""
        return (
            len(self.parts) + len(other.parts) <= MAX_RECORDS
            and self.points + other.points <= MAX_POINTS
            and self.size + other.size <= MAX_BYTES
        )

    def extend(self, other: Group) -> None:
        """Append the records of another group."""
        before = len(self.parts)
        self.parts += other.parts
        self.points += other.points
        self.size += other.size
        for at, special in other.special.items():
            self.special[before + at] = special
        for at, fault in other.faults.items():
            self.faults[before + at] = fault

    def fail(self, at: int, error: BaseException) -> None:
        """Note why a record cannot be stored; nothing of it will be."""
        self.faults[at] = f"the record cannot be stored: {error}"

    def alone(self, at: int) -> Group:
        """A group of one of the records, to see whether it can be written."""
        group = Group()
        group.parts.append(self.parts[at])
        if at in self.special:
            group.special[0] = self.special[at]
        return group

    def drop_faulty(self) -> None:
        """Keep nothing to write of records with a fault; who waits for them is still told."""
        for at in self.faults:
            if self.parts[at]:
                self.points -= len(orjson.loads(self.parts[at]))
                self.parts[at] = b""
            self.special.pop(at, None)

    def _add_special(self, record: Record) -> None:
        command = None if record.command is None else command_rows.to_row(record.command)
        changes = change_rows.to_rows(record.changes)
        self.special[len(self.parts)] = Special(
            record.rejection, record.activated, record.time, command, changes, record.wanted, record.serial
        )
        self.size += change_rows.size(changes)
        if record.rejection is not None:
            self.size += len(record.rejection.payload)
        if command is not None:
            self.size += command_rows.size(command)


class Placed(NamedTuple):
    """The points of a group as rows of the inbox; those of series that are not known have their keys for an id."""

    rows: list[Any]
    unknown: set[SeriesKey]


def place(group: Group, known: SeriesIds) -> Placed:
    """Find the series of all points of a group; whatever is wrong with a record, it fails alone."""
    placed = Placed([], set())
    for at, part in enumerate(group.parts):
        if part:
            try:
                rows, unknown = _place(orjson.loads(part), known)
            except Exception as error:  # noqa: BLE001 - told to who waits for this record
                group.fail(at, error)
            else:
                placed.rows.extend(rows)
                placed.unknown.update(unknown)
    return placed


def store(
    connection: sqlite3.Connection, group: Group, placed: Placed, bounds: quarantine.Bounds
) -> tuple[dict[SeriesKey, int], Appended]:
    """Write a group, whatever it holds, within the transaction that is open.

    Returns:
        the ids of series that were not known, and what was appended to the inbox; both hold once the transaction is
        committed.
    """
    found = _series_ids(connection, placed.unknown)
    rows = placed.rows
    if found:
        rows = [row if type(row[0]) is int else (found[row[0]], *row[1:]) for row in rows]
    appended = inbox.append(connection, rows)
    special = group.special.values()
    quarantine.add(connection, [each.rejection for each in special if each.rejection is not None], bounds)
    # Before activations: the device may be one of those that are registered here.
    change_rows.put(connection, [(each.changes, each.wanted) for each in special])
    for each in special:
        connection.executemany(
            "UPDATE devices SET activated = ? WHERE product_key = ? AND device_key = ? AND activated IS NULL",
            [(each.time, *device) for device in each.activated],
        )
    command_rows.put(connection, [each.command for each in special if each.command is not None])
    serial = max((each.serial for each in special), default=0)
    if serial:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'registry_serial'", (serial,))
    return found, appended


def _place(points: Sequence[Sequence[Any]], known: SeriesIds) -> Placed:
    rows: list[tuple[Any, ...]] = []
    unknown: set[SeriesKey] = set()
    # Of one message most points have their device and their time in common.
    last_product = last_device = last_time = None
    ids = _NO_IDS
    dumps, codes = orjson.dumps, _ORIGIN_CODES
    for product_key, device_key, measurepoint, time, value, quality, origin in points:
        if device_key != last_device or product_key != last_product:
            last_product, last_device = product_key, device_key
            ids = known.get((product_key, device_key), _NO_IDS)
        # What is in the inbox must fit into `points`: there it would be too late to refuse it.
        if time != last_time:
            _require_int64(measurepoint, "time", time)
            last_time = time
        if quality is not None:
            _require_int64(measurepoint, "quality", quality)
        series: int | SeriesKey | None = ids.get(measurepoint)
        if series is None:
            series = (product_key, device_key, measurepoint)
            unknown.add(series)
        rows.append((series, time, dumps(value).decode(), quality, codes[origin]))
    return Placed(rows, unknown)


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
