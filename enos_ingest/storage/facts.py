"""What is stored of a device besides points: attributes, tags, events, and when it came and went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson

from enos_ingest.devices.changes import EventReported, PresenceChanged
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.faults import translated
from enos_ingest.storage.inbox import ORIGINS
from enos_ingest.storage.sqlite import connect_reader

__all__ = ["Attribute", "SqliteFacts", "Tag"]

_PAGE = 1000
"""Events in one read, each page a read of its own, as with points."""

_MIN_TIME, _MAX_TIME = -(2**63), 2**63 - 1

_ATTRIBUTES = """
    SELECT identifier, value, time, origin FROM attributes
    WHERE product_key = :product_key AND device_key = :device_key ORDER BY identifier
"""

_TAGS = """
    SELECT tag, value, time FROM tags
    WHERE product_key = :product_key AND device_key = :device_key ORDER BY tag
"""

_EVENT_NAMES = """
    SELECT DISTINCT event FROM events
    WHERE product_key = :product_key AND device_key = :device_key ORDER BY event
"""

_EVENTS = """
    SELECT time, fields, origin FROM events
    WHERE product_key = :product_key AND device_key = :device_key AND event = :event AND time BETWEEN :start AND :end
    ORDER BY time LIMIT :page
"""

_PRESENCE = """
    SELECT product_key, device_key, time, online, why, gateway_product_key, gateway_device_key FROM presence
    WHERE product_key = :product_key AND device_key = :device_key ORDER BY id DESC LIMIT :limit
"""

# The newest row of each device is looked up: to group them all would read all.
_LAST_PRESENCE = """
    SELECT product_key, device_key, time, online, why, gateway_product_key, gateway_device_key FROM presence
    WHERE id IN (
        SELECT (
            SELECT id FROM presence AS last
            WHERE last.product_key = devices.product_key AND last.device_key = devices.device_key
            ORDER BY id DESC LIMIT 1
        ) FROM devices
    )
"""


class Attribute(NamedTuple):
    """A value that a device gave itself; `time` is when, in epoch milliseconds, `origin` as a point's."""

    identifier: str
    value: Any
    time: int
    origin: str


class Tag(NamedTuple):
    """A tag of a device; `time` is when it was set, in epoch milliseconds."""

    key: str
    value: str
    time: int


class SqliteFacts:
    """Reads what devices said of themselves, on a read-only connection of its own; used by one thread at a time.

    Raises:
        StorageError: there is no database, it cannot be read, or its schema is not this program's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect_reader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def attributes(self, device: DeviceId) -> list[Attribute]:
        """The attributes of a device that have values, by identifier."""
        return [
            Attribute(name, orjson.loads(value), time, ORIGINS[origin])
            for name, value, time, origin in self._read(_ATTRIBUTES, device)
        ]

    def tags(self, device: DeviceId) -> list[Tag]:
        """The tags of a device, by key."""
        return [Tag._make(row) for row in self._read(_TAGS, device)]

    def events(
        self, device: DeviceId, *, event: str | None = None, start: int | None = None, end: int | None = None
    ) -> Iterator[EventReported]:
        """Stored events by name, then time; `start` and `end` are inclusive epoch milliseconds."""
        first = _MIN_TIME if start is None else max(start, _MIN_TIME)
        last = _MAX_TIME if end is None else min(end, _MAX_TIME)
        names = [name for (name,) in self._read(_EVENT_NAMES, device)] if event is None else [event]
        for name in names:
            for time, fields, origin in self._events(device, name, first, last):
                yield EventReported(device, name, time, orjson.loads(fields), ORIGINS[origin])

    def presence(self, device: DeviceId, *, limit: int = 100) -> list[PresenceChanged]:
        """When a device came and went, newest first; no more than a hundred are kept of a device."""
        return [_presence(row) for row in self._read(_PRESENCE, device, limit=limit)]

    def last_presence(self) -> Mapping[DeviceId, PresenceChanged]:
        """The last time that each declared device came or went, as far as it is known."""
        with translated(self._path):
            rows = self._connection.execute(_LAST_PRESENCE).fetchall()
        return {change.device: change for change in map(_presence, rows)}

    def close(self) -> None:
        """Close the connection; iterators that are not at their end fail then."""
        self._connection.close()

    def _events(self, device: DeviceId, event: str, first: int, last: int) -> Iterator[tuple[int, str, int]]:
        while first <= last:
            rows = self._read(_EVENTS, device, event=event, start=first, end=last, page=_PAGE)
            yield from rows
            if len(rows) < _PAGE:
                return
            first = rows[-1][0] + 1

    def _read(self, query: str, device: DeviceId, **parameters: Any) -> list[Any]:
        with translated(self._path):
            try:
                return self._connection.execute(query, {**device._asdict(), **parameters}).fetchall()
            except UnicodeEncodeError:
                # A key with a lone surrogate, as a shell hands over bytes that are no UTF-8, names nothing stored.
                return []


def _presence(row: tuple[Any, ...]) -> PresenceChanged:
    product_key, device_key, time, online, why, gateway_product_key, gateway_device_key = row
    gateway = None if gateway_product_key is None else DeviceId(gateway_product_key, gateway_device_key)
    return PresenceChanged(DeviceId(product_key, device_key), bool(online), time, why, gateway)
