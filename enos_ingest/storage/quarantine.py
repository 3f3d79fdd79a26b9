"""Rejected messages in the database, bounded by rows and by bytes: the oldest go."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple, TypeAlias

from enos_ingest.outcome import Rejection

__all__ = ["Bounds", "Usage", "add", "trim", "usage"]

_ROWS_A_STATEMENT = 50
"""Rows go over in statements of so many: starting one takes longer than a row does, and 400 parameters stay below every
SQLite's limit."""

_Row: TypeAlias = tuple[int, str, str, int, str, int, int, bytes]


class Bounds(NamedTuple):
    """How much is kept; `size` counts payload, topic, publisher and reason in bytes."""

    entries: int
    size: int


class Usage(NamedTuple):
    """How much is there, counted as in `Bounds`."""

    entries: int
    size: int


def add(connection: sqlite3.Connection, rejections: Sequence[Rejection], bounds: Bounds) -> None:
    """Insert rejections; `trim` is due in the same transaction.

    One that is bigger than the whole bound is kept with its payload cut to fit (`size` still tells the payload's
    full length); one whose topic and reason alone are bigger is not kept.
    """
    rows = iter([row for rejection in rejections if (row := _row(rejection, bounds)) is not None])
    while chunk := list(islice(rows, _ROWS_A_STATEMENT)):
        places = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * len(chunk))
        connection.execute(
            # Only question marks are put in.
            f"INSERT INTO quarantine (time, topic, publisher, code, reason, size, bytes, payload) VALUES {places}",  # noqa: S608
            [column for row in chunk for column in row],
        )


def trim(connection: sqlite3.Connection, bounds: Bounds) -> Usage:
    """Delete the oldest entries until both bounds hold; returns what is left."""
    entries, size = usage(connection)
    last = None
    for entry_id, entry_size in connection.execute("SELECT id, bytes FROM quarantine ORDER BY id"):
        if entries <= bounds.entries and size <= bounds.size:
            break
        last = entry_id
        entries -= 1
        size -= entry_size
    if last is not None:
        connection.execute("DELETE FROM quarantine WHERE id <= ?", (last,))
    return Usage(entries, size)


def usage(connection: sqlite3.Connection) -> Usage:
    """How many entries and bytes are there now."""
    return Usage(*connection.execute("SELECT entries, bytes FROM quarantine_usage").fetchone())


def _row(rejection: Rejection, bounds: Bounds) -> _Row | None:
    topic, topic_size = _text(rejection.topic)
    publisher, publisher_size = _text(rejection.publisher)
    reason, reason_size = _text(rejection.reason)
    text_size = topic_size + publisher_size + reason_size
    room = bounds.size - text_size
    if room < 0 or bounds.entries == 0:
        return None
    kept = bytes(rejection.payload[:room])
    return (
        rejection.time,
        topic,
        publisher,
        rejection.code,
        reason,
        rejection.size,
        text_size + len(kept),
        kept,
    )


def _text(text: str) -> tuple[str, int]:
    # What was rejected may hold anything, a lone surrogate too, which no database takes: it is shown as \\udc80.
    encoded = text.encode("utf-8", "backslashreplace")
    return encoded.decode(), len(encoded)
