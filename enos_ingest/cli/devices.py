"""`enos-ingest devices`: which devices there are, and which of them are online."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NamedTuple

import orjson

from enos_ingest.cli.options import Commands, add_command, add_json, database, format_time, json_line, printable, text
from enos_ingest.devices.changes import PresenceChanged
from enos_ingest.devices.directory import Device
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.storage.registry import open_registry

__all__ = ["add_commands"]


class _Listed(NamedTuple):
    """A device as it is printed; `last` is when it last came or went, None where that is not known."""

    device: Device
    gateways: list[DeviceId]
    last: PresenceChanged | None

    @property
    def is_online(self) -> bool:
        return self.last is not None and self.last.online


def add_commands(commands: Commands) -> None:
    """Declare the commands."""
    group = commands.add_parser("devices", help="devices, and which of them are online")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = add_command(
        actions,
        "ls",
        "list devices, and which of them are online",
        "List the devices of the registry, those of one product where it is named. Who is online is read from what the "
        "hub has stored of comings and goings: after a hub was killed that is only put right by its next start.",
    )
    parser.add_argument("product", nargs="?", type=text, metavar="PRODUCT")
    parser.add_argument("--online", action="store_true", help="only those that are online")
    add_json(parser)
    parser.set_defaults(run=_ls)


def _ls(options: argparse.Namespace) -> int:
    path = database(options)
    with open_registry(path, read_only=True) as registry:
        directory = registry.directory()
    if options.product is not None and options.product not in directory.products:
        print(f"enos-ingest: product {options.product} is not declared", file=sys.stderr)
        return 1
    with SqliteFacts(path) as facts:
        presence = facts.last_presence()
    listed = [
        _Listed(device, sorted(directory.gateways(key)), presence.get(key))
        for key, device in directory.devices.items()
        if options.product in (None, key.product_key)
    ]
    shown = [each for each in listed if each.is_online or not options.online]
    for each in shown:
        print(json_line(_as_json(each)) if options.json else _line(each))
    if not shown:
        print("no device is online" if listed else "no device is declared", file=sys.stderr)
    return 0


def _as_json(listed: _Listed) -> dict[str, Any]:
    device, gateways, last = listed
    return {
        "productKey": device.id.product_key,
        "deviceKey": device.id.device_key,
        "assetId": device.asset_id,
        "deviceName": orjson.loads(device.name) if device.name else None,
        "timezone": device.timezone or None,
        "enabled": device.enabled,
        "activated": device.activated,
        "origin": device.origin,
        "gateways": [str(gateway) for gateway in gateways],
        "online": listed.is_online,
        "since": last.time if last else None,
        "why": last.why if last else None,
        "through": str(last.gateway) if last and last.online and last.gateway else None,
    }


def _line(listed: _Listed) -> str:
    device, gateways, last = listed
    parts = [f"{device.id!s:<32}", _state(device, last)]
    if not device.enabled:
        parts.append("disabled")
    if gateways:
        parts.append(f"of {', '.join(map(str, gateways))}")
    if device.origin == "wire":
        parts.append("from the wire")
    return "  ".join(parts)


def _state(device: Device, last: PresenceChanged | None) -> str:
    if last is not None and last.online:
        through = f" through {last.gateway}" if last.gateway else ""
        return f"online since {format_time(last.time)}{through}"
    if last is not None:
        return f"offline since {format_time(last.time)} ({printable(last.why)})"
    return "never logged in" if device.activated is None else "offline"
