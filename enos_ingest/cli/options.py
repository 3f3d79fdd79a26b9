"""What commands have in common: options, arguments, and where the database is."""

from __future__ import annotations

import argparse
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import orjson

from enos_ingest.config import find_config, load_settings
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.settings import Settings
from enos_ingest.storage.sqlite import parse_url

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

__all__ = [
    "Commands",
    "add_command",
    "add_device",
    "add_json",
    "add_period",
    "count",
    "database",
    "device",
    "format_time",
    "json_line",
    "printable",
    "settings",
    "text",
    "time",
]

if not TYPE_CHECKING:
    Commands = object


def add_command(commands: Commands, name: str, summary: str, description: str = "") -> argparse.ArgumentParser:
    """A command that takes `-c FILE`, as all do."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description or f"{summary[0].upper()}{summary[1:]}."
    )
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration file (default: enos-ingest.toml in the working folder, if there)",
    )
    return parser


def add_device(parser: argparse.ArgumentParser) -> None:
    """The argument PRODUCT/DEVICE."""
    parser.add_argument("device", type=device, metavar="PRODUCT/DEVICE")


def add_period(parser: argparse.ArgumentParser) -> None:
    """`--from` and `--to`, as `start` and `end` in epoch milliseconds, both inclusive; None is no bound."""
    parser.add_argument(
        "--from", dest="start", type=time, metavar="T", help="from this time on: epoch milliseconds or ISO 8601"
    )
    parser.add_argument("--to", dest="end", type=time, metavar="T", help="up to and including this time")


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`, of commands that print one thing a line."""
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def settings(options: argparse.Namespace, overrides: dict[str, str] | None = None) -> Settings:
    """The settings that a command runs with."""
    return load_settings(options.config or find_config(), os.environ, overrides)


def database(options: argparse.Namespace) -> Path:
    """The database that a command reads or changes."""
    loaded = settings(options)
    return parse_url(loaded.storage.url, loaded.base)


def device(typed: str) -> DeviceId:
    """An argument PRODUCT/DEVICE."""
    product_key, slash, device_key = text(typed).partition("/")
    if not slash or not product_key or not device_key or "/" in device_key:
        raise argparse.ArgumentTypeError(f"{typed!r} is not PRODUCT/DEVICE, such as EbxGvUrE/gw-1")
    return DeviceId(product_key, device_key)


def text(typed: str, *, empty: bool = False) -> str:
    """An argument that is text: what a shell was given in another encoding is none, nor is nothing, unless `empty`."""
    try:
        typed.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{typed!r} is not UTF-8 text") from None
    if not typed and not empty:
        raise argparse.ArgumentTypeError("it is empty")
    return typed


def count(typed: str) -> int:
    """An argument that says how many."""
    if not typed.isascii() or not typed.isdigit() or not 0 < int(typed[:11]) < 2**31:
        raise argparse.ArgumentTypeError(f"{typed!r} is not a number from 1 on")
    return int(typed)


def time(typed: str) -> int:
    """An argument that is a time: epoch milliseconds, or ISO 8601, in UTC where it names no zone."""
    if re.fullmatch(r"-?[0-9]{1,18}", typed):
        return int(typed)
    try:
        moment = datetime.fromisoformat(typed)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{typed!r} is neither epoch milliseconds nor ISO 8601, such as 2026-11-21T08:00:00Z"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * 1000 + delta.microseconds // 1000


def printable(untrusted: str, keep: str = "") -> str:
    """Text that a device or a file made up, without what a terminal would take for commands."""
    return "".join(
        character if character in keep or character.isprintable() else character.encode("unicode_escape").decode()
        for character in untrusted
    )


def json_line(document: object) -> str:
    """A document as JSON on one line, the same to a program as any other spelling, and without what steers a terminal.

    JSON itself escapes only the first 32 characters.
    """
    written = orjson.dumps(document).decode()
    if written.isprintable():
        return written
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in written)


def format_time(milliseconds: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC."""
    seconds, rest = divmod(milliseconds, 1000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"
