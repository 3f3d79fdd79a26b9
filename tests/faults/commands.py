"""Devices that count the commands they get, across connections and hubs, and business software that sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.caller import Caller
from benchmarks.command_device import CommandDevice, Heard
from benchmarks.packets import device_connect
from enos_ingest.commands.command import Command
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.commands import SqliteCommands
from tests.process import PATIENCE, HubProcess

__all__ = ["KEY", "Plant", "caching", "database", "plant_registry", "stored"]

KEY = "the-key-of-an-application"
_PRODUCT, _SECRET = "EbxGvUrE", "a-device-secret"
_PAUSE = 0.02


def plant_registry(devices: int) -> str:
    """A registry file of so many devices, and an application that may send them values."""
    rows = "".join(
        f'[[devices]]\nproduct = "{_PRODUCT}"\nkey = "inv-{number}"\nsecret = "{_SECRET}"\n'
        for number in range(devices)
    )
    application = f'[[applications]]\nname = "scada"\napi_key = "{KEY}"\nscopes = ["control", "read"]\n'
    return f'[[products]]\nkey = "{_PRODUCT}"\nmodel = "inverter"\n{rows}{application}'


def database(config: Path) -> Path:
    """Where the hub of a configuration keeps everything."""
    return config.parent / "data" / "hub.db"


def stored(config: Path, commands: Iterable[str]) -> list[Command]:
    """These commands as they are on disk, where they must be."""
    with SqliteCommands(database(config)) as reader:
        found = [reader.get(command) for command in commands]
    assert None not in found
    return [command for command in found if command is not None]


class Plant:
    """All devices of `plant_registry`; a context manager that ends their connections.

    Attributes:
        heard: the ids of the commands that each device got, in the order in which they came, whatever the hub.
        silent: devices that answer nothing.
    """

    def __init__(self, devices: int) -> None:
        self.names = [f"{_PRODUCT}/inv-{number}" for number in range(devices)]
        self.heard: dict[str, list[str]] = {name: [] for name in self.names}
        self.silent: Collection[str] = ()
        self._news = asyncio.Event()
        self._last: dict[str, tuple[CommandDevice, Heard]] = {}
        self._devices = [
            CommandDevice(name, device_connect(DeviceId(*name.split("/")), _SECRET), self._hear) for name in self.names
        ]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.leave()

    @property
    def count(self) -> int:
        """How many commands have come in all."""
        return sum(map(len, self.heard.values()))

    async def join(self, hub: HubProcess, names: Collection[str] | None = None) -> None:
        """Connect devices, by default all."""
        host, port = hub.endpoint
        joining = (device for device in self._devices if names is None or device.name in names)
        await asyncio.gather(*(device.join(host, port) for device in joining))

    async def hear(self, count: int) -> None:
        """Wait until so many commands have come in all."""
        async with asyncio.timeout(2 * PATIENCE):
            while self.count < count:
                self._news.clear()
                await self._news.wait()

    def answer(self, command: str) -> None:
        """Answer a command over the connection that its device has now."""
        device, heard = self._last[command]
        device.answer(heard)

    def acknowledged(self, name: str) -> int:
        """How many answers of a device have had their PUBACK."""
        return self._devices[self.names.index(name)].acknowledged

    async def leave(self) -> None:
        """End all connections, those that the hub has not ended."""
        for device in self._devices:
            device.close()
        await asyncio.gather(*(device.gone.wait() for device in self._devices))

    async def until_waiting(self, hub: HubProcess, count: int) -> None:
        """Wait until so many callers wait for instant commands."""
        line = f"\nenos_ingest_commands_waiting {float(count)}\n"
        async with asyncio.timeout(PATIENCE):
            while line not in (await asyncio.to_thread(hub.get, "/metrics"))[1]:
                await asyncio.sleep(_PAUSE)  # the hub tells nobody

    async def finish(self, config: Path) -> None:
        """Wait until no command is unfinished, on disk; the devices answer meanwhile."""
        with SqliteCommands(database(config)) as reader:
            async with asyncio.timeout(4 * PATIENCE):
                while await asyncio.to_thread(reader.unfinished):
                    await asyncio.sleep(_PAUSE)  # the database tells nobody

    def _hear(self, device: CommandDevice, heard: Heard) -> None:
        self.heard[device.name].append(heard.id)
        self._last[heard.id] = device, heard
        if device.name not in self.silent:
            device.answer(heard)
        self._news.set()


async def caching(hub: HubProcess, names: Iterable[str], each: int) -> dict[str, list[str]]:
    """Cache commands for these devices, one after the other for each; returns their ids in this order."""

    async def cache(name: str) -> list[str]:
        with Caller(hub.address, KEY) as caller:
            answers = [await caller.set_measurepoint(name, "temp", number, pendingTtl=3600) for number in range(each)]
        assert {answer["code"] for answer in answers} == {0}, answers
        return [answer["data"]["commandId"] for answer in answers]

    asked = list(names)
    return dict(zip(asked, await asyncio.gather(*map(cache, asked)), strict=True))
