"""Comings and goings of devices, kept."""

from __future__ import annotations

import asyncio
from pathlib import Path

from enos_ingest.clock import epoch_ms
from enos_ingest.devices.changes import PresenceChanged
from enos_ingest.errors import StorageError
from enos_ingest.logs import get_logger
from enos_ingest.outcome import Record
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.storage.store import Committer

__all__ = ["PresenceHistory"]

log = get_logger(__name__)


class PresenceHistory:
    """Stores that devices come and go; nobody waits for it."""

    def __init__(self, writer: Committer) -> None:
        self._writer = writer

    def keep(self, device: DeviceId, online: bool, why: str, gateway: DeviceId | None) -> None:
        """Store that a device came or went, as `Presence.on_change` tells it."""
        now = epoch_ms()
        change = PresenceChanged(device, online, now, why, gateway)
        self._writer.commit(Record([], time=now, changes=(change,)), _log_unstored)

    async def end(self, database: Path) -> None:
        """Store that those are offline whom an earlier run left online, which did not come to its end."""
        left = await asyncio.to_thread(_left_online, database)
        for change in left:
            self.keep(change.device, False, "crashed", change.gateway)
        if left:
            log.warning("devices were online when an earlier run was cut off", count=len(left))


def _left_online(database: Path) -> list[PresenceChanged]:
    """The devices that are online by what is stored."""
    with SqliteFacts(database) as facts:
        return [change for change in facts.last_presence().values() if change.online]


def _log_unstored(error: StorageError | None) -> None:
    """The store's word on a record that nobody waits for."""
    if error is not None:
        log.error("what a device did cannot be stored", error=str(error))
