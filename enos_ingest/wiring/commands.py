"""All that sends commands to devices and keeps them, with what an earlier run has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from enos_ingest.clock import epoch_ms
from enos_ingest.codecs.codecs import Codecs
from enos_ingest.commands.commands import Commands, Models, make_output_check
from enos_ingest.commands.dispatcher import Dispatcher
from enos_ingest.commands.ids import CommandIds
from enos_ingest.commands.links import CommandCounters, Links
from enos_ingest.devices.directory import Directory
from enos_ingest.errors import CodecError, StorageError
from enos_ingest.logs import get_logger
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.settings import Settings
from enos_ingest.storage.commands import Kept, SqliteCommands
from enos_ingest.storage.store import Committer

__all__ = ["CommandSide"]

log = get_logger(__name__)


class CommandSide:
    """The way back: `calls` for business software, `dispatcher` for what is on its way to devices.

    Args:
        links: the ways to devices.
        models: gives the thing model in force under a modelId.
        has_logged_in: whether a device has logged in since the start.
    """

    def __init__(
        self,
        settings: Settings,
        database: Path,
        writer: Committer,
        links: Links,
        counters: CommandCounters,
        directory: Callable[[], Directory],
        models: Models,
        codecs: Codecs,
        *,
        has_logged_in: Callable[[DeviceId], bool],
        parts: AsyncExitStack,
    ) -> None:
        self._settings = settings.commands
        self._directory = directory
        self._codecs = codecs
        self._stored = stored = SqliteCommands(database)
        parts.callback(stored.close)
        self.dispatcher = dispatcher = Dispatcher(
            writer,
            links,
            counters,
            directory,
            cached_per_device=settings.commands.cached_per_device,
            waiting=settings.commands.waiting,
            answer_bytes=settings.limits.message_bytes,
            decode=self._decode,
            output_fault=make_output_check(directory, models),
        )
        parts.push_async_callback(dispatcher.close)
        dispatcher.restore(stored.unfinished())
        self.ids = CommandIds(settings.commands.node, epoch_ms, stored.last_id())
        self.calls = Commands(
            directory,
            models,
            dispatcher,
            codecs,
            stored,
            has_logged_in=has_logged_in,
            next_id=self.ids.next,
            now=epoch_ms,
            org_id=settings.registry.org_id,
        )
        parts.callback(self.calls.close)

    @property
    def kept(self) -> Kept | None:
        """The finished commands that the last purge has left, None before the first."""
        return self._stored.kept

    async def purge(self) -> None:
        """Delete finished commands that are too old or too many."""
        settings = self._settings
        before = epoch_ms() - settings.kept_days * 86_400_000
        try:
            count = await asyncio.to_thread(self._stored.purge, before, settings.kept, settings.kept_bytes)
        except StorageError as error:
            log.error("old commands cannot be deleted now", error=str(error))
        else:
            if count:
                log.info("old commands deleted", count=count)

    async def _decode(self, device: DeviceId, data: bytes) -> dict[str, Any]:
        """An answer in the format of its device's product, which the registry may have lost since it was asked."""
        product = self._directory().products.get(device.product_key)
        if product is None:
            raise CodecError(f"product {device.product_key} is not declared any more")
        return await self._codecs.decode(product, data)
