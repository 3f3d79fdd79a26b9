"""The topology of a gateway: which sub-devices it takes on, lets go, and has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from enos_ingest.devices.changes import TopologyAdded, TopologyRemoved
from enos_ingest.devices.directory import Directory
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.credentials import verify
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.topics import Family
from enos_ingest.uplinks.route import Accepted, Refusal, Request, Route, World
from enos_ingest.uplinks.subject import COMMON_CODES, fault, own_device

__all__ = ["ROUTES", "add", "delete", "get"]


def add(request: Request, world: World) -> Accepted:
    """`thing/topo/add`: sub-devices that the gateway takes on, each with its own signature; all of them or none.

    One that it has already is as well: it signs all the same.
    """
    gateway, directory = own_device(request, world), world.directory
    _check_gateway(gateway, directory)
    sub_devices = []
    for index, item in enumerate(request.document["params"]):
        sub_device = _device(item)
        path = ("params", index)
        row = directory.devices.get(sub_device)
        if row is None:
            raise fault(Code.DEVICE_NOT_EXISTED, path, f"device {sub_device} is not registered")
        if not _is_signed(item, sub_device, row.secret):
            raise fault(Code.SIGN_CHECK_FAILED, path, f"the signature of {sub_device} does not match")
        if sub_device == gateway:
            raise fault(Code.PARSE_ERROR, path, "a gateway cannot be its own sub-device")
        if directory.sub_devices(sub_device):
            raise fault(Code.PARSE_ERROR, path, f"{sub_device} is a gateway itself")
        sub_devices.append(sub_device)
    fresh = _once(sub_device for sub_device in sub_devices if sub_device not in directory.sub_devices(gateway))
    return Accepted(changes=(TopologyAdded(gateway, fresh, request.received),) if fresh else ())


def delete(request: Request, world: World) -> Accepted:
    """`thing/topo/delete`: sub-devices that the gateway lets go, all of them or none; the message says why not."""
    gateway = own_device(request, world)
    if not world.directory.sub_devices(gateway):
        raise Refusal(Code.REMOVE_TOPO_FAILURE, f"{gateway} is not a gateway")
    wanted = _once(map(_device, request.document["params"]))
    faults = list(_obstacles(gateway, wanted, world))
    if faults:
        raise Refusal(Code.REMOVE_TOPO_FAILURE, "; ".join(faults))
    return Accepted(changes=(TopologyRemoved(gateway, wanted, request.received),) if wanted else ())


def get(request: Request, world: World) -> Accepted:
    """`thing/topo/get`: the sub-devices that the gateway has; a device that could have some and has none gets []."""
    gateway, directory = own_device(request, world), world.directory
    _check_gateway(gateway, directory)
    return Accepted([_described(each, directory) for each in sorted(directory.sub_devices(gateway))])


ROUTES = (
    Route(Family.DEVICE, "thing/topo/add", "topo-add", COMMON_CODES, add),
    Route(Family.DEVICE, "thing/topo/delete", "topo-delete", COMMON_CODES, delete),
    Route(Family.DEVICE, "thing/topo/get", "topo-get", COMMON_CODES, get),
)


def _check_gateway(device: DeviceId, directory: Directory) -> None:
    above = directory.gateways(device)
    if above:
        raise Refusal(Code.PARSE_ERROR, f"{device} is not a gateway: it is a sub-device of {min(above)}")


def _obstacles(gateway: DeviceId, wanted: Iterable[DeviceId], world: World) -> Iterator[str]:
    """Why sub-devices cannot be let go; one that is online through another gateway can."""
    for sub_device in wanted:
        if sub_device not in world.directory.devices:
            yield f"device {sub_device} is not registered"
        elif sub_device not in world.directory.sub_devices(gateway):
            yield f"{sub_device} is not a sub-device of {gateway}"
        elif world.presence.is_online_through(gateway, sub_device):
            yield f"{sub_device} is online"


def _is_signed(item: dict[str, Any], sub_device: DeviceId, secret: str) -> bool:
    # The documents and the C SDK write `signmethod`, the others `signMethod`.
    method = item.get("signMethod") or item.get("signmethod") or ""
    return verify(secret, item["clientId"], sub_device, str(item["timestamp"]), method, item["sign"])


def _described(device: DeviceId, directory: Directory) -> dict[str, str]:
    row = directory.devices[device]
    return {"productKey": device.product_key, "deviceKey": device.device_key, "assetId": row.asset_id}


def _device(item: dict[str, Any]) -> DeviceId:
    return DeviceId(item["productKey"], item["deviceKey"])


def _once(devices: Iterable[DeviceId]) -> tuple[DeviceId, ...]:
    return tuple(dict.fromkeys(devices))
