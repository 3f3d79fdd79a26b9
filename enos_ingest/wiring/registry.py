"""The registry in the database: a file that is applied at the start, and what others change meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path

from enos_ingest.devices.declaration import read_declaration
from enos_ingest.devices.directory import Directory
from enos_ingest.errors import StorageError
from enos_ingest.logs import get_logger
from enos_ingest.registry import LiveRegistry
from enos_ingest.storage.registry import open_registry
from enos_ingest.storage.store import StoredRegistry

__all__ = ["WatchedRegistry"]

log = get_logger(__name__)


class WatchedRegistry:
    """Keeps the registry in force in step with the database's.

    Attributes:
        on_change: told of the registry once another was found; called in the event loop, so that nobody is half way
            through being let in, and whoever is in can be looked at at once.
    """

    def __init__(self, database: Path, live: LiveRegistry, parts: AsyncExitStack) -> None:
        self.on_change: Callable[[Directory], None] = _tell_nobody
        self._live = live
        self._registry = open_registry(database)
        parts.callback(self._registry.close)

    async def load(self, file: Path | None, models: Collection[str]) -> None:
        """Apply a registry file where there is one, then read the registry.

        Args:
            models: the modelIds that products may name.
        """
        if file is not None:
            await asyncio.to_thread(self._apply, file, models)
        await self._live.refresh(self._read)

    async def watch(self) -> None:
        """Look whether the registry has changed, and take it over."""
        try:
            found = await self._live.refresh(self._read)
        except StorageError as error:
            log.error("the registry cannot be read, the last one stays in force", error=str(error))
            return
        if found:
            directory = self._live.directory
            log.info("registry reloaded", products=len(directory.products), devices=len(directory.devices))
            self.on_change(directory)

    def _apply(self, file: Path, models: Collection[str]) -> None:
        for change in self._registry.declare(read_declaration(file), models):
            if change.is_made:
                log.info("registry changed", action=change.action, kind=change.kind, name=change.name)
            else:
                log.info(str(change))

    async def _read(self) -> StoredRegistry | None:
        """The registry in the database, where it is another than ours."""
        return await asyncio.to_thread(self._changed)

    def _changed(self) -> StoredRegistry | None:
        is_ours = self._registry.revision() == self._live.revision and not self._live.is_stale
        return None if is_ours else self._registry.stored()


def _tell_nobody(_directory: Directory) -> None: ...
