"""What is stored of a device besides points: attributes, tags, events, and when it came and went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from enos_ingest.devices.changes import EventReported, PresenceChanged
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.inbox import ORIGINS
from enos_ingest.storage.opened import OpenedReader, within
from enos_ingest.storage.purge import Purge, Purged, purge

__all__ = ["Attribute", "SqliteFacts", "Tag", "purge_events"]

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
    SELECT time, fields, origin, received FROM events
    WHERE product_key = :product_key AND device_key = :device_key AND event = :event AND time BETWEEN :start AND :end
    ORDER BY time LIMIT :page
"""

_PURGE_EVENTS = Purge(
    """
    DELETE FROM events WHERE (product_key, device_key, event, time) IN (
        SELECT product_key, device_key, event, time FROM events WHERE received < ? ORDER BY received LIMIT ?
    )
    """,
    """
    DELETE FROM events WHERE (product_key, device_key, event, time) IN (
        SELECT product_key, device_key, event, time FROM events ORDER BY received LIMIT ?
    )
    """,
    "SELECT count(*) FROM events",
)

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


class SqliteFacts(OpenedReader):
    """What devices said of themselves."""

    def attributes(self, device: DeviceId) -> list[Attribute]:
        """The attributes of a device that have values, by identifier."""
        return [
            Attribute(name, orjson.loads(value), time, ORIGINS[origin])
            for name, value, time, origin in self._read(_ATTRIBUTES, device._asdict())
        ]

    def tags(self, device: DeviceId) -> list[Tag]:
        """The tags of a device, by key."""
        return [Tag._make(row) for row in self._read(_TAGS, device._asdict())]

    def events(
        self, device: DeviceId, *, event: str | None = None, start: int | None = None, end: int | None = None
    ) -> Iterator[EventReported]:
        """Stored events by name, then time; `start` and `end` are inclusive epoch milliseconds."""
        first, last = within(start, end)
        names = [name for (name,) in self._read(_EVENT_NAMES, device._asdict())] if event is None else [event]
        for name in names:
            key = {**device._asdict(), "event": name}
            for time, fields, origin, received in self._read_pages(_EVENTS, key, first, last):
                yield EventReported(device, name, time, orjson.loads(fields), ORIGINS[origin], received)

    def presence(self, device: DeviceId, *, limit: int = 100) -> list[PresenceChanged]:
        """When a device came and went, newest first; no more than a hundred are kept of a device."""
        return [_presence(row) for row in self._read(_PRESENCE, {**device._asdict(), "limit": limit})]

    def last_presence(self) -> Mapping[DeviceId, PresenceChanged]:
        """The last time that each declared device came or went, as far as it is known."""
        return {change.device: change for change in map(_presence, self._read(_LAST_PRESENCE, {}))}


def purge_events(path: Path, before: int, keep: int) -> Purged:
    """Delete events that came before a time, in epoch milliseconds, and beyond `keep` those that came first.

    Blocks for seconds at the most, see `purge`; for the process that has the writer open.
    """
    return purge(path, _PURGE_EVENTS, before, keep)


def _presence(row: tuple[Any, ...]) -> PresenceChanged:
    product_key, device_key, time, online, why, gateway_product_key, gateway_device_key = row
    gateway = None if gateway_product_key is None else DeviceId(gateway_product_key, gateway_device_key)
    return PresenceChanged(DeviceId(product_key, device_key), bool(online), time, why, gateway)
