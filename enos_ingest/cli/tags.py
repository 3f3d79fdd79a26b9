"""`enos-ingest tags`: what is noted about a device."""

from __future__ import annotations

import argparse

from enos_ingest.cli.options import Commands, add_command, add_device, add_json, database, format_time, printable
from enos_ingest.cli.stored import print_stored
from enos_ingest.storage.facts import SqliteFacts, Tag

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(commands, "tags", "print the tags of a device")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with SqliteFacts(database(options)) as facts:
        return print_stored(options, "tags", facts.tags(options.device), _as_json, _line)


def _as_json(tag: Tag) -> dict[str, object]:
    return {"tagKey": tag.key, "tagValue": tag.value, "time": tag.time}


def _line(tag: Tag) -> str:
    return f"{format_time(tag.time)}  {printable(tag.key):<24}  {printable(tag.value)}"
