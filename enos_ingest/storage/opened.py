"""What all have in common that hold a connection to the database open: they close it, and pages are read of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from enos_ingest.storage.faults import translated
from enos_ingest.storage.sqlite import connect_reader

__all__ = ["MAX_TIME", "MIN_TIME", "PAGE", "Opened", "OpenedReader", "within"]

MIN_TIME, MAX_TIME = -(2**63), 2**63 - 1
"""What a column of SQLite can hold."""

PAGE = 1000
"""Rows in one read. Each page is a read of its own: an iterator that somebody pauses (`points | less`) would
otherwise keep SQLite from emptying the write-ahead log, which then grows for as long as the pause lasts."""


class Opened(ABC):
    """Something to be closed; also a context manager, which closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


class OpenedReader(Opened):
    """Reads, on a read-only connection of its own; used by one thread at a time.

    Raises:
        StorageError: there is no database, it cannot be read, or its schema is not this program's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect_reader(path)

    def close(self) -> None:
        """Close the connection; iterators that are not at their end fail then."""
        self._connection.close()

    def _read(self, query: str, parameters: Mapping[str, Any]) -> list[Any]:
        with translated(self._path):
            try:
                return self._connection.execute(query, parameters).fetchall()
            except UnicodeEncodeError:
                # A key with a lone surrogate, as a shell hands over bytes that are no UTF-8, names nothing stored.
                return []

    def _read_pages(self, query: str, parameters: Mapping[str, Any], first: int, last: int) -> Iterator[Any]:
        """The rows of a query from `:start` to `:end`, `:page` at a time; their first column is what it orders by."""
        while first <= last:
            rows = self._read(query, {**parameters, "start": first, "end": last, "page": PAGE})
            yield from rows
            if len(rows) < PAGE:
                return
            first = rows[-1][0] + 1


def within(start: int | None, end: int | None) -> tuple[int, int]:
    """The first and the last time that are asked for, both inclusive; None is no bound."""
    return MIN_TIME if start is None else max(start, MIN_TIME), MAX_TIME if end is None else min(end, MAX_TIME)
