"""`enos-ingest quarantine`: messages that were rejected, or skipped in part."""

from __future__ import annotations

import argparse
import sys

from enos_ingest.cli.options import Commands, add_command, add_json, count, database, format_time, json_line, printable
from enos_ingest.storage.reader import SqliteReader

__all__ = ["add_commands"]

_SHOWN = 50


def add_commands(commands: Commands) -> None:
    """Declare the commands."""
    group = commands.add_parser("quarantine", help="messages that were rejected, with the reason")
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True)
    parser = add_command(actions, "ls", "list the newest rejected messages")
    parser.add_argument("-n", "--limit", type=count, default=_SHOWN, metavar="N", help=f"how many (default {_SHOWN})")
    add_json(parser)
    parser.set_defaults(run=_ls)
    parser = add_command(actions, "show", "print one rejected message, whole")
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("--payload", action="store_true", help="only the payload, byte for byte")
    parser.set_defaults(run=_show)


def _ls(options: argparse.Namespace) -> int:
    with SqliteReader(database(options)) as reader:
        for row in reader.quarantine(limit=options.limit):
            if options.json:
                print(json_line(row._asdict()))
            else:
                print(
                    f"{row.id:>6}  {format_time(row.time)}  {row.code}  {printable(row.publisher)}  "
                    f"{printable(row.topic)}  {printable(row.reason)}"
                )
    return 0


def _show(options: argparse.Namespace) -> int:
    with SqliteReader(database(options)) as reader:
        entry = reader.quarantine_entry(options.id)
    if entry is None:
        print(f"enos-ingest: there is no quarantine entry {options.id}", file=sys.stderr)
        return 1
    if options.payload:
        sys.stdout.buffer.write(entry.payload)
        return 0
    print(f"time       {format_time(entry.time)}")
    print(f"topic      {printable(entry.topic)}")
    print(f"publisher  {printable(entry.publisher)}")
    print(f"code       {entry.code}")
    print(f"reason     {printable(entry.reason)}")
    print(f"payload    {len(entry.payload)} bytes")
    print(printable(entry.payload.decode("utf-8", "backslashreplace"), keep="\n\t"))
    return 0
