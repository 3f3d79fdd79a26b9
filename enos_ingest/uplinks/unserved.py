"""What EnOS documents for devices and this hub does not do: answered at once, so that nobody waits for a timeout."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.topics import Topic
from enos_ingest.uplinks.route import Refusal

__all__ = ["UNSERVED", "unserved"]

_NAMED_CHARACTERS = 100

UNSERVED: Mapping[str, str] = MappingProxyType(
    {
        "sys/ota/device/inform": "firmware versions",
        "sys/ota/device/getversion": "firmware versions",
        "sys/ota/device/request": "firmware updates",
        "sys/ota/device/progress": "firmware updates",
        "sys/thing/log/post": "logs of devices",
        "sys/network/status/report": "network states",
        "sys/connection/state/post": "connection states",
    }
)
"""By the kind of their topics: what they are about."""


def unserved(topic: Topic) -> Refusal:
    """The answer to a request that has no route."""
    what = UNSERVED.get(topic.kind)
    if what is not None:
        return Refusal(Code.NO_WRITE_PERMISSION, f"{what} are not served here: {topic.action}")
    return Refusal(Code.NO_WRITE_PERMISSION, f"no such topic for devices: {topic.action[:_NAMED_CHARACTERS]}")
