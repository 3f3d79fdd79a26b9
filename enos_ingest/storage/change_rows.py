"""What uplinks change besides points, as rows of the database, written within the transaction of a group."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

from enos_ingest.devices.changes import (
    TAGS_PER_DEVICE,
    AttributesDeleted,
    AttributesSet,
    Change,
    DevicesRegistered,
    EventReported,
    FactsWanted,
    PresenceChanged,
    SecretMade,
    TagsDeleted,
    TagsSet,
    TopologyAdded,
    TopologyRemoved,
)
from enos_ingest.devices.directory import Device
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.inbox import ORIGINS

__all__ = ["Rows", "put", "size", "to_rows"]

_ROWS_A_STATEMENT = 50
"""Rows go over in statements of so many, as those of the quarantine do."""

_INT64 = range(-(2**63), 2**63)

_Row: TypeAlias = tuple[Any, ...]

_Kind: TypeAlias = Literal[
    "topology_added",
    "topology_removed",
    "registered",
    "secret",
    "attributes",
    "no_attributes",
    "tags",
    "no_tags",
    "events",
    "presence",
]


class Rows(NamedTuple):
    """Rows of one kind, in the order in which they are written."""

    kind: _Kind
    rows: Sequence[_Row]


def to_rows(changes: Iterable[Change]) -> tuple[Rows, ...]:
    """Changes as they are stored.

    Raises:
        ValueError, TypeError: no database could hold them.
    """
    return tuple(_to_rows(change) for change in changes)


def size(changes: Iterable[Rows]) -> int:
    """How many bytes they have, about."""
    return sum(len(value) for each in changes for row in each.rows for value in row if isinstance(value, str))


def put(connection: sqlite3.Connection, steps: Iterable[tuple[Iterable[Rows], FactsWanted | None]]) -> None:
    """Store what records change, one after the other, and find out what each asks for in its turn.

    Rows of one kind that follow each other go over together; events and presence are asked for by nobody here, and so
    need not keep their place among the others.

    Raises:
        LookupError: the registry has become another one, in which a change makes no sense.
    """
    apart: dict[_Kind, list[_Row]] = {"events": [], "presence": []}
    kind: _Kind | None = None
    rows: list[_Row] = []
    for changes, wanted in steps:
        for change in changes:
            if change.kind in apart:
                apart[change.kind].extend(change.rows)
                continue
            if change.kind != kind or kind == "tags":  # of tags, each change is all or nothing
                _put(connection, kind, rows)
                kind, rows = change.kind, []
            rows.extend(change.rows)
        if wanted is not None:
            _put(connection, kind, rows)
            kind, rows = None, []
            wanted.result = _find(connection, wanted)
    _put(connection, kind, rows)
    for each, gathered in apart.items():
        _put(connection, each, gathered)


def _to_rows(change: Change) -> Rows:  # noqa: PLR0911 - one a kind
    match change:
        case TopologyAdded(gateway, sub_devices, time):
            return Rows("topology_added", [(*gateway, *device, _int64(time)) for device in sub_devices])
        case TopologyRemoved(gateway, sub_devices, time):
            return Rows("topology_removed", [(*gateway, *device, _int64(time)) for device in sub_devices])
        case DevicesRegistered(_, devices, _):
            return Rows("registered", [_device(row) for row in devices])
        case SecretMade(device, secret, _):
            return Rows("secret", [(*device, secret)])
        case AttributesSet(device, values, time, origin):
            code, time = ORIGINS.index(origin), _int64(time)
            return Rows(
                "attributes", [(*device, name, _json(name, value), time, code) for name, value in values.items()]
            )
        case AttributesDeleted(device, identifiers):
            return Rows("no_attributes", [(*device, name) for name in identifiers])
        case TagsSet(device, tags, time):
            return Rows("tags", [(*device, tag, value, _int64(time)) for tag, value in tags.items()])
        case TagsDeleted(device, keys):
            return Rows("no_tags", [(*device, key) for key in keys])
        case EventReported(device, event, time, fields, origin, received):
            code = ORIGINS.index(origin)
            return Rows("events", [(*device, event, _int64(time), _json(event, fields), code, _int64(received))])
        case PresenceChanged(device, online, time, why, gateway):
            return Rows("presence", [(*device, _int64(time), online, why, *(gateway or (None, None)))])


def _device(row: Device) -> _Row:
    return (*row.id, row.secret, row.asset_id, row.enabled, row.name, row.timezone, row.registrar)


def _json(name: str, value: Any) -> str:
    text = orjson.dumps(value)
    if text == b"null" and value is not None:
        raise ValueError(f"{name}: {value} has no JSON form")
    return text.decode()


def _int64(time: int) -> int:
    if time not in _INT64:
        raise ValueError(f"time {time} is no integer of 64 bits")
    return time


def _put(connection: sqlite3.Connection, kind: _Kind | None, rows: Sequence[_Row]) -> None:
    if kind is None or not rows:
        return
    writer = _WRITERS.get(kind)
    if writer is not None:
        writer(connection, rows)
    else:
        _write(connection, kind, rows)


def _write(connection: sqlite3.Connection, kind: _Kind, rows: Sequence[_Row]) -> None:
    head, tail = _STATEMENTS[kind]
    rest = iter(rows)
    while chunk := list(islice(rest, _ROWS_A_STATEMENT)):
        places = ", ".join([f"({', '.join('?' * len(chunk[0]))})"] * len(chunk))
        connection.execute(f"{head} {places} {tail}", [column for row in chunk for column in row])


_PRESENCE = "product_key, device_key, time, online, why, gateway_product_key, gateway_device_key"

_STATEMENTS: dict[_Kind, tuple[str, str]] = {
    "attributes": (
        "INSERT INTO attributes (product_key, device_key, identifier, value, time, origin) VALUES",
        "ON CONFLICT DO UPDATE SET value = excluded.value, time = excluded.time, origin = excluded.origin",
    ),
    "no_attributes": ("DELETE FROM attributes WHERE (product_key, device_key, identifier) IN (VALUES", ")"),
    "tags": (
        "INSERT INTO tags (product_key, device_key, tag, value, time) VALUES",
        "ON CONFLICT DO UPDATE SET value = excluded.value, time = excluded.time",
    ),
    "no_tags": ("DELETE FROM tags WHERE (product_key, device_key, tag) IN (VALUES", ")"),
    "events": (
        "INSERT INTO events (product_key, device_key, event, time, fields, origin, received) VALUES",
        "ON CONFLICT DO UPDATE SET fields = excluded.fields, origin = excluded.origin, received = excluded.received",
    ),
    "presence": (f"INSERT INTO presence ({_PRESENCE}) VALUES", ""),
}
"""What stands before and after the rows."""

# Keys of the registry hold no control characters: as JSON all rows go over in one statement.
_LINKS = """
    WITH links AS (
        SELECT
            json_extract(value, '$[0]') AS gateway_product_key,
            json_extract(value, '$[1]') AS gateway_device_key,
            json_extract(value, '$[2]') AS product_key,
            json_extract(value, '$[3]') AS device_key,
            json_extract(value, '$[4]') AS time
        FROM json_each(?)
    )
