"""The registry in force: as it was read from the database, with the changes on top that are on their way there."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable

from enos_ingest.devices.changes import Change, RegistryChange
from enos_ingest.devices.directory import Directory
from enos_ingest.errors import StorageError
from enos_ingest.outcome import Record
from enos_ingest.storage.store import Committer, Done, StoredRegistry

__all__ = ["LiveRegistry"]


class LiveRegistry:
    """What devices change holds at once; what others change in the database holds once it is read.

    A registry that is read is older than the changes that were not committed when it was read: those are made again on
    top of it. Which they are is told by serials: each record that changes the registry is numbered when it is handed
    in, and the database keeps the number of the last one in it.

    Args:
        writer: takes the records; nothing else may take ones that change the registry.

    Attributes:
        directory: the registry as it is now.
        revision: the revision of the one that was read last, -1 before.
        is_stale: whether a change that holds here has failed in the database, so that it is to be read anew.
    """

    def __init__(self, writer: Committer) -> None:
        self.directory = Directory()
        self.revision = -1
        self.is_stale = False
        self._writer = writer
        self._serial = 0
        self._committed = 0
        self._reading = False
        # By serial: what is not committed yet, or was while the database was being read.
        self._pending: dict[int, tuple[Change, ...]] = {}

    @property
    def pending(self) -> int:
        """How many records with changes that hold here may not be in what is read from the database."""
        return len(self._pending)

    def change(self, changes: Iterable[Change]) -> None:
        """Make changes hold for whatever is judged next; their record is to be handed in before that."""
        self.directory = self.directory.changed(changes)

    def commit(self, record: Record, done: Done) -> None:
        """Hand a record in; the changes of the registry in it hold now, if they did not before."""
        if record.changes and any(isinstance(change, RegistryChange) for change in record.changes):
            self.change(record.changes)
            self._serial += 1
            record.serial = self._serial
            self._pending[record.serial] = record.changes
            done = functools.partial(self._settle, record.serial, done)
        self._writer.commit(record, done)

    async def refresh(self, read: Callable[[], Awaitable[StoredRegistry | None]]) -> bool:
        """Have the database read, and take over what was found; None for nothing new. Returns whether there was."""
        self._reading = True
        try:
            found = await read()
            if found is not None:
                self._take_over(found)
        finally:
            self._reading = False
            for serial in [serial for serial in self._pending if serial <= self._committed]:
                del self._pending[serial]
        return found is not None

    def _take_over(self, found: StoredRegistry) -> None:
        directory = found.directory
        for number, changes in self._pending.items():
            if number > found.serial:
                directory = directory.changed(changes)
        self.directory = directory
        self.revision = found.revision
        # After a start the database has numbers of an earlier run.
        self._serial = max(self._serial, found.serial)
        self.is_stale = False

    def _settle(self, serial: int, done: Done, error: StorageError | None) -> None:
        if error is not None:
            del self._pending[serial]
            self.is_stale = True
        else:
            self._committed = serial
            if not self._reading:
                del self._pending[serial]
        done(error)
