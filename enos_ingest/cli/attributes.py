"""`enos-ingest attributes`: what a device is, as it or a third party said last."""

from __future__ import annotations

import argparse

import orjson

from enos_ingest.cli.facts import print_facts
from enos_ingest.cli.options import Commands, add_command, device, format_time, printable
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import Attribute

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(commands, "attributes", "print the attributes of a device")
    parser.add_argument("device", type=device, metavar="PRODUCT/DEVICE")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return print_facts(options, "attributes", lambda facts, device: facts.attributes(device), _as_json, _line)


def _as_json(device: DeviceId, attribute: Attribute) -> dict[str, object]:
    return {
        "productKey": device.product_key,
        "deviceKey": device.device_key,
        "attribute": attribute.identifier,
        "value": attribute.value,
        "time": attribute.time,
        "origin": attribute.origin,
    }


def _line(attribute: Attribute) -> str:
    value = printable(orjson.dumps(attribute.value).decode())
    return f"{format_time(attribute.time)}  {printable(attribute.identifier):<24}  {value}  ({attribute.origin})"