"""

_SAME_LINK = "(gateway_product_key, gateway_device_key, product_key, device_key)"

_IMPOSSIBLE_LINK = f"""
    {_LINKS}
    SELECT gateway_product_key, gateway_device_key, product_key, device_key FROM links
    WHERE (gateway_product_key, gateway_device_key) = (product_key, device_key)
        OR NOT EXISTS (
            SELECT 1 FROM devices WHERE (devices.product_key, devices.device_key)
                = (links.gateway_product_key, links.gateway_device_key)
        )
        OR NOT EXISTS (
            SELECT 1 FROM devices WHERE (devices.product_key, devices.device_key)
                = (links.product_key, links.device_key)
        )
        OR EXISTS (
            SELECT 1 FROM topology WHERE (topology.product_key, topology.device_key)
                = (links.gateway_product_key, links.gateway_device_key)
        )
        OR EXISTS (
            SELECT 1 FROM topology WHERE (topology.gateway_product_key, topology.gateway_device_key)
                = (links.product_key, links.device_key)
        )
    LIMIT 1
"""  # noqa: S608 - only constants are put in, here and below

_ADD_LINKS = f"""
    {_LINKS}
    INSERT INTO topology (gateway_product_key, gateway_device_key, product_key, device_key, origin)
    SELECT gateway_product_key, gateway_device_key, product_key, device_key,
        (gateway_product_key, gateway_device_key, product_key, device_key) NOT IN (
            SELECT gateway_product_key, gateway_device_key, product_key, device_key FROM released
        )
    FROM links WHERE true
    ON CONFLICT DO NOTHING
"""  # noqa: S608

_TAKE_BACK = f"""
    {_LINKS}
    DELETE FROM released WHERE {_SAME_LINK} IN (
        SELECT gateway_product_key, gateway_device_key, product_key, device_key FROM links
    )
"""  # noqa: S608

_REMOVE_LINKS = f"""
    {_LINKS}
    DELETE FROM topology WHERE {_SAME_LINK} IN (
        SELECT gateway_product_key, gateway_device_key, product_key, device_key FROM links
    )
