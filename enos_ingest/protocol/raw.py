"""Uplinks in a product's own format: which topics carry them, and which JSON request each of them is.

    /sys/{productKey}/{deviceKey}/thing/model/up_raw      of a device, or of a gateway for its sub-device
    /sys/{productKey}/integration/model/up_raw            of an integration channel
    /sys/{productKey}/integration/up_raw                  the same, as the documents of EnOS 2.1 name it

Nothing on the wire says what such a message asks for: once it is decoded, its `method` does.
"""

from __future__ import annotations

from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.topics import Topic, is_topic_name, parse_topic

__all__ = ["is_raw_uplink", "may_be_raw", "request_topic"]

_KINDS = frozenset({"sys/thing/model/up_raw", "integration/model/up_raw", "integration/up_raw"})

_EVENT, _POST = "thing.event.", ".post"


def may_be_raw(name: str) -> bool:
    """Whether a topic may be one of these, said without taking it apart: every message is asked."""
    return name.endswith("/up_raw")


def is_raw_uplink(topic: Topic) -> bool:
    """Whether messages on a topic are in the product's own format."""
    return topic.kind in _KINDS


def request_topic(raw: Topic, method: str) -> str | None:
    """Where a decoded message would have gone as JSON; None where `method` names no request of the topic's owner.

    The topics of an uplink say what its method says, with slashes for dots. An event's identifier may hold dots.
    """
    family, _, rest = method.partition(".")
    if "/" in method or not rest:
        return None
    action = method.replace(".", "/")
    if method.startswith(_EVENT) and method.endswith(_POST) and len(method) > len(_EVENT) + len(_POST):
        action = f"thing/event/{method[len(_EVENT) : -len(_POST)]}/post"
    product_key = raw.owner.product_key
    if not isinstance(raw.owner, DeviceId):
        name = f"/sys/{product_key}/{action}" if family == "integration" else ""
    elif family == "thing":
        name = f"/sys/{product_key}/{raw.owner.device_key}/{action}"
    elif family == "combine":
        name = f"/ext/session/{product_key}/{raw.owner.device_key}/{action}"
    else:
        name = ""
    topic = parse_topic(name) if is_topic_name(name) else None
    return name if topic is not None and topic.is_request and not is_raw_uplink(topic) else None
