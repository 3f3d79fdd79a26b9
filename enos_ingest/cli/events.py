"""`enos-ingest events`: what happened to a device."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import orjson

from enos_ingest.cli.facts import print_facts
from enos_ingest.cli.options import Commands, add_command, device, format_time, printable, time
from enos_ingest.devices.changes import EventReported
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import SqliteFacts

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(commands, "events", "print the stored events of a device")
    parser.add_argument("device", type=device, metavar="PRODUCT/DEVICE")
    parser.add_argument("--event", metavar="ID", help="only this event")
    parser.add_argument(
        "--from", dest="start", type=time, metavar="T", help="from this time on: epoch milliseconds or ISO 8601"
    )
    parser.add_argument("--to", dest="end", type=time, metavar="T", help="up to and including this time")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    def read(facts: SqliteFacts, device: DeviceId) -> Iterator[EventReported]:
        return facts.events(device, event=options.event, start=options.start, end=options.end)

    return print_facts(options, "events", read, _as_json, _line)


def _as_json(device: DeviceId, event: EventReported) -> dict[str, object]:
    return {
        "productKey": device.product_key,
        "deviceKey": device.device_key,
        "event": event.event,
        "time": event.time,
        "fields": event.fields,
        "origin": event.origin,
    }


def _line(event: EventReported) -> str:
    fields = printable(orjson.dumps(event.fields).decode())
    return f"{format_time(event.time)}  {printable(event.event):<24}  {fields}  ({event.origin})"
