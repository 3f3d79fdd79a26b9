"""What SQLite's errors mean for people: one sentence that names the cause and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from enos_ingest.errors import StorageError

__all__ = ["explain", "translated"]


_LOCKED = "database {path} is locked by another program: end that program, or wait until it is done"
_CLOSED_OFF = "database {path} cannot be opened: let this user read and write the file and its folder"

_SENTENCES = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: "database or disk is full: free space on the disk that holds {path}",
    sqlite3.SQLITE_READONLY: "database {path} is read-only: let this user write the file and its folder",
    sqlite3.SQLITE_IOERR: "disk I/O error ({name}) on database {path}: check the disk, its free space and its quotas",
    sqlite3.SQLITE_CORRUPT: "database {path} is damaged: stop the service and restore the file from a backup",
    sqlite3.SQLITE_NOTADB: "{path} is not a SQLite database: name another file, or move this one away",
    sqlite3.SQLITE_CANTOPEN: _CLOSED_OFF,
    sqlite3.SQLITE_PERM: _CLOSED_OFF,
    sqlite3.SQLITE_AUTH: _CLOSED_OFF,
}


def explain(error: BaseException, path: Path) -> str:
    """The sentence for an error that came from the database at `path`."""
    if isinstance(error, StorageError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory while using database {path}: give the service more memory"
    code = getattr(error, "sqlite_errorcode", None)
    # The low byte is the primary result code, the rest details it: SQLITE_IOERR_WRITE is 10 | 3 << 8.
    sentence = _SENTENCES.get(code & 0xFF) if isinstance(code, int) else None
    if sentence is None:
        return f"database {path}: {error}"
    return sentence.format(path=path, name=getattr(error, "sqlite_errorname", "SQLITE_IOERR"))


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise `StorageError` with a sentence in place of SQLite's own errors."""
    try:
        yield
    except (sqlite3.Error, MemoryError) as error:
        raise StorageError(explain(error, path)) from error
