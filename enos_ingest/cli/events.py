"""`enos-ingest events`: what happened to a device."""

from __future__ import annotations

import argparse

import orjson

from enos_ingest.cli.options import (
    Commands,
    add_command,
    add_device,
    add_json,
    add_period,
    database,
    format_time,
    printable,
)
from enos_ingest.cli.stored import print_stored
from enos_ingest.devices.changes import EventReported
from enos_ingest.storage.facts import SqliteFacts

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(commands, "events", "print the stored events of a device")
    add_device(parser)
    parser.add_argument("--event", metavar="ID", help="only this event")
    add_period(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with SqliteFacts(database(options)) as facts:
        found = facts.events(options.device, event=options.event, start=options.start, end=options.end)
        return print_stored(options, "events", found, _as_json, _line)


def _as_json(event: EventReported) -> dict[str, object]:
    return {"event": event.event, "time": event.time, "fields": event.fields, "origin": event.origin}


def _line(event: EventReported) -> str:
    fields = printable(orjson.dumps(event.fields).decode())
    return f"{format_time(event.time)}  {printable(event.event):<24}  {fields}  ({event.origin})"