"""  # noqa: S608

_RELEASE = f"""
    {_LINKS}
    INSERT INTO released (gateway_product_key, gateway_device_key, product_key, device_key, time)
    SELECT gateway_product_key, gateway_device_key, product_key, device_key, links.time
    FROM links JOIN topology USING (gateway_product_key, gateway_device_key, product_key, device_key)
    WHERE topology.origin = 0
    ON CONFLICT DO UPDATE SET time = excluded.time
"""  # noqa: S608


def _add_links(connection: sqlite3.Connection, rows: Sequence[_Row]) -> None:
    # Of two changes after each other the second may build on the first; each is checked by itself.
    for links in _by_gateway(rows):
        impossible = connection.execute(_IMPOSSIBLE_LINK, links).fetchone()
        if impossible is not None:
            gateway, device = DeviceId(*impossible[:2]), DeviceId(*impossible[2:])
            raise LookupError(f"{device} cannot be a sub-device of {gateway}: the registry has changed")
        connection.execute(_ADD_LINKS, links)
        connection.execute(_TAKE_BACK, links)


def _remove_links(connection: sqlite3.Connection, rows: Sequence[_Row]) -> None:
    # Who has let a sub-device go cannot do so again.
    first = {row[:4]: row for row in reversed(rows)}
    links = (orjson.dumps(list(first.values())).decode(),)
    connection.execute(_RELEASE, links)
    connection.execute(_REMOVE_LINKS, links)


def _by_gateway(rows: Sequence[_Row]) -> Iterable[tuple[str]]:
    gathered: dict[_Row, list[_Row]] = {}
    for row in rows:
        gathered.setdefault(row[:2], []).append(row)
    return [(orjson.dumps(links).decode(),) for links in gathered.values()]


def _register(connection: sqlite3.Connection, rows: Sequence[_Row]) -> None:
    # A foreign key that leads nowhere would be found at the commit only, which other records share.
    for product_key in {row[0] for row in rows}:
        if connection.execute("SELECT 1 FROM products WHERE key = ?", (product_key,)).fetchone() is None:
            raise LookupError(f"product {product_key} is no more: the registry has changed")
    # A request that is sent again has the same devices, with the same secrets: they are there, or stand here twice.
    there = "SELECT 1 FROM devices WHERE product_key = ? AND device_key = ? AND secret = ?"
    distinct = {row[:3]: row for row in rows}
    rest = iter([row for key, row in distinct.items() if connection.execute(there, key).fetchone() is None])
    while chunk := list(islice(rest, _ROWS_A_STATEMENT)):
        places = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, 1)"] * len(chunk))
        connection.execute(
            # Only question marks are put in.
            "INSERT INTO devices "  # noqa: S608
            "(product_key, device_key, secret, asset_id, enabled, name, timezone, registrar, origin) "
            f"VALUES {places}",
            [column for row in chunk for column in row],
        )


def _set_secrets(connection: sqlite3.Connection, rows: Sequence[_Row]) -> None:
    for product_key, device_key, secret in rows:
        device = DeviceId(product_key, device_key)
        # One that was declared since the device was looked at stays: the device would be told what the file undoes.
        statement = "UPDATE devices SET secret = ?1 WHERE product_key = ?2 AND device_key = ?3 AND secret IN ('', ?1)"
        if connection.execute(statement, (secret, *device)).rowcount == 0:
            raise LookupError(f"device {device} is no more, or has another secret: the registry has changed")


def _set_tags(connection: sqlite3.Connection, rows: Sequence[_Row]) -> None:
    """Tags of one device, none of them if it would have too many."""
    statement = "SELECT tag FROM tags WHERE product_key = ? AND device_key = ?"
    held = {tag for (tag,) in connection.execute(statement, rows[0][:2])}
    if len(held.union(row[2] for row in rows)) <= TAGS_PER_DEVICE:
        _write(connection, "tags", rows)


_WRITERS: dict[_Kind, Callable[[sqlite3.Connection, Sequence[_Row]], None]] = {
    "topology_added": _add_links,
    "topology_removed": _remove_links,
    "registered": _register,
    "secret": _set_secrets,
    "tags": _set_tags,
}


def _find(connection: sqlite3.Connection, wanted: FactsWanted) -> dict[str, Any]:
    if wanted.kind == "attributes":
        statement = "SELECT identifier, value FROM attributes WHERE product_key = ? AND device_key = ?"
        found = {name: orjson.loads(value) for name, value in connection.execute(statement, wanted.device)}
    else:
        statement = "SELECT tag, value FROM tags WHERE product_key = ? AND device_key = ?"
        found = dict(connection.execute(statement, wanted.device).fetchall())
    if not wanted.names:
        return found
    return {name: found[name] for name in wanted.names if name in found}
