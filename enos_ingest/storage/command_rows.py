"""Commands as rows of the database, written within the transaction of a group."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeAlias

import orjson

from enos_ingest.commands.command import Command, Kind, State
from enos_ingest.protocol.identity import DeviceId

__all__ = ["COLUMNS", "Row", "from_row", "put", "size", "to_row"]

Row: TypeAlias = tuple[Any, ...]
"""The columns of a command, in the order of `COLUMNS`."""

COLUMNS = (
    "id, product_key, device_key, kind, identifier, state, created, sent, finished, timeout, pending_ttl, application, "
    "device_code, device_message, name, topic, input, output, payload"
)

_NAMES = COLUMNS.split(", ")

_WRITTEN = (*_NAMES, "bytes")
"""What is written of a command: beside itself what it counts against the bound on those that are kept."""

_ROWS_A_STATEMENT = 50
"""Rows go over in statements of so many, as those of the quarantine do."""

_ID_DIGITS = 18

_INT64 = range(-(2**63), 2**63)

_PLACES = f"({', '.join('?' * len(_WRITTEN))})"

_UPSERT = ", ".join(f"{name} = excluded.{name}" for name in _WRITTEN[1:])


def to_row(command: Command) -> Row:
    """A command as it is stored.

    Raises:
        ValueError, TypeError: no database could hold it.
    """
    if len(command.id) != _ID_DIGITS or not command.id.isascii() or not command.id.isdigit() or command.id[0] == "0":
        raise ValueError(f"command id {command.id!r}: expected {_ID_DIGITS} digits")
    if command.device_code is not None and command.device_code not in _INT64:
        raise ValueError(f"device code {command.device_code} is no integer of 64 bits")
    if command.state.is_final != (command.finished is not None):
        # Unfinished commands are found by their state, those that may be deleted by their end.
        raise ValueError(f"command {command.id} is {command.state.name} and finished at {command.finished}")
    return (
        int(command.id),
        *command.device,
        int(command.kind),
        command.identifier,
        int(command.state),
        command.created,
        command.sent,
        command.finished,
        command.timeout,
        command.pending_ttl,
        command.application,
        command.device_code,
        # A device's words may hold anything, half a surrogate pair too, which no database takes.
        command.device_message.encode("utf-8", "backslashreplace").decode(),
        None if command.name is None else orjson.dumps(command.name).decode(),
        command.topic,
        orjson.dumps(command.input).decode(),
        None if command.output is None else orjson.dumps(command.output).decode(),
        command.payload,
    )


def from_row(row: Row) -> Command:
    """The command that a row stands for."""
    found = dict(zip(_NAMES, row, strict=True))
    device = DeviceId(found.pop("product_key"), found.pop("device_key"))
    for name in ("name", "input", "output"):
        if found[name] is not None:
            found[name] = orjson.loads(found[name])
    kind, state = Kind(found.pop("kind")), State(found.pop("state"))
    return Command(str(found.pop("id")), device, kind, state=state, **found)


def size(row: Row) -> int:
    """How many bytes the texts and the payload of a row have."""
    # Of half a surrogate pair the database makes a fault of its own.
    texts = (value.encode("utf-8", "surrogatepass") for value in row if isinstance(value, str))
    return sum(map(len, texts)) + sum(len(value) for value in row if isinstance(value, bytes))


def put(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Store commands, each in place of what is stored under its id; of two with one id the later stays."""
    last = iter({row[0]: row for row in rows}.values())
    while chunk := list(islice(last, _ROWS_A_STATEMENT)):
        places = ", ".join([_PLACES] * len(chunk))
        connection.execute(
            # Only constants and question marks are put in.
            f"INSERT INTO commands ({COLUMNS}, bytes) VALUES {places} ON CONFLICT (id) DO UPDATE SET {_UPSERT}",  # noqa: S608
            [column for row in chunk for column in (*row, size(row))],
        )
