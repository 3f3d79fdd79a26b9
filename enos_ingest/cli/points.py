"""`enos-ingest points`: what is stored of a device."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

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
from enos_ingest.outcome import Point
from enos_ingest.storage.reader import SqliteReader

__all__ = ["add_commands"]


def add_commands(commands: Commands) -> None:
    """Declare the command."""
    parser = add_command(commands, "points", "print the stored points of a device")
    add_device(parser)
    parser.add_argument("--point", metavar="ID", help="only this measurement point")
    add_period(parser)
    parser.add_argument("--latest", action="store_true", help="only the latest value of each measurement point")
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with SqliteReader(database(options)) as reader:
        return print_stored(options, "points", _points(reader, options), _as_json, _line)


def _points(reader: SqliteReader, options: argparse.Namespace) -> Iterator[Point]:
    if not options.latest:
        return reader.points(*options.device, measurepoint=options.point, start=options.start, end=options.end)
    latest = reader.latest(*options.device, measurepoint=options.point)
    return (
        point
        for point in latest
        if (options.start is None or point.time >= options.start) and (options.end is None or point.time <= options.end)
    )


def _as_json(point: Point) -> dict[str, object]:
    return {
        "measurepoint": point.measurepoint,
        "time": point.time,
        "value": point.value,
        "quality": point.quality,
        "origin": point.origin,
    }


def _line(point: Point) -> str:
    value = printable(orjson.dumps(point.value).decode())
    quality = "" if point.quality is None else f"  quality {point.quality}"
    return f"{format_time(point.time)}  {printable(point.measurepoint):<24}  {value}{quality}  ({point.origin})"
