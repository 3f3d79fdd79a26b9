"""Events of devices, kept for a time and up to a number."""

from __future__ import annotations

import asyncio
from pathlib import Path

from enos_ingest.clock import epoch_ms
from enos_ingest.errors import StorageError
from enos_ingest.limits import LimitsSettings
from enos_ingest.logs import get_logger
from enos_ingest.storage.facts import purge_events

__all__ = ["KeptEvents"]

log = get_logger(__name__)


class KeptEvents:
    """Deletes those that are too old or too many.

    Attributes:
        deleted: how many have gone since the start.
    """

    def __init__(self, database: Path, limits: LimitsSettings) -> None:
        self.deleted = 0
        self._database = database
        self._limits = limits
        self._stopped = False

    async def purge(self) -> None:
        """Delete until none is left that should go, or the service stops."""
        before, is_done = epoch_ms() - self._limits.event_days * 86_400_000, False
        while not is_done and not self._stopped:
            try:
                purged = await asyncio.to_thread(purge_events, self._database, before, self._limits.event_rows)
            except StorageError as error:
                log.error("old events cannot be deleted now", error=str(error))
                return
            is_done = purged.is_done
            self.deleted += purged.deleted
            if purged.deleted:
                log.info("old events deleted", count=purged.deleted, kept=purged.kept)

    def stop(self) -> None:
        """Go on no further than the slice that is being deleted; the next start does."""
        self._stopped = True
