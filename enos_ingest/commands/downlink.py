"""A command as a message to a device: where it goes, what it says, where its answer comes in.

Commands have `id`, `version`, `method` and `params`, all four: the C SDK ignores one that lacks any.
"""

from __future__ import annotations

from typing import Any

import orjson

from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.topics import Family, Topic, parse_topic, reply_topic

__all__ = ["answer_topic", "invoke_service", "is_raw", "parse_answer_topic", "raw_topic", "set_measurepoint"]

_SET = "measurepoint/set"
_SERVICES = "thing/service/"
_RAW = "thing/model/down_raw"
_RAW_ANSWER = reply_topic(_RAW)


def set_measurepoint(command: str, device: DeviceId, identifier: str, value: Any) -> tuple[str, bytes]:
    """Topic and payload of a command that sets a measurement point; the value goes out as it is."""
    return _service(command, device, _SET, {identifier: value})


def invoke_service(command: str, device: DeviceId, service: str, inputs: dict[str, Any]) -> tuple[str, bytes]:
    """Topic and payload of a command that invokes a service of the device's thing model."""
    return _service(command, device, service, inputs)


def raw_topic(device: DeviceId) -> str:
    """Where commands go to a device whose product has a format of its own."""
    return f"/sys/{device}/{_RAW}"


def answer_topic(topic: str) -> str:
    """Where the answer to a command comes in."""
    return reply_topic(topic)


def parse_answer_topic(name: str) -> Topic | None:
    """The parts of a topic that answers to commands come in on; None for any other."""
    topic = parse_topic(name)
    if topic is None or topic.family is not Family.DEVICE:
        return None
    is_answer = topic.action.startswith(_SERVICES) and topic.action.endswith("_reply")
    return topic if is_answer or is_raw(topic) else None


def is_raw(topic: Topic) -> bool:
    """Whether what comes in there is in the product's own format."""
    return topic.action == _RAW_ANSWER


def _service(command: str, device: DeviceId, service: str, params: dict[str, Any]) -> tuple[str, bytes]:
    action = _SERVICES + service
    message = {"id": command, "version": "1.0", "method": action.replace("/", "."), "params": params}
    return f"/sys/{device}/{action}", orjson.dumps(message)
