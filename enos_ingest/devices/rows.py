"""The rows of a registry file: what they are called, and what they declare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from enos_ingest.devices.directory import Application, Device, Directory, OperatorAccount, Origin, derive_asset_id
from enos_ingest.devices.passwords import hash_api_key
from enos_ingest.protocol.identity import DeviceId

__all__ = [
    "NAMED_BY",
    "application_of",
    "asset_id_of",
    "device_of",
    "fault",
    "operator_of",
    "reference",
    "row_id",
    "row_name",
]

_SHOWN_NAME = 129
"""As long as PRODUCT/DEVICE may be; a row whose shape is wrong may hold anything."""

NAMED_BY = {
    "products": ("key",),
    "devices": ("product", "key"),
    "gateways": ("device",),
    "applications": ("name",),
    "operators": ("name",),
}
"""The keys that name a row of each table, in fault texts and in the search for duplicates."""


def fault(table: str, index: int, row: dict[str, Any], what: str) -> str:
    """A fault of a row as `table[index] key: what`."""
    name = row_name(table, row)[:_SHOWN_NAME]
    return f"{table}[{index}] {name}: {what}" if name else f"{table}[{index}]: {what}"


def row_name(table: str, row: dict[str, Any]) -> str:
    """What a row is called by the keys of its own that it has."""
    return "/".join(str(row[key]) for key in NAMED_BY[table] if key in row)


def row_id(row: dict[str, Any]) -> DeviceId:
    """The device that a row of `devices` declares."""
    return DeviceId(row["product"], row["key"])


def reference(text: str) -> DeviceId:
    """The device that a row of `gateways` names as PRODUCT/DEVICE."""
    product_key, _, device_key = text.partition("/")
    return DeviceId(product_key, device_key)


def asset_id_of(row: dict[str, Any]) -> str:
    """The asset id of a device: its own, else one that is made of its keys."""
    asset_id: str = row.get("asset_id") or derive_asset_id(row_id(row))
    return asset_id


def device_of(row: dict[str, Any], current: Directory) -> Device:
    """A device, with what the directory knows of it that no file says."""
    device_id = row_id(row)
    known = current.devices.get(device_id)
    # A secret that the file leaves out was made by dynamic activation: it is the database's to keep.
    secret = row.get("secret", known.secret if known else "")
    declared = Device(device_id, secret, asset_id_of(row), row.get("enabled", True))
    if known is None:
        return declared
    # The wire's until the file gives it a secret: then a device that has gone by another is not the file's any more.
    origin: Origin = "file" if "secret" in row else known.origin
    return replace(known, secret=secret, asset_id=declared.asset_id, enabled=declared.enabled, origin=origin)


def application_of(row: dict[str, Any]) -> Application:
    """An application, with the hash of its API key."""
    api_key_hash = hash_api_key(row["api_key"]) if "api_key" in row else ""
    return Application(row["name"], row.get("key", ""), row.get("secret", ""), api_key_hash, frozenset(row["scopes"]))


def operator_of(row: dict[str, Any]) -> OperatorAccount:
    """An operator, whose password has been hashed."""
    return OperatorAccount(row["name"], row["password_hash"], frozenset(row["scopes"]))
