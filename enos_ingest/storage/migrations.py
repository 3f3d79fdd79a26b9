"""Brings a database from version to version of the schema; its version stands in `PRAGMA user_version`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from enos_ingest.errors import NewerDatabaseError, StorageError
from enos_ingest.storage.transactions import transaction
from enos_ingest.storage.versions import VERSIONS, Version

__all__ = ["APPLICATION_ID", "migrate", "require_current", "schema_version"]

APPLICATION_ID = 0x454E4F53
"""`ENOS` in ASCII, in the file's header: tells our databases from other people's."""


def migrate(connection: sqlite3.Connection, path: Path, versions: Sequence[Version] = VERSIONS) -> None:
    """Bring the database to the newest version, each step in a transaction of its own.

    Raises:
        NewerDatabaseError, StorageError: as `schema_version`; nothing is changed then.
        sqlite3.Error: a step failed; the database stays at the version before it.
    """
    while True:
        with transaction(connection):
            version = schema_version(connection, path, versions)
            if version == len(versions):
                return
            for statement in versions[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")


def require_current(connection: sqlite3.Connection, path: Path, versions: Sequence[Version] = VERSIONS) -> None:
    """Raise `StorageError` unless the database has exactly the newest version; changes nothing."""
    version = schema_version(connection, path, versions)
    if version == 0:
        msg = f"database {path} is empty: start the service once, or run `registry apply`"
        raise StorageError(msg)
    if version < len(versions):
        msg = (
            f"database {path} has schema version {version}, this program needs {len(versions)}: "
            "start the service once, it brings the database up to date"
        )
        raise StorageError(msg)


def schema_version(connection: sqlite3.Connection, path: Path, versions: Sequence[Version] = VERSIONS) -> int:
    """The version of the database, 0 for an empty one; changes nothing.

    Raises:
        NewerDatabaseError: it was written by a newer version of this program.
        StorageError: it belongs to another program.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if application_id == APPLICATION_ID:
        if version > len(versions):
            msg = (
                f"database {path} has schema version {version}, this program knows up to {len(versions)}: "
                "use the newer version of enos_ingest that wrote it, or another database"
            )
            raise NewerDatabaseError(msg)
        return version
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application_id != 0 or version != 0 or not empty:
        msg = f"database {path} belongs to another program: name another file"
        raise StorageError(msg)
    return 0
