"""What `Commands` needs where a test has no hub: a dispatcher that does as it is told, stored commands in a dict."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from enos_ingest.commands.command import Command, State
from enos_ingest.commands.commands import Commands, Encoder
from enos_ingest.commands.refusals import CommandRefusal
from enos_ingest.commands.search import Search
from enos_ingest.devices.directory import Device, Directory, Product
from enos_ingest.errors import StorageError
from enos_ingest.models.document import parse_thing_model
from enos_ingest.models.validator import CompiledModel
from enos_ingest.protocol.identity import DeviceId
from tests.models.documents import point, thing_model

__all__ = ["DEVICE", "NOW", "FakeDispatcher", "FakeReader", "make_commands"]

DEVICE = DeviceId("P", "d")
NOW = 1_795_221_524_565

_MODEL = CompiledModel(
    parse_thing_model(
        {
            **thing_model("m", level=point("INT")),
            "services": {"run": {"inputData": [], "outputData": [point("INT", identifier="n")]}},
        },
        "m.json",
    )
)


class FakeDispatcher:
    """Commands succeed, unless `ending` says how they end or `refusal` why they are not taken."""

    def __init__(self) -> None:
        self.run_commands: list[Command] = []
        self.cached: list[Command] = []
        self.canceled: list[tuple[DeviceId, str | None]] = []
        self.ending: dict[str, Any] = {"state": State.SUCCESS}
        self.refusal: CommandRefusal | None = None

    async def run(self, command: Command) -> Command:
        self.run_commands.append(command)
        if self.refusal is not None:
            raise self.refusal
        return replace(command, sent=NOW, finished=NOW, **self.ending)

    async def cache(self, command: Command) -> None:
        self.cached.append(command)

    async def cancel(self, device: DeviceId, command: str | None = None) -> list[Command]:
        self.canceled.append((device, command))
        return []


class FakeReader:
    """Commands by id; `error` is what reading them raises."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}
        self.searches: list[Search] = []
        self.error: StorageError | None = None

    def get(self, command_id: str) -> Command | None:
        if self.error is not None:
            raise self.error
        return self.commands.get(command_id)

    def search(self, query: Search) -> tuple[list[Command], int]:
        self.searches.append(query)
        return list(self.commands.values()), len(self.commands)


def make_commands(
    dispatcher: FakeDispatcher | None = None,
    reader: FakeReader | None = None,
    *,
    codecs: Encoder | None = None,
    product: Product | None = None,
    activated: int | None = NOW,
    has_logged_in: bool = False,
    ids: itertools.count[int] | None = None,
) -> Commands:
    """The calls on one device, `DEVICE`, of the organisation `org`."""
    directory = Directory(
        [product or Product("P", model="m")],
        [Device(DEVICE, asset_id="a", activated=activated), Device(DeviceId("P", "other"), asset_id="b")],
    )
    numbers = ids or itertools.count(118_249_003_718_017_024)
    return Commands(
        lambda: directory,
        {"m": _MODEL}.get,
        dispatcher or FakeDispatcher(),
        codecs,
        reader or FakeReader(),
        has_logged_in=lambda _: has_logged_in,
        next_id=lambda: str(next(numbers)),
        now=lambda: NOW,
        org_id="org",
    )
