"""Who may publish, subscribe and receive where.

A device may use the topics under its own product and device key and, as a gateway, under those of the
sub-devices in its topology; an integration channel those of its product's integration topics. What a client may
publish and what it is sent never overlap: answers to its own requests, and commands.
"""

from __future__ import annotations

from enos_ingest.devices.directory import Directory
from enos_ingest.protocol.identity import Channel, DeviceId, Hub, Identity, Operator
from enos_ingest.protocol.topics import Family, Topic, is_filter, parse_topic

__all__ = ["may_publish", "may_receive", "may_subscribe"]


def may_publish(identity: Identity, name: str, directory: Directory) -> bool:
    """Whether a client may publish to a topic name."""
    topic = parse_topic(name)
    match identity:
        case Hub():
            return True
        case Operator(_, scopes):
            # Downlinks and replies are the hub's alone: an operator who could send them would command devices
            # past the rules, and the log, of the REST call.
            return "write" in scopes and (topic is None or not topic.is_to_device)
    return topic is not None and not topic.is_to_device and _owns(identity, topic, directory)


def may_receive(identity: Operator | Hub, name: str) -> bool:
    """Whether a message that somebody published may be delivered to a client that subscribed to its topic.

    The embedded broker asks; devices are not among its clients.
    """
    if isinstance(identity, Operator):
        return "read" in identity.scopes
    topic = parse_topic(name)
    return topic is not None and topic.is_request


def may_subscribe(identity: Identity, topic_filter: str, directory: Directory) -> bool:
    """Whether a client may subscribe to a topic filter.

    A `+` in place of a device's keys is granted and means "mine": a session is sent what is its own only.
    """
    if not is_filter(topic_filter):
        return False
    match identity:
        case Hub():
            return True
        case Operator(_, scopes):
            return "read" in scopes
        case DeviceId():
            return _device_may_subscribe(identity, topic_filter, directory)
    match topic_filter.removeprefix("/").split("/"):
        case ["sys", product_key, "integration", _, *_]:
            return product_key in (identity.product_key, "+")
        case _:
            return False


def _owns(identity: DeviceId | Channel, topic: Topic, directory: Directory) -> bool:
    if isinstance(topic.owner, DeviceId) and isinstance(identity, DeviceId):
        if topic.family is Family.SESSION:
            return topic.owner == identity
        return directory.may_represent(identity, topic.owner)
    return topic.owner == identity and type(topic.owner) is type(identity)


def _device_may_subscribe(device: DeviceId, topic_filter: str, directory: Directory) -> bool:
    match topic_filter.removeprefix("/").split("/"):
        case ["sys", product_key, device_key, _, *_]:
            pass
        case ["ext", "session", product_key, device_key, _, *_]:
            pass
        case _:
            return False
    if "+" in (product_key, device_key):
        return True
    return directory.may_represent(device, DeviceId(product_key, device_key))
