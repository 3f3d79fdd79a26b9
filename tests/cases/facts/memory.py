"""What a store would hold, in a few lines: changes in their order, then what is asked for."""

from __future__ import annotations

from typing import Any

from enos_ingest.devices.changes import (
    TAGS_PER_DEVICE,
    AttributesDeleted,
    AttributesSet,
    Change,
    EventReported,
    TagsDeleted,
    TagsSet,
)
from enos_ingest.outcome import Outcome
from tests.cases.facts.case import Facts, Told

__all__ = ["Memory"]


class Memory:
    """A store of attributes, tags and events."""

    def __init__(self) -> None:
        self._attributes: dict[str, dict[str, Any]] = {}
        self._tags: dict[str, dict[str, str]] = {}
        self._events: dict[tuple[str, str, int], Told] = {}

    @property
    def facts(self) -> Facts:
        """All that is stored."""
        attributes = {device: values for device, values in self._attributes.items() if values}
        tags = {device: values for device, values in self._tags.items() if values}
        return Facts(attributes, tags, [*self._events.values()])

    def settle(self, outcome: Outcome) -> bytes:
        """Store what an outcome asks for, and return its reply."""
        record = outcome.record
        if record is not None:
            for change in record.changes:
                self._apply(change)
            if record.wanted is not None:
                kept = self._attributes if record.wanted.kind == "attributes" else self._tags
                found = kept.get(str(record.wanted.device), {})
                names = record.wanted.names or found
                record.wanted.result = {name: found[name] for name in names if name in found}
        return outcome.reply if outcome.finish is None else outcome.finish()

    def _apply(self, change: Change) -> None:
        match change:
            case AttributesSet(device, values):
                self._attributes.setdefault(str(device), {}).update(values)
            case AttributesDeleted(device, names):
                for name in names:
                    self._attributes.get(str(device), {}).pop(name, None)
            case TagsSet(device, tags):
                kept = self._tags.setdefault(str(device), {})
                if len({*kept, *tags}) <= TAGS_PER_DEVICE:
                    kept.update(tags)
            case TagsDeleted(device, keys):
                for key in keys:
                    self._tags.get(str(device), {}).pop(key, None)
            case EventReported(device, event, time, fields, origin):
                self._events[str(device), event, time] = Told(str(device), event, fields, time, origin)
            case _:
                raise AssertionError(change)
