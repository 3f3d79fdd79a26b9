"""Devices that a gateway registers: new ones, each with a key and a secret that the hub makes."""

from __future__ import annotations

import secrets
import string
from collections import Counter
from collections.abc import Collection
from typing import Any

import orjson

from enos_ingest.devices.changes import DevicesRegistered
from enos_ingest.devices.directory import Device, Directory, derive_asset_id
from enos_ingest.protocol.codes import Code
from enos_ingest.protocol.credentials import make_secret
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.topics import RESERVED_DEVICE_KEYS, Family
from enos_ingest.uplinks.route import Accepted, Refusal, Request, Route, World
from enos_ingest.uplinks.subject import COMMON_CODES, fault, own_device

__all__ = ["DEVICES_PER_PRODUCT", "ROUTES", "register"]

DEVICES_PER_PRODUCT = 10_000
"""EnOS's limit: whoever registers without end fills the disk. A registry file may declare more."""

_KEY_LETTERS = string.ascii_letters + string.digits
_KEY_LENGTH = 10
"""Keys that EnOS makes are as long: zBAofs6D4s."""


def register(request: Request, world: World) -> Accepted:
    """`thing/device/register`: new devices, all of them or none; a key that is left out is made.

    The reply is the only one that tells their secrets. Who has not got it asks again: while none of the devices has
    come, the same gateway is told the same of them, and nothing is changed.
    """
    gateway, directory = own_device(request, world), world.directory
    product = directory.products[gateway.product_key]
    if not product.register:
        raise Refusal(Code.NO_WRITE_PERMISSION, f"devices of product {product.key} may not register others")
    if not request.is_direct:
        raise Refusal(Code.NO_WRITE_PERMISSION, f"secrets are told on the connection of {gateway} only")
    items: list[dict[str, Any]] = request.document["params"]
    devices = _new_devices(items, directory)
    rows = _registered_before(gateway, devices, world)
    if not rows:
        _check_room(devices, directory)
        rows = tuple(_row(gateway, device, item) for device, item in devices.items())
        for row in rows:
            owner = directory.find_by_asset_id(row.asset_id)
            if owner is not None:
                raise Refusal(Code.PARSE_ERROR, f"the asset id of {row.id} is {owner}'s: give it another key")
    # Also of those that are there already: the answer then waits for what it says to be on disk.
    change = DevicesRegistered(gateway, rows, request.received)
    return Accepted([_answered(row) for row in rows], changes=(change,) if rows else ())


ROUTES = (Route(Family.DEVICE, "thing/device/register", "device-register", COMMON_CODES, register),)


def _new_devices(items: list[dict[str, Any]], directory: Directory) -> dict[DeviceId, dict[str, Any]]:
    """The items by their device, in their order."""
    named: set[DeviceId] = set()
    for index, item in enumerate(items):
        path = ("params", index)
        if item["productKey"] not in directory.products:
            raise fault(Code.PARSE_ERROR, (*path, "productKey"), f"unknown product {item['productKey']}")
        if item.get("deviceKey"):
            device = DeviceId(item["productKey"], item["deviceKey"])
            if device.device_key in RESERVED_DEVICE_KEYS:
                raise fault(Code.PARSE_ERROR, (*path, "deviceKey"), f"{device.device_key} is reserved")
            if device in named:
                raise fault(Code.PARSE_ERROR, (*path, "deviceKey"), f"{device} stands twice")
            named.add(device)
    found: dict[DeviceId, dict[str, Any]] = {}
    for item in items:
        taken = [named, found, directory.devices]
        found[DeviceId(item["productKey"], item.get("deviceKey") or _make_key(item["productKey"], taken))] = item
    return found


def _registered_before(gateway: DeviceId, items: dict[DeviceId, dict[str, Any]], world: World) -> tuple[Device, ...]:
    """The devices of a request that is sent again, none where all are new.

    Raises:
        Refusal: there are such among them as the request has not registered when it was sent first.
    """
    known = {device: world.directory.devices[device] for device in items if device in world.directory.devices}
    others = [device for device, row in known.items() if not _is_again(gateway, row, items[device], world)]
    if others or (known and len(known) < len(items)):
        raise Refusal(Code.ALREADY_REGISTERED, f"already registered: {', '.join(map(str, others or known))}")
    return tuple(known.values())


def _is_again(gateway: DeviceId, row: Device, item: dict[str, Any], world: World) -> bool:
    """Whether a device is as this item has made it, and nobody has come with its secret yet."""
    return (
        (row.origin, row.registrar) == ("wire", str(gateway))
        and (row.name, row.timezone) == (_name(item.get("deviceName")), item.get("timezone") or "")
        and row.activated is None
        and not world.presence.has_logged_in(row.id)
    )


def _make_key(product_key: str, taken: list[Collection[DeviceId]]) -> str:
    while True:
        key = "".join(secrets.choice(_KEY_LETTERS) for _ in range(_KEY_LENGTH))
        if not any(DeviceId(product_key, key) in devices for devices in taken):
            return key


def _check_room(new: Collection[DeviceId], directory: Directory) -> None:
    for product_key, count in Counter(device.product_key for device in new).items():
        if directory.count_devices(product_key) + count > DEVICES_PER_PRODUCT:
            what = f"product {product_key} would have more than {DEVICES_PER_PRODUCT} devices"
            raise Refusal(Code.TOO_MANY_REQUESTS, what)


def _row(gateway: DeviceId, device: DeviceId, item: dict[str, Any]) -> Device:
    return Device(
        device,
        make_secret(),
        derive_asset_id(device),
        origin="wire",
        name=_name(item.get("deviceName")),
        timezone=item.get("timezone") or "",
        registrar=str(gateway),
    )


def _name(name: str | dict[str, Any] | None) -> str:
    """A name as JSON text: a plain string, as in the oldest documents, or one with translations."""
    if isinstance(name, dict):
        name = {key: name[key] for key in ("defaultValue", "i18nValue") if name.get(key)}
    return orjson.dumps(name).decode() if name else ""


def _answered(row: Device) -> dict[str, str]:
    return {
        "assetId": row.asset_id,
        "productKey": row.id.product_key,
        "deviceKey": row.id.device_key,
        "deviceSecret": row.secret,
    }
