"""Which device a request is about, whether its sender may speak for it, and by which model it is judged.

Reports of measurement points answer a stranger 1212, and so have rules of their own; all others answer 1009.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from enos_ingest.errors import format_path
from enos_ingest.models.validator import CompiledModel
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.identity import Channel, DeviceId
from enos_ingest.protocol.messages import parse_time
from enos_ingest.uplinks.route import FaultCodes, Refusal, Request, World

__all__ = [
    "COMMON_CODES",
    "Path",
    "channel_device",
    "check_channel",
    "check_online",
    "fact_time",
    "fault",
    "known_model",
    "own_device",
    "speaking_device",
]

Path: TypeAlias = tuple[str | int, ...]

COMMON_CODES = FaultCodes(
    empty=Code.PAYLOAD_EMPTY,
    unreadable=Code.PAYLOAD_FORMAT_ERROR,
    method=Code.METHODS_NOT_CONSISTENT,
    shape=Code.PAYLOAD_FORMAT_ERROR,
)
"""What EnOS documents for all topics."""


def speaking_device(request: Request, world: World) -> DeviceId:
    """The device of the topic: its sender may speak for it, and it is online where it belongs to a gateway."""
    owner, publisher = request.topic.owner, request.publisher
    # The route's family says that a device owns the topic; a channel may still have published to it.
    if (
        not isinstance(owner, DeviceId)
        or not isinstance(publisher, DeviceId)
        or not world.directory.may_represent(publisher, owner)
    ):
        raise Refusal(Code.NO_WRITE_PERMISSION, f"{publisher} may not speak for {owner}")
    if owner not in world.directory.devices:
        raise Refusal(Code.NO_WRITE_PERMISSION, f"device {owner} is not registered")
    check_online(owner, request, world)
    return owner


def own_device(request: Request, world: World) -> DeviceId:
    """The device of the topic, where it asks for itself: nobody else may change its topology."""
    owner, publisher = request.topic.owner, request.publisher
    if publisher != owner or not isinstance(publisher, DeviceId):
        raise Refusal(Code.NO_WRITE_PERMISSION, f"{publisher} may not act as {owner}")
    if publisher not in world.directory.devices:
        raise Refusal(Code.NO_WRITE_PERMISSION, f"device {publisher} is not registered")
    return publisher


def check_online(device: DeviceId, request: Request, world: World, path: Path = ()) -> None:
    """A device that belongs to a gateway must be online: through the gateway that speaks, or at all for itself.

    Args:
        path: where the request names the device, unless it is its topic that does.
    """
    if not world.directory.gateways(device):
        return
    publisher = request.publisher
    if publisher == device:
        online = world.presence.is_online(device)
    else:
        online = isinstance(publisher, DeviceId) and world.presence.is_online_through(publisher, device)
    if not online:
        what = f"{device} is offline"
        raise fault(Code.NO_SUB_DEVICE_PERMISSION, path, what) if path else Refusal(Code.NO_SUB_DEVICE_PERMISSION, what)


def check_channel(request: Request) -> None:
    """Refuse who is not the integration channel of the topic's product."""
    owner, publisher = request.topic.owner, request.publisher
    if publisher != owner or not isinstance(publisher, Channel):
        raise Refusal(Code.NO_WRITE_PERMISSION, f"{publisher} is not the channel of {owner.product_key}")


def channel_device(item: dict[str, Any], path: Path, request: Request, world: World) -> DeviceId:
    """The device of an item on the integration channel, known in the topic's product."""
    device = DeviceId(request.topic.owner.product_key, item["deviceKey"])
    if device not in world.directory.devices:
        raise fault(Code.DEVICE_NOT_FOUND, (*path, "deviceKey"), f"device {device} not found")
    return device


def known_model(device: DeviceId, path: Path, world: World) -> CompiledModel:
    """The thing model of a device's product."""
    product = world.directory.products.get(device.product_key)
    model_id = product.model if product else ""
    model = world.models.get(model_id) if model_id else None
    if model is None:
        what = f"thing model {model_id} is not loaded" if model_id else "has no thing model"
        raise fault(Code.MODEL_VALIDATE_FAILED, path, f"product {device.product_key}: {what}")
    return model


def fact_time(item: dict[str, Any], path: Path, request: Request, world: World) -> int:
    """The time that an item is of, epoch milliseconds, no further ahead than is allowed."""
    time = parse_time(item.get("time"), request.received)
    if world.max_future_seconds and time > request.received + world.max_future_seconds * 1000:
        what = f"more than {world.max_future_seconds:g} seconds in the future"
        raise fault(Code.PAYLOAD_FORMAT_ERROR, (*path, "time"), what)
    return time


def fault(code: Code, path: Path, what: str) -> Refusal:
    """A refusal that says where."""
    return Refusal(code, f"{format_path(path)}: {what}")
