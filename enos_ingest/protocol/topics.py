"""Where a message goes: topics of uplinks and of their replies.

Topics on the wire start with a slash, in some documents they do not: both are accepted, and the reply keeps
the spelling of its request.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, field
from enum import Enum

from enos_ingest.protocol.identity import Channel, DeviceId, Publisher

__all__ = [
    "RESERVED_DEVICE_KEYS",
    "Family",
    "Topic",
    "filter_matches",
    "is_filter",
    "is_reply",
    "is_topic_name",
    "parse_topic",
    "reply_topic",
]

RESERVED_DEVICE_KEYS = frozenset({"integration"})
"""Keys that no device may have, because `/sys/{productKey}/integration/...` means the integration channel."""

_DOWNLINKS = (
    "thing/service/",
    "thing/model/down_raw",
    "thing/activate/info",
    "thing/enable",
    "thing/disable",
    "thing/delete",
    "ota/device/upgrade",
    "rrpc/request/",
    "combine/enable",
    "combine/disable",
    "combine/delete",
)
"""What actions that the hub asks of a device start with; all others are asked by devices."""

_KEPT_TOPICS = 65_536
_KEPT_CHARACTERS = 256
"""Parsed topics that are kept, some 40 MB at the most: those of tens of thousands of devices, as one that was not kept
costs a message a quarter of its time; and none that a stranger made as long as MQTT allows."""

_MAX_TOPIC_BYTES = 65535 - len("_reply")
"""MQTT takes 65535 bytes; the reply's topic must fit too."""


class Family(Enum):
    """The three kinds of topics that uplinks use."""

    DEVICE = "sys"
    """`/sys/{productKey}/{deviceKey}/...`"""
    SESSION = "session"
    """`/ext/session/{productKey}/{deviceKey}/...`"""
    INTEGRATION = "integration"
    """`/sys/{productKey}/integration/...`"""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of one of the three families.

    `owner` is the device or channel that the topic belongs to; `action` is what follows, without a leading
    slash, such as `thing/measurepoint/resume`. The rest follows from those, told once for all messages.

    Attributes:
        kind: family and action, such as `sys/thing/measurepoint/resume`: the same for all devices.
        is_to_device: whether messages go from the hub to a device: replies to uplinks, and downlinks.
        is_request: whether messages want an answer: they are neither for devices nor answers themselves.
        reply_topic: where that answer goes.
    """

    name: str
    family: Family
    owner: Publisher
    action: str
    kind: str = field(init=False, compare=False, repr=False)
    is_to_device: bool = field(init=False, compare=False, repr=False)
    is_request: bool = field(init=False, compare=False, repr=False)
    reply_topic: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        is_to_device = self.action.startswith(_DOWNLINKS) != self.action.endswith("_reply")
        object.__setattr__(self, "kind", sys.intern(f"{self.family.value}/{self.action}"))
        object.__setattr__(self, "is_to_device", is_to_device)
        object.__setattr__(self, "is_request", not is_to_device and not is_reply(self.name))
        object.__setattr__(self, "reply_topic", reply_topic(self.name))


def parse_topic(name: str) -> Topic | None:
    """The parts of a topic; None for one that belongs to no family."""
    # Each message asks several times, on its way in and for each subscriber on its way out.
    return _parse_and_keep(name) if len(name) <= _KEPT_CHARACTERS else _parse(name)


def _parse(name: str) -> Topic | None:
    levels = name.removeprefix("/").split("/")
    match levels:
        case ["sys", product_key, "integration", *rest] if product_key and rest:
            return Topic(name, Family.INTEGRATION, Channel(product_key), "/".join(rest))
        case ["sys", product_key, device_key, *rest] if product_key and device_key and rest:
            return Topic(name, Family.DEVICE, DeviceId(product_key, device_key), "/".join(rest))
        case ["ext", "session", product_key, device_key, *rest] if product_key and device_key and rest:
            return Topic(name, Family.SESSION, DeviceId(product_key, device_key), "/".join(rest))
        case _:
            return None


_parse_and_keep = functools.lru_cache(_KEPT_TOPICS)(_parse)


def reply_topic(name: str) -> str:
    """Where the answer to a request goes."""
    return f"{name}_reply"


def is_reply(name: str) -> bool:
    """Whether a topic carries an answer: those are never answered themselves."""
    return name.endswith("_reply") or "/rrpc/response/" in name


def is_topic_name(name: str) -> bool:
    """Whether a client may publish to `name`: not empty, no wildcard, no NUL, not the server's own `$` topics.

    [MQTT-3.3.2-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2], [MQTT-4.7.2-1]
    """
    if not name or name[0] == "$" or len(name.encode("utf-8", "surrogatepass")) > _MAX_TOPIC_BYTES:
        return False
    return not any(character in name for character in "+#\0")


def is_filter(text: str) -> bool:
    """Whether `text` is a well-formed topic filter. [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.3-1]"""
    if not text or "\0" in text:
        return False
    levels = text.split("/")
    return all(
        ("#" not in level or (level == "#" and index == len(levels) - 1)) and ("+" not in level or level == "+")
        for index, level in enumerate(levels)
    )


def filter_matches(topic_filter: str, name: str) -> bool:
    """Whether a well-formed filter covers a topic name. [MQTT-4.7.1-1], [MQTT-4.7.2-1]"""
    if name.startswith("$") and topic_filter[:1] in ("+", "#"):
        return False
    wanted, given = topic_filter.split("/"), name.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given) or level not in ("+", given[index]):
            return False
    return len(wanted) == len(given)
