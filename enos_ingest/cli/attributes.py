"""`enos-ingest attributes`: what a device is, as it or a third party said last."""

from __future__ import annotations

import argparse

import orjson

from enos_ingest.cli.options import Commands, add_command, add_device, add_json, database, format_time, printable
from enos_ingest.cli.stored import print_stored
from enos_ingest.storage.facts import Attribute, SqliteFacts

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(commands, "attributes", "print the attributes of a device")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with SqliteFacts(database(options)) as facts:
        return print_stored(options, "attributes", facts.attributes(options.device), _as_json, _line)


def _as_json(attribute: Attribute) -> dict[str, object]:
    return {
        "attribute": attribute.identifier,
        "value": attribute.value,
        "time": attribute.time,
        "origin": attribute.origin,
    }


def _line(attribute: Attribute) -> str:
    value = printable(orjson.dumps(attribute.value).decode())
    return f"{format_time(attribute.time)}  {printable(attribute.identifier):<24}  {value}  ({attribute.origin})"
