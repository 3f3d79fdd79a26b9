"""`enos-ingest devices`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from enos_ingest.devices.changes import DevicesRegistered, PresenceChanged
from enos_ingest.devices.directory import Device
from enos_ingest.outcome import Record
from enos_ingest.protocol.identity import DeviceId
from tests.cli.conftest import Command
from tests.storage.samples import commit, open_writer

GATEWAY, SUB, NEW = DeviceId("EbxGvUrE", "gw-1"), DeviceId("Sb7PkXyZ", "sub001"), DeviceId("Sb7PkXyZ", "new")


def seen(folder: Path, *changes: PresenceChanged) -> None:
    """Store comings and goings, and a device that a gateway has registered."""
    made = Device(NEW, "secret", "asset-new", name='{"defaultValue":"N"}', timezone="+08:00")

    async def run() -> None:
        async with open_writer(folder / "data" / "enos-ingest.db") as writer:
            await commit(writer, Record([], changes=(DevicesRegistered(GATEWAY, (made,), 1), *changes)))
            await commit(writer, Record([], activated=(NEW,), time=5))

    asyncio.run(run())


CHANGES = (
    PresenceChanged(GATEWAY, True, 1_700_000_000_000, "connected", None),
    PresenceChanged(SUB, True, 1_700_000_001_000, "login", GATEWAY),
)


def test_each_device_with_what_is_known_of_it(run: Command, folder: Path, declared: Path) -> None:
    """Whether it is online, since when and how; whose sub-device it is; where it is from."""
    assert declared
    seen(folder, *CHANGES)
    through = "online since 2023-11-14T22:13:21.000Z through EbxGvUrE/gw-1"
    assert run("devices", "ls").out.splitlines() == [
        f"{'EbxGvUrE/gw-1':<32}  online since 2023-11-14T22:13:20.000Z",
        f"{'Sb7PkXyZ/new':<32}  offline  from the wire",
        f"{'Sb7PkXyZ/sub001':<32}  {through}  disabled  of EbxGvUrE/gw-1",
    ]
    assert run("devices", "ls", "EbxGvUrE").out.startswith("EbxGvUrE/gw-1")


def test_those_that_are_online(run: Command, folder: Path, declared: Path) -> None:
    """Who came last; who left is told why."""
    assert declared
    seen(folder, *CHANGES, PresenceChanged(SUB, False, 1_700_000_002_000, "gateway\x1b", GATEWAY))
    assert [line.split()[0] for line in run("devices", "ls", "--online").out.splitlines()] == ["EbxGvUrE/gw-1"]
    line = run("devices", "ls", "Sb7PkXyZ").out.splitlines()[1]
    assert "offline since 2023-11-14T22:13:22.000Z (gateway\\x1b)" in line
    assert run("devices", "ls", "Sb7PkXyZ", "--online") == (0, "", "no device is online\n")


def test_as_json(run: Command, folder: Path, declared: Path) -> None:
    """One object a line, without a secret."""
    assert declared
    seen(folder, *CHANGES)
    lines = [json.loads(line) for line in run("devices", "ls", "--json").out.splitlines()]
    assert lines[1] == {
        "productKey": "Sb7PkXyZ",
        "deviceKey": "new",
        "assetId": "asset-new",
        "deviceName": {"defaultValue": "N"},
        "timezone": "+08:00",
        "enabled": True,
        "activated": 5,
        "origin": "wire",
        "gateways": [],
        "online": False,
        "since": None,
        "why": None,
        "through": None,
    }
    last = {name: lines[2][name] for name in ("enabled", "gateways", "online", "since", "why", "through", "origin")}
    assert last == {
        "enabled": False,
        "gateways": ["EbxGvUrE/gw-1"],
        "online": True,
        "since": 1_700_000_001_000,
        "why": "login",
        "through": "EbxGvUrE/gw-1",
        "origin": "file",
    }


def test_what_is_not_there(run: Command, declared: Path) -> None:
    """A product that is not declared is a fault; one without devices is none, nor are devices that never came."""
    declared.write_text('[[products]]\nkey = "Empty"\n')
    assert run("registry", "apply", declared).code == 0
    assert run("devices", "ls", "nope") == (1, "", "enos-ingest: product nope is not declared\n")
    assert run("devices", "ls", "Empty") == (0, "", "no device is declared\n")
    assert run("devices", "ls").out.splitlines()[0] == f"{'EbxGvUrE/gw-1':<32}  never logged in"
