"""`enos-ingest tags`: what is noted about a device."""

from __future__ import annotations

import argparse

from enos_ingest.cli.facts import print_facts
from enos_ingest.cli.options import Commands, add_command, device, format_time, printable
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import Tag

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(commands, "tags", "print the tags of a device")
    parser.add_argument("device", type=device, metavar="PRODUCT/DEVICE")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return print_facts(options, "tags", lambda facts, device: facts.tags(device), _as_json, _line)


def _as_json(device: DeviceId, tag: Tag) -> dict[str, object]:
    return {
        "productKey": device.product_key,
        "deviceKey": device.device_key,
        "tagKey": tag.key,
        "tagValue": tag.value,
        "time": tag.time,
    }


def _line(tag: Tag) -> str:
    return f"{format_time(tag.time)}  {printable(tag.key):<24}  {printable(tag.value)}"
