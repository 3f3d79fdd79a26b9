"""`enos-ingest points`: what is stored of a device."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import orjson

from enos_ingest.cli.options import Commands, add_command, database, device, format_time, printable, time
from enos_ingest.outcome import Point
from enos_ingest.storage.reader import SqliteReader
from enos_ingest.storage.registry import open_registry

__all__ = ["add_commands", "as_json"]


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(commands, "points", "print the stored points of a device")
    parser.add_argument("device", type=device, metavar="PRODUCT/DEVICE")
    parser.add_argument("--point", metavar="ID", help="only this measurement point")
    parser.add_argument(
        "--from", dest="start", type=time, metavar="T", help="from this time on: epoch milliseconds or ISO 8601"
    )
    parser.add_argument("--to", dest="end", type=time, metavar="T", help="up to and including this time")
    parser.add_argument("--latest", action="store_true", help="only the latest value of each measurement point")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=_run)


def as_json(point: Point) -> bytes:
    """A point as `--json` prints it."""
    return orjson.dumps(
        {
            "productKey": point.product_key,
            "deviceKey": point.device_key,
            "measurepoint": point.measurepoint,
            "time": point.time,
            "value": point.value,
            "quality": point.quality,
            "origin": point.origin,
        }
    )


def _run(options: argparse.Namespace) -> int:
    path = database(options)
    count = 0
    with SqliteReader(path) as reader:
        for point in _points(reader, options):
            count += 1
            print(as_json(point).decode() if options.json else _line(point))
    if count:
        return 0
    with open_registry(path, read_only=True) as registry:
        declared = options.device in registry.directory().devices
    if not declared:
        print(f"enos-ingest: {options.device} is not declared and has no stored points", file=sys.stderr)
        return 1
    print(f"no such points of {options.device} are stored", file=sys.stderr)
    return 0


def _points(reader: SqliteReader, options: argparse.Namespace) -> Iterator[Point]:
    if not options.latest:
        return reader.points(*options.device, measurepoint=options.point, start=options.start, end=options.end)
    latest = reader.latest(*options.device, measurepoint=options.point)
    return (
        point
        for point in latest
        if (options.start is None or point.time >= options.start) and (options.end is None or point.time <= options.end)
    )


def _line(point: Point) -> str:
    value = printable(orjson.dumps(point.value).decode())
    quality = "" if point.quality is None else f"  quality {point.quality}"
    return f"{format_time(point.time)}  {printable(point.measurepoint):<24}  {value}{quality}  ({point.origin})"
