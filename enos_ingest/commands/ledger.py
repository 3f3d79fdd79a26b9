"""Each step of a command, handed to the one writer before it has an effect."""

from __future__ import annotations

import functools
from collections.abc import Callable

from enos_ingest.commands.entry import Entry
from enos_ingest.errors import StorageError, StoreClosedError
from enos_ingest.logs import FewLines, get_logger
from enos_ingest.outcome import Record
from enos_ingest.storage.store import Committer

__all__ = ["Ledger"]

log = get_logger(__name__)

_Then = Callable[[Entry, StorageError | None], None]


class Ledger:
    """Keeps the order of the steps, as the writer does.

    Attributes:
        uncommitted: how many steps wait for the disk.
    """

    def __init__(self, writer: Committer) -> None:
        self.uncommitted = 0
        self._writer = writer
        self._lines = FewLines()

    def store(self, entry: Entry, then: _Then) -> None:
        """Hand a command in as it is now, and go on once it is on disk."""
        self.uncommitted += 1
        self._writer.commit(Record([], command=entry.command), functools.partial(self._stored, entry, then))

    def when_stored(self, done: Callable[[StorageError | None], None]) -> None:
        """Call `done` once all that was handed in before is on disk, or never will be."""
        self._writer.commit(Record([]), done)

    def say_unstored(self, entry: Entry, error: StorageError) -> None:
        """Log that a step is not stored, as long as there are not too many."""
        unsaid = self._lines.next()
        if unsaid is None:
            return
        more = {"more": unsaid} if unsaid else {}
        if isinstance(error, StoreClosedError):
            log.warning("stopped before a command was stored", command=entry.command.id, **more)
        else:
            log.error("a command cannot be stored", command=entry.command.id, error=str(error), **more)

    def _stored(self, entry: Entry, then: _Then, error: StorageError | None) -> None:
        self.uncommitted -= 1
        then(entry, error)
