"""The engine's connection: one commit, and whether it reached the file that people see."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TypeAlias

from enos_ingest.errors import StorageError
from enos_ingest.storage import inbox, quarantine
from enos_ingest.storage.group import Group, Placed, SeriesKey, place, store
from enos_ingest.storage.inbox import Appended
from enos_ingest.storage.lock import Lock
from enos_ingest.storage.sqlite import connect_writer
from enos_ingest.storage.transactions import transaction

__all__ = ["Database"]

BUSY_MS = 250
"""How long a commit waits for another program's lock before the writer says that it is locked: a changed registry
takes less, and an operator should read of a forgotten `sqlite3` shell within a second."""

KNOWN_SERIES = 1_000_000
"""Series whose id is kept in memory, some 300 MB at the most; beyond, they are looked up again."""

CHECK_SECONDS = 1.0
"""How often the writer looks whether its files are still in place. Whoever deletes them loses all that was ever
stored, so a second more does not matter."""

_Identity: TypeAlias = tuple[tuple[int, int], ...]


class Database:
    """A database open for writing; used by one thread at a time.

    Raises:
        StorageError: as `connect_writer`.
    """

    def __init__(self, path: Path, bounds: quarantine.Bounds) -> None:
        self.connection = connect_writer(path, busy_ms=BUSY_MS)
        self.path = path.resolve()
        try:
            self._lock = Lock(self.path)
        except BaseException:
            self.connection.close()
            raise
        self.bounds = bounds
        self._known: dict[tuple[str, str], dict[str, int]] = {}
        self._count = 0
        try:
            with transaction(self.connection):
                self.usage = quarantine.trim(self.connection, bounds)
            self._identity = self._files()
            self._next_check = monotonic() + CHECK_SECONDS
        except BaseException:
            self.connection.close()
            self._lock.close()
            raise

    def commit(self, group: Group) -> Appended:
        """Write a group in one transaction; when this returns it is on disk, but for records with a fault.

        Returns:
            what was appended to the inbox.

        Raises:
            sqlite3.Error, StorageError, MemoryError: the database cannot commit now; the same may be tried again.
        """
        self._check_files()
        placed = place(group, self._known)
        group.drop_faulty()
        try:
            if not group.special and not placed.unknown:
                # A statement is a transaction by itself.
                return inbox.append(self.connection, placed.rows)
            found, appended, usage = self._write(group, placed)
        except Exception as error:
            if _is_environment(error):
                raise
            # One record is at fault, a time of its rejection beyond 64 bits for instance: find it, keep the others.
            found, appended, usage = self._write_one_by_one(group)
        self._learn(found)
        self.usage = usage
        return appended

    def close(self) -> None:
        """Fold the log into the file, as far as readers let us, and close."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self.connection.close()
            self._lock.close()

    def _write(self, group: Group, placed: Placed) -> tuple[dict[SeriesKey, int], Appended, quarantine.Usage]:
        with transaction(self.connection):
            found, appended = store(self.connection, group, placed, self.bounds)
            return found, appended, self._trim(group)

    def _write_one_by_one(self, group: Group) -> tuple[dict[SeriesKey, int], Appended, quarantine.Usage]:
        with transaction(self.connection):
            self.connection.execute("SAVEPOINT trial")
            for at in range(len(group)):
                # Each on top of those before it: a change of the registry may contradict another one.
                self.connection.execute("SAVEPOINT record")
                try:
                    alone = group.alone(at)
                    store(self.connection, alone, place(alone, self._known), self.bounds)
                except Exception as error:
                    if _is_environment(error):
                        raise
                    group.fail(at, error)
                    self.connection.execute("ROLLBACK TO record")
                self.connection.execute("RELEASE record")
            # Only tried: the good ones are written together below, as any commit is.
            self.connection.execute("ROLLBACK TO trial")
            self.connection.execute("RELEASE trial")
            group.drop_faulty()
            found, appended = store(self.connection, group, place(group, self._known), self.bounds)
            return found, appended, self._trim(group)

    def _learn(self, found: Mapping[SeriesKey, int]) -> None:
        self._count += len(found)
        if self._count > KNOWN_SERIES:
            self._known.clear()
            self._count = len(found)
        for (product_key, device_key, measurepoint), series in found.items():
            self._known.setdefault((product_key, device_key), {})[measurepoint] = series

    def _trim(self, group: Group) -> quarantine.Usage:
        if any(each.rejection is not None for each in group.special.values()):
            return quarantine.trim(self.connection, self.bounds)
        return self.usage

    def _check_files(self) -> None:
        # A file that was deleted or replaced stays writable for us, and what is committed to it is lost when we close
        # it: such a commit must not be answered with 200. Opening the new file is no cure: the -wal file beside it
        # may hold pages of the old one, which SQLite would write into it. Without the lock another hub can come in.
        now = monotonic()
        if now < self._next_check:
            return
        if self._files() != self._identity:
            msg = (
                f"database {self.path} or its -wal or -lock file was moved, deleted or replaced while in use: "
                "put it back, or restart the service"
            )
            raise StorageError(msg)
        self._next_check = now + CHECK_SECONDS

    def _files(self) -> _Identity:
        try:
            found = [Path(f"{self.path}{suffix}").stat() for suffix in ("", "-wal", "-lock")]
        except OSError:
            return ()
        return tuple((status.st_dev, status.st_ino) for status in found)


def _is_environment(error: Exception) -> bool:
    """Whether the database, not the record, is why a write failed."""
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)):
        return False
    return isinstance(error, (sqlite3.DatabaseError, StorageError, MemoryError))
