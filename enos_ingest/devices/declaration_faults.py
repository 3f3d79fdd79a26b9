"""What is wrong with a registry file between its rows, and with them beside what is declared already."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from enos_ingest.devices.declaration import Declaration
from enos_ingest.devices.directory import Directory, Link
from enos_ingest.devices.passwords import is_password_hash
from enos_ingest.devices.rows import NAMED_BY, application_of, asset_id_of, fault, reference, row_id, row_name
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.protocol.topics import RESERVED_DEVICE_KEYS

__all__ = ["declaration_faults"]


def declaration_faults(
    declaration: Declaration, current: Directory, models: Collection[str], absent: Collection[Link], *, prune: bool
) -> Iterator[str]:
    """Everything that is wrong between the rows, in the order of the tables."""
    yield from _duplicates(declaration)
    products = {row["key"]: row for row in declaration.rows("products")}
    known_products = products.keys() | (set() if prune else current.products.keys())
    devices = {row_id(row) for row in declaration.rows("devices")}
    known_devices = devices | (set() if prune else set(current.devices))
    for index, row in enumerate(declaration.rows("products")):
        if "model" in row and row["model"] not in models:
            known = ", ".join(sorted(models)) or "none is loaded"
            yield fault("products", index, row, f"unknown model {row['model']} (known: {known})")
    for index, row in enumerate(declaration.rows("devices")):
        yield from (
            fault("devices", index, row, what) for what in _device_faults(row, known_products, products, current)
        )
    yield from _asset_faults(declaration, current, prune=prune)
    yield from _gateway_faults(declaration, known_devices, Directory() if prune else current, absent)
    for index, row in enumerate(declaration.rows("applications")):
        if ("key" in row) != ("secret" in row):
            yield fault("applications", index, row, "key and secret go together")
        elif "key" not in row and "api_key" not in row:
            yield fault("applications", index, row, "key and secret, or api_key, missing")
    yield from _application_faults(declaration, current, prune=prune)
    for index, row in enumerate(declaration.rows("operators")):
        if ("password" in row) == ("password_hash" in row):
            yield fault("operators", index, row, "one of password and password_hash is needed")
        elif "password_hash" in row and not is_password_hash(row["password_hash"]):
            yield fault(
                "operators", index, row, "password_hash is none (`enos-ingest registry hash-password` makes one)"
            )


def _duplicates(declaration: Declaration) -> Iterator[str]:
    for table in NAMED_BY:
        first: dict[str, int] = {}
        for index, row in enumerate(declaration.rows(table)):
            name = row_name(table, row)
            if name in first:
                yield fault(table, index, row, f"declared twice, first as {table}[{first[name]}]")
            first.setdefault(name, index)


def _device_faults(
    row: dict[str, Any], known_products: Collection[str], products: dict[str, dict[str, Any]], current: Directory
) -> Iterator[str]:
    product_key = row["product"]
    if row["key"] in RESERVED_DEVICE_KEYS:
        yield f"key {row['key']} is reserved"
    if product_key not in known_products:
        yield f"unknown product {product_key}"
        return
    declared = products.get(product_key)
    dynamic = (
        declared.get("dynamic_activation", False) if declared else current.products[product_key].dynamic_activation
    )
    if "secret" not in row and not dynamic:
        yield "secret missing"


def _asset_faults(declaration: Declaration, current: Directory, *, prune: bool) -> Iterator[str]:
    rows = declaration.rows("devices")
    declared = {row_id(row) for row in rows}
    owner = {device.asset_id: str(key) for key, device in current.devices.items() if not prune and key not in declared}
    for index, row in enumerate(rows):
        asset_id, name = asset_id_of(row), row_name("devices", row)
        if owner.setdefault(asset_id, name) != name:
            yield fault("devices", index, row, f"asset_id {asset_id} is {owner[asset_id]}'s")


def _application_faults(declaration: Declaration, current: Directory, *, prune: bool) -> Iterator[str]:
    """Keys that two applications share: a call could not be told to be the one's or the other's."""
    rows = declaration.rows("applications")
    declared = {row["name"] for row in rows}
    kept = [each for each in current.applications.values() if not prune and each.name not in declared]
    keys = {each.key: each.name for each in kept if each.key}
    api_keys = {each.api_key_hash: each.name for each in kept if each.api_key_hash}
    for index, row in enumerate(rows):
        application = application_of(row)
        for what, value, owners in (
            ("key", application.key, keys),
            ("api_key", application.api_key_hash, api_keys),
        ):
            if value and owners.setdefault(value, application.name) != application.name:
                yield fault("applications", index, row, f"{what} is {owners[value]}'s")


def _gateway_faults(
    declaration: Declaration, known_devices: Collection[DeviceId], kept: Directory, absent: Collection[Link]
) -> Iterator[str]:
    """What is wrong with gateways; a sub-device that stays `absent` makes nobody a gateway or a sub-device."""
    rows = declaration.rows("gateways")
    gateways = {reference(row["device"]) for row in rows if not _all_absent(row, absent)} | kept.topology.keys()
    for index, row in enumerate(rows):
        gateway = reference(row["device"])
        if gateway not in known_devices:
            yield fault("gateways", index, row, "device is not declared")
        if gateway in gateways:
            for above in sorted(kept.gateways(gateway)):
                yield fault("gateways", index, row, f"device is a sub-device of {above}")
        seen = set()
        for text in row["sub_devices"]:
            sub_device = reference(text)
            if sub_device == gateway:
                yield fault("gateways", index, row, "a gateway cannot be its own sub-device")
            elif sub_device in gateways and (gateway, sub_device) not in absent:
                yield fault("gateways", index, row, f"sub-device {text} is a gateway itself")
            elif sub_device not in known_devices:
                yield fault("gateways", index, row, f"sub-device {text} is not declared")
            if sub_device in seen:
                yield fault("gateways", index, row, f"sub-device {text} stands twice")
            seen.add(sub_device)


def _all_absent(row: dict[str, Any], absent: Collection[Link]) -> bool:
    gateway, sub_devices = reference(row["device"]), row["sub_devices"]
    return bool(sub_devices) and all((gateway, reference(text)) in absent for text in sub_devices)
