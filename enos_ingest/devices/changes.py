"""What uplinks change besides points: the registry, and facts about devices that are asked for later.

A change is committed with its message, in the order of receipt. Changes of the registry hold at once for the messages
that follow: those are committed after it, so nobody is answered on the strength of a change that is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from enos_ingest.protocol.identity import DeviceId

if TYPE_CHECKING:
    from enos_ingest.devices.directory import Device  # which makes the changes of the registry, and so knows them

__all__ = [
    "TAGS_PER_DEVICE",
    "AttributesDeleted",
    "AttributesSet",
    "Change",
    "DevicesRegistered",
    "EventReported",
    "FactsWanted",
    "PresenceChanged",
    "RegistryChange",
    "SecretMade",
    "TagsDeleted",
    "TagsSet",
    "TopologyAdded",
    "TopologyRemoved",
]


TAGS_PER_DEVICE = 100
"""So many tags a device has at most: what EnOS documents."""


class TopologyAdded(NamedTuple):
    """A gateway has taken sub-devices on."""

    gateway: DeviceId
    sub_devices: tuple[DeviceId, ...]
    time: int


class TopologyRemoved(NamedTuple):
    """A gateway has let sub-devices go."""

    gateway: DeviceId
    sub_devices: tuple[DeviceId, ...]
    time: int


class DevicesRegistered(NamedTuple):
    """A gateway has registered new devices, each with a secret that was made for it; their origin is the wire."""

    gateway: DeviceId
    devices: tuple[Device, ...]
    time: int


class SecretMade(NamedTuple):
    """A device was activated with its product's secret, and has got one of its own."""

    device: DeviceId
    secret: str
    time: int


class AttributesSet(NamedTuple):
    """Attributes have values, in place of those that they had; `origin` as a point's."""

    device: DeviceId
    values: Mapping[str, Any]
    time: int
    origin: str


class AttributesDeleted(NamedTuple):
    """Attributes have no values any more."""

    device: DeviceId
    identifiers: tuple[str, ...]


class TagsSet(NamedTuple):
    """Tags of a device, in place of those of the same keys: all of them, or none if it would have too many then."""

    device: DeviceId
    tags: Mapping[str, str]
    time: int


class TagsDeleted(NamedTuple):
    """Tags that a device has no more."""

    device: DeviceId
    keys: tuple[str, ...]


class EventReported(NamedTuple):
    """An event; the same device, event and time again replaces it, as with points.

    `time` is what its device says, `received` when it came, both in epoch milliseconds.
    """

    device: DeviceId
    event: str
    time: int
    fields: Mapping[str, Any]
    origin: str
    received: int


class PresenceChanged(NamedTuple):
    """A device came online or went offline: `why` in a word, `gateway` through which, None for its own connection."""

    device: DeviceId
    online: bool
    time: int
    why: str
    gateway: DeviceId | None


RegistryChange: TypeAlias = TopologyAdded | TopologyRemoved | DevicesRegistered | SecretMade

Change: TypeAlias = (
    RegistryChange | AttributesSet | AttributesDeleted | TagsSet | TagsDeleted | EventReported | PresenceChanged
)


class FactsWanted:
    """A question that the store answers in its place among the commits: it sees all that was committed before it.

    Attributes:
        names: which attributes or tags; none for all that there are.
        result: what the store has found, by name, once the record is committed.
    """

    __slots__ = ("device", "kind", "names", "result")

    def __init__(self, kind: Literal["attributes", "tags"], device: DeviceId, names: tuple[str, ...]) -> None:
        self.kind = kind
        self.device = device
        self.names = names
        self.result: dict[str, Any] = {}
