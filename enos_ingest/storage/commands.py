"""Commands as they are stored: read for people and for a start, searched, deleted when they are old."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from enos_ingest.commands.command import Command
from enos_ingest.commands.refusals import CommandRefusal, RestCode
from enos_ingest.commands.search import Search
from enos_ingest.storage.command_query import to_sql
from enos_ingest.storage.command_rows import COLUMNS, Row, from_row
from enos_ingest.storage.command_rows import size as row_size
from enos_ingest.storage.faults import translated
from enos_ingest.storage.opened import Opened
from enos_ingest.storage.purge import PURGE_ROWS, PURGE_SECONDS, connected_to_purge, delete_slice
from enos_ingest.storage.sqlite import connect_reader
from enos_ingest.storage.transactions import snapshot

__all__ = ["Kept", "SqliteCommands"]

SEARCH_SECONDS = 5.0
"""How long a search may take; a million commands are looked at in less. Meanwhile the write-ahead log may only grow."""

SEARCH_STEPS = 100_000
"""Instructions of SQLite, some milliseconds' worth, between looks at the clock, each of which takes the GIL."""

SEARCH_BYTES = 16 * 2**20
"""What the commands of a page may hold together: a thousand of the longest inputs and outputs are gigabytes, which
would be in memory several times over, and as one answer hold the event loop for seconds. One command always fits."""

_UNFINISHED = f"SELECT {COLUMNS} FROM commands WHERE state IN (1, 4) ORDER BY id"  # noqa: S608 - constants

_ONE = f"SELECT {COLUMNS} FROM commands WHERE id = ?"  # noqa: S608 - constants

_OLD = """
    DELETE FROM commands WHERE id IN (
        SELECT id FROM commands WHERE finished IS NOT NULL AND finished < ? ORDER BY finished, id LIMIT ?
    )
"""

_OLDEST = "SELECT finished, id, bytes FROM commands WHERE finished IS NOT NULL ORDER BY finished, id LIMIT ?"

_UP_TO = "DELETE FROM commands WHERE finished IS NOT NULL AND (finished, id) <= (?, ?)"

_FINISHED = "SELECT count(*), coalesce(sum(bytes), 0) FROM commands WHERE finished IS NOT NULL"


class Kept(NamedTuple):
    """The finished commands that are stored, and how long their texts and payloads are."""

    commands: int
    size: int


class SqliteCommands(Opened):
    """Reads commands on a connection of its own; a context manager. Its methods block, and any thread may call them.

    Commands are written by the service's writer alone; `purge` is for the service that has it open.

    Attributes:
        kept: what the last purge has left, None before the first.

    Raises:
        StorageError: as `connect_reader`; each method, when the database cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.kept: Kept | None = None
        self._path = path
        self._connection = connect_reader(path)
        self._lock = threading.Lock()

    def unfinished(self) -> list[Command]:
        """The commands that are `CREATED` or `RELEASED`, by id."""
        return [from_row(row) for row in self._read(_UNFINISHED)]

    def last_id(self) -> int:
        """The greatest id that is stored, 0 where there is no command."""
        return int(self._read("SELECT coalesce(max(id), 0) FROM commands")[0][0])

    def get(self, command_id: str) -> Command | None:
        """One command, None where there is none of that id, whatever the text."""
        if not (command_id.isascii() and command_id.isdigit() and len(command_id) == 18):
            return None
        rows = self._read(_ONE, int(command_id))
        return from_row(rows[0]) if rows else None

    def search(self, query: Search) -> tuple[list[Command], int]:
        """The commands of one page, and how many there are on all pages.

        On a connection of its own, so that no other call waits for it.

        Raises:
            CommandRefusal: BAD_ARGUMENT, it took too long, or the page holds too much.
        """
        conditions, order, parameters = to_sql(query)
        page = (query.page_size, (query.page - 1) * query.page_size)
        with closing(connect_reader(self._path)) as connection, translated(self._path):
            deadline = monotonic() + SEARCH_SECONDS
            connection.set_progress_handler(lambda: monotonic() > deadline, SEARCH_STEPS)
            try:
                with snapshot(connection):
                    # Only what `to_sql` makes is put in: names of columns and question marks.
                    statement = f"SELECT count(*) FROM commands WHERE {conditions}"  # noqa: S608
                    total = int(connection.execute(statement, parameters).fetchone()[0])
                    statement = f"SELECT {COLUMNS} FROM commands WHERE {conditions} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608
                    rows = _page(connection.execute(statement, (*parameters, *page))) if page[1] < total else []
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                    raise
                sentence = f"the search took more than {SEARCH_SECONDS:g} seconds: narrow it by createTime"
                raise CommandRefusal(RestCode.BAD_ARGUMENT, sentence) from None
        return [from_row(row) for row in rows], total

    def purge(self, before: int, keep: int, keep_bytes: int) -> int:
        """Delete finished commands that ended before a time, in epoch milliseconds, and the oldest beyond the bounds.

        Slice by slice, each a transaction of its own, with pauses between them in which the writer gets its turn; for
        `PURGE_SECONDS` at the most, what is left then is for the next call.

        Args:
            keep: how many are kept.
            keep_bytes: how long their texts and payloads may be together.

        Returns:
            how many were deleted.
        """
        with connected_to_purge(self._path) as connection:
            deleted, end = 0, monotonic() + PURGE_SECONDS
            while monotonic() < end and (count := delete_slice(connection, _OLD, before, PURGE_ROWS)):
                deleted += count
            left, held = connection.execute(_FINISHED).fetchone()
            while (left > keep or held > keep_bytes) and monotonic() < end:
                # What ends meanwhile is younger.
                last = None
                for finished, command, size in connection.execute(_OLDEST, (PURGE_ROWS,)).fetchall():
                    last, left, held = (finished, command), left - 1, held - size
                    if left <= keep and held <= keep_bytes:
                        break
                if last is None:
                    break  # whoever has the database open besides has deleted them
                deleted += delete_slice(connection, _UP_TO, *last)
            self.kept = Kept(left, held)
            return deleted

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _read(self, query: str, *parameters: Any) -> list[Any]:
        with self._lock, translated(self._path):
            return self._connection.execute(query, parameters).fetchall()


def _page(found: Iterable[Row]) -> list[Row]:
    """The rows of a page; raises BAD_ARGUMENT where they are too much to be held."""
    rows: list[Row] = []
    held = 0
    for row in found:
        held += row_size(row)
        if rows and held > SEARCH_BYTES:
            sentence = f"the commands of this page hold more than {SEARCH_BYTES} bytes: ask for a smaller pageSize"
            raise CommandRefusal(RestCode.BAD_ARGUMENT, sentence)
        rows.append(row)
    return rows
