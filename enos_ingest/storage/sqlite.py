"""The SQLite file: its URL, its permissions, connections to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from enos_ingest.errors import ConfigError, StorageError
from enos_ingest.storage.faults import translated
from enos_ingest.storage.migrations import migrate, require_current, schema_version
from enos_ingest.storage.versions import VERSIONS, Version

__all__ = ["CHECKPOINT_PAGES", "connect_beside", "connect_reader", "connect_writer", "parse_url"]

OPEN_BUSY_MS = 5000
"""How long opening and changing the registry wait for a lock: longer than any commit of a running service takes."""

CACHE_KIB = 64 * 1024
"""Pages kept in memory by a writer. A point of every series lands on a page of its own: with SQLite's default of
2 MiB the pages of 500 series fill the cache, and each insert after that reads from disk."""

CHECKPOINT_PAGES = 4000
"""Pages (16 MiB) in the write-ahead log before they go to the database file, whoever waits. A longer log writes the
pages that change often less often; much longer, and the commit that pays for it takes too long."""

LOG_BYTES = 64 * 2**20
"""To what the file of the write-ahead log shrinks when it has been longer."""

MINIMUM_SQLITE = (3, 37, 0)
"""The first with STRICT tables; no distribution carries Python 3.11 with an older one."""

_SUPPORTED = "use sqlite:///relative/path.db (from the folder of the configuration file) or sqlite:////absolute/path.db"


def parse_url(url: str, base: Path) -> Path:
    """The file that a storage URL names; three slashes start at `base`, four at the root.

    Raises:
        ConfigError: the URL names no SQLite file.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme != "sqlite":
        # Only the scheme is shown: other databases' URLs carry a password.
        what = f"storage url with scheme {scheme!r}" if separator else "storage url without scheme"
        msg = f"{what} is not supported: {_SUPPORTED}"
        raise ConfigError(msg)
    name = url.removeprefix("sqlite:///")
    if name == url or name in {"", "/", ":memory:"} or name.endswith("/") or "?" in name or "\0" in name:
        msg = f"storage url {url!r} names no file: {_SUPPORTED}"
        raise ConfigError(msg)
    return base / name


def connect_writer(
    path: Path,
    *,
    busy_ms: int = OPEN_BUSY_MS,
    versions: Sequence[Version] = VERSIONS,
) -> sqlite3.Connection:
    """A connection that writes, in autocommit mode, to a database of the newest schema version.

    A missing file is made with mode 0600, missing folders with 0700.

    Args:
        busy_ms: how long later statements wait for a lock.

    Raises:
        NewerDatabaseError: a newer version wrote it; the file is left as it is.
        StorageError: the file cannot be opened or written, or belongs to another program.
    """
    path = _resolve(path)
    _make_file(path)
    with translated(path):
        if _size(path):
            _look_before_touching(path, versions)
        connection = _connect(path, "rw")
        try:
            _configure(connection, path)
            migrate(connection, path, versions)
            # A file that this user may only read is opened all the same, and BEGIN IMMEDIATE then only reads:
            # it takes a statement that wants to write to find out.
            connection.execute("DELETE FROM meta WHERE name IS NULL")
            connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
        except BaseException:
            connection.close()
            raise
    return connection


def connect_reader(path: Path, *, versions: Sequence[Version] = VERSIONS) -> sqlite3.Connection:
    """A connection that only reads.

    Raises:
        NewerDatabaseError: a newer version wrote it.
        StorageError: there is no database, or it cannot be read, or belongs to another program.
    """
    path = _resolve(path)
    if _size(path) is None:
        msg = f"no database at {path}: start the service once, or run `registry apply`"
        raise StorageError(msg)
    with translated(path):
        connection = _connect(path, "ro")
        try:
            require_current(connection, path, versions)
            # What it sorts, the inbox, is bounded: it needs no folder for temporary files.
            connection.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            connection.close()
            raise
    return connection


def connect_beside(path: Path) -> sqlite3.Connection:
    """Another connection, to read and sort, to a database that the writer has open, here or in its process.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = _connect(path, "rw")
    # With SQLite's default of 2 MiB of cache it would sort in files.
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        wanted = ".".join(map(str, MINIMUM_SQLITE))
        msg = f"this Python comes with SQLite {sqlite3.sqlite_version}, at least {wanted} is needed: use a newer Python"
        raise StorageError(msg)
    # The caller hands the connection to its thread; only one thread ever uses it at a time.
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=OPEN_BUSY_MS / 1000,
    )


def _look_before_touching(path: Path, versions: Sequence[Version]) -> None:
    # Read-only, because a connection that may write would switch a foreign file to WAL, and at its end fold a
    # newer version's log into the file.
    connection = _connect(path, "ro")
    try:
        schema_version(connection, path, versions)
    finally:
        connection.close()


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        msg = f"database {path} is on a file system without shared memory (mode {mode!r}): use a local disk"
        raise StorageError(msg)
    # FULL syncs the log at each commit: with NORMAL a power cut loses commits that were answered with 200.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # Some systems' SQLite overwrites what is deleted, which would write each page of the inbox twice.
    connection.execute("PRAGMA secure_delete = FAST")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    # A reader that stays for long makes the log grow; afterwards the file shrinks to this again.
    connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        msg = f"database {path} cannot be opened: {error}"
        raise StorageError(msg) from error


def _size(path: Path) -> int | None:
    """The file's length in bytes, None where there is none; refuses what is no file."""
    try:
        if path.exists() and not path.is_file():
            what = "is a folder" if path.is_dir() else "is no regular file"
            msg = f"database {path} {what}: name a file"
            raise StorageError(msg)
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        msg = f"database {path} cannot be opened: {error.strerror or error}"
        raise StorageError(msg) from error


def _make_file(path: Path) -> None:
    try:
        _make_folder(path.parent)
        # SQLite would make the file as the umask says; its log and shared memory take over the file's mode.
        # An existing file is not opened here: closing it would drop this process's locks on it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not path.parent.is_dir():
            msg = f"database {path} cannot be made: {path.parent} is no folder"
            raise StorageError(msg) from None
    except OSError as error:
        msg = f"database {path} cannot be made: {error.strerror or error}: name a folder that this user may write"
        raise StorageError(msg) from error


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
