"""A simulated plant: `python -m benchmarks.plant --minutes 10`.

Gateways log their sub-devices in and report for all of them each second: in one batch, and one sub-device by itself;
every few seconds what is old, as resume. Each second one sub-device of each gateway is logged out, refused, and logged
in again. Halfway one gateway loses its power in the middle of a batch and is replaced by another, which takes its
sub-devices over and sends the batch again; later it comes back and finds them gone. A second one is replaced by
itself: a new connection ends the old one. At the end one gateway leaves, and one logs half of its sub-devices out.

Ends with 1 where a code was not the expected one, where the database says of any device that it is online or offline
and it is not, or where any stored point is missing, too much or has another value.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.flags import number
from benchmarks.gateway import Gateway, GatewayError
from benchmarks.hub import Hub, HubError, run_hub
from benchmarks.hub_log import HubLog
from benchmarks.machine import describe
from enos_ingest.cli.serve import loop_factory
from enos_ingest.protocol.identity import DeviceId
from enos_ingest.storage.facts import SqliteFacts
from enos_ingest.storage.reader import SqliteReader

__all__ = ["Plant", "main", "run_plant"]

_RESUME_EVERY = 5
"""Rounds between two messages about the past."""
_HOUR = 3_600_000
_NAMED = 5
"""Faults of a kind that are told one by one."""
_SHOWN = 50
"""Faults that are told in all."""
_PATIENCE = 30.0
"""Seconds after which the database must tell who is online."""
_LOOK_SECONDS = 0.05

_VALUES = 100
"""The points take no greater ones."""

_OFFLINE = 1212

Stored = dict[DeviceId, dict[tuple[str, int], float]]
"""The value of each point that was acknowledged, by measurement point and time."""

Online = dict[DeviceId, tuple[bool, DeviceId | None]]
"""Whether a device is online, and through which gateway it is or was."""


@dataclass(frozen=True)
class Plant:
    """How large, and for how long.

    Args:
        rounds: how often each gateway reports.
        seconds: between two rounds.
    """

    rounds: int
    seconds: float = 1.0
    gateways: int = 20
    sub_devices: int = 100


def run_plant(plant: Plant, folder: Path, say: Callable[[str], None] = print) -> list[str]:
    """Run it, in a folder for the hub's files; returns what went wrong.

    Raises:
        HubError, GatewayError: it cannot run to its end.
    """
    run = _Run(plant, say)
    with run_hub(folder, run.registry()) as hub, asyncio.Runner(loop_factory=loop_factory()) as runner:
        log = HubLog(hub.log)
        faults = runner.run(run.run(hub))
    return faults + log.faults() + _compare(hub.database, run.stored, say)


class _Run:
    """One run: what the plant does, and what must come of it.

    Attributes:
        stored: what the hub has acknowledged.
    """

    def __init__(self, plant: Plant, say: Callable[[str], None]) -> None:
        self.stored: Stored = {}
        self._plant = plant
        self._say = say
        self._faults: list[str] = []
        self._secrets: dict[DeviceId, str] = {}
        self._subs: dict[DeviceId, list[DeviceId]] = {}
        for index in range(plant.gateways):
            subs = [DeviceId("PlantInv", f"sub-{index}-{each}") for each in range(plant.sub_devices)]
            self._subs[DeviceId("PlantGw", f"gw-{index}")] = subs
        self._spare = DeviceId("PlantGw", "gw-spare")
        self._subs[self._spare] = next(iter(self._subs.values()))
        for gateway, subs in self._subs.items():
            for device in (gateway, *subs):
                self._secrets.setdefault(device, secrets.token_hex(16))
        self._working: dict[DeviceId, Gateway] = {}
        self._online: Online = {}
        self._start = time.time_ns() // 1_000_000_000 * 1000

    def registry(self) -> str:
        """The registry file; the spare gateway may speak for the first one's sub-devices."""
        lines = ["# Made by a benchmark.", '[[products]]\nkey = "PlantGw"\nmodel = "gateway"']
        lines.append('[[products]]\nkey = "PlantInv"\nmodel = "inverter"')
        for device, secret in self._secrets.items():
            product, key = device
            lines.append(f'[[devices]]\nproduct = "{product}"\nkey = "{key}"\nsecret = "{secret}"')
        for gateway, subs in self._subs.items():
            names = ", ".join(f'"{device}"' for device in subs)
            lines.append(f'[[gateways]]\ndevice = "{gateway}"\nsub_devices = [{names}]')
        return "\n".join(lines) + "\n"

    async def run(self, hub: Hub) -> list[str]:
        """The whole life of the plant; returns what went wrong."""
        plant, first, second, *_ = self._plant, *self._subs
        for device in list(self._subs)[:-1]:
            await self._join(hub, device)
        began = time.monotonic()
        for turn in range(plant.rounds):
            if turn == plant.rounds // 2:
                await self._lose_power(hub, first, turn)
            elif turn == plant.rounds // 2 + 1:
                await self._replace_by_itself(hub, second)
                await self._come_back(hub, first, turn)
            await asyncio.gather(*(self._round(gateway, turn) for gateway in self._working.values()))
            await asyncio.sleep(max(0.0, began + (turn + 1) * plant.seconds - time.monotonic()))
        late = time.monotonic() - began - plant.rounds * plant.seconds
        await self._leave()
        await self._compare_presence(hub)
        await self._await_fold(hub)
        for gateway in self._working.values():
            await gateway.close()
        points = sum(map(len, self.stored.values()))
        self._say(f"{plant.rounds} rounds, {late:.1f} s late at the end; {points:,} points acknowledged")
        return self._faults

    async def _join(self, hub: Hub, device: DeviceId) -> None:
        """Connect a gateway, and log its sub-devices in."""
        gateway = self._working[device] = Gateway(device, self._secrets[device])
        await gateway.connect(hub.host, hub.port)
        self._online[device] = True, None
        reply = await gateway.login({sub: self._secrets[sub] for sub in self._subs[device]})
        self._expect(int(reply["code"]), 200, f"login/batch of {device}")
        for sub in self._subs[device]:
            self._online[sub] = True, device

    async def _round(self, gateway: Gateway, turn: int) -> None:
        """What a gateway does each second."""
        device, subs = gateway.device, self._through(gateway.device)
        if not subs:
            return
        now, one = self._start + 1000 * turn, subs[turn % len(subs)]
        value = _value(turn)
        values = [(sub, {"temp": value}, now) for sub in subs]
        code = await gateway.report("post", [(None, {"GW.CPULoad": value}, now), *values])
        if self._expect(code, 200, f"post/batch of {device}"):
            self._keep(device, "GW.CPULoad", now, value)
            for sub in subs:
                self._keep(sub, "temp", now, value)
        reply = await gateway.logout(one)
        self._expect(int(reply["code"]), 200, f"logout of {one}")
        code = await gateway.report_one(one, {"Power": -1.0}, now)
        self._expect(code, _OFFLINE, f"post of {one}, which is logged out")
        reply = await gateway.login({one: self._secrets[one]})
        self._expect(int(reply["code"]), 200, f"login of {one}")
        code = await gateway.report_one(one, {"Power": value}, now)
        if self._expect(code, 200, f"post of {one}"):
            self._keep(one, "Power", now, value)
        if turn % _RESUME_EVERY == 0:
            code = await gateway.report("resume", [(sub, {"temp": -1.0}, now - _HOUR) for sub in subs])
            if self._expect(code, 200, f"resume/batch of {device}"):
                for sub in subs:
                    self._keep(sub, "temp", now - _HOUR, -1)

    async def _lose_power(self, hub: Hub, device: DeviceId, turn: int) -> None:
        """A gateway is gone with a batch on its way, which may be stored or not; another takes its place."""
        lost = self._working.pop(device)
        now, subs = self._start + 1000 * turn + 500, self._subs[device]
        value = _value(turn)
        batch = [(sub, {"temp": value}, now) for sub in subs]
        sending = asyncio.create_task(lost.report("post", batch))
        await asyncio.sleep(0)
        await lost.drop()
        (unanswered,) = await asyncio.gather(sending, return_exceptions=True)
        if isinstance(unanswered, int):
            self._expect(unanswered, 200, f"the last batch of {device}")
        elif not isinstance(unanswered, GatewayError):
            raise unanswered
        await self._join(hub, self._spare)
        self._online[device] = False, None
        if self._expect(await self._working[self._spare].report("post", batch), 200, f"the batch of {device} again"):
            for sub in subs:
                self._keep(sub, "temp", now, value)

    async def _come_back(self, hub: Hub, device: DeviceId, turn: int) -> None:
        """A gateway whose place is taken speaks for none of its sub-devices, and stays without them."""
        gateway = self._working[device] = Gateway(device, self._secrets[device])
        await gateway.connect(hub.host, hub.port)
        self._online[device] = True, None
        batch = [(sub, {"Power": -1.0}, self._start + 1000 * turn) for sub in self._subs[device]]
        self._expect(await gateway.report("post", batch), _OFFLINE, f"a batch of {device}, which is replaced")

    async def _replace_by_itself(self, hub: Hub, device: DeviceId) -> None:
        """The same gateway on a new connection: the hub ends the old one, and with it its sub-devices' logins."""
        old = self._working[device]
        await self._join(hub, device)
        async with asyncio.timeout(_PATIENCE):
            await old.gone.wait()
        await old.close()

    async def _leave(self) -> None:
        """At the end: one gateway leaves in order, another logs every other sub-device out."""
        *_, one, other = [device for device in self._working if device != self._spare and self._through(device)]
        await self._working.pop(one).close()
        self._online[one] = False, None
        for sub in self._subs[one]:
            self._online[sub] = False, one
        for sub in self._subs[other][::2]:
            reply = await self._working[other].logout(sub)
            self._expect(int(reply["code"]), 200, f"logout of {sub}")
            self._online[sub] = False, other

    async def _compare_presence(self, hub: Hub) -> None:
        """The history in the database, and the hub's own count, say of each device what is so."""
        deadline = time.monotonic() + _PATIENCE
        while wrong := list(self._wrong_presence(hub)):
            if time.monotonic() > deadline:
                self._faults += _some(wrong)
                return
            await asyncio.sleep(_LOOK_SECONDS)  # the hub tells nobody that it has written
        self._say(f"presence of {len(self._online):,} devices as it must be")

    async def _await_fold(self, hub: Hub) -> None:
        """Wait until points are in their place, where thousands of devices are read in seconds."""
        async with asyncio.timeout(_PATIENCE):
            while hub.unfolded_points():
                await asyncio.sleep(_LOOK_SECONDS)

    def _wrong_presence(self, hub: Hub) -> Iterator[str]:
        with SqliteFacts(hub.database) as facts:
            last = facts.last_presence()
        for device, (online, gateway) in self._online.items():
            found = last.get(device)
            if found is None or (found.online, found.gateway) != (online, gateway):
                yield f"presence of {device}: {found} where online={online}, gateway={gateway}"
        expected = sum(online for online, _ in self._online.values())
        counted = hub.metric("enos_ingest_devices_online")
        if counted != expected:
            yield f"the hub counts {counted} devices online, of {expected}"

    def _through(self, gateway: DeviceId) -> list[DeviceId]:
        """The sub-devices that are online through a gateway."""
        return [sub for sub in self._subs[gateway] if self._online[sub] == (True, gateway)]

    def _expect(self, code: int, expected: int, what: str) -> bool:
        if code != expected:
            self._faults.append(f"{what}: code {code} where {expected} is due")
        return code == expected == 200

    def _keep(self, device: DeviceId, measurepoint: str, at: int, value: float) -> None:
        self.stored.setdefault(device, {})[measurepoint, at] = float(value)


def _value(turn: int) -> float:
    """What is reported in a round."""
    return float(turn % _VALUES)


def _compare(database: Path, expected: Stored, say: Callable[[str], None]) -> list[str]:
    """What the database holds other than it must."""
    faults = []
    count = 0
    with SqliteReader(database) as reader:
        for device, points in expected.items():
            found = {(point.measurepoint, point.time): point.value for point in reader.points(*device)}
            count += len(found)
            faults += [f"{device}: {key} is {found.get(key)}, not {points.get(key)}"
                       for key in found.keys() | points.keys() if found.get(key) != points.get(key)]  # fmt: skip
            newest: dict[str, int] = {}
            for name, at in points:
                newest[name] = max(at, newest.get(name, at))
            latest = {point.measurepoint: (point.time, point.value) for point in reader.latest(*device)}
            if latest != {name: (at, points[name, at]) for name, at in newest.items()}:
                faults.append(f"{device}: the latest values are {latest}")
    say(f"{count:,} points are stored; missing, too many or wrong: {len(faults) or 'none'}")
    return _some(faults)


def _some(faults: list[str], most: int = _NAMED) -> list[str]:
    more = [f"and {len(faults) - most} more"] if len(faults) > most else []
    return faults[:most] + more


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a plant and say what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plant", description="Simulate a plant of gateways.")
    for flag, kind, default, lowest, highest, text in (
        ("--minutes", float, 10.0, 0.05, 100_000, "how long"),
        ("--gateways", int, 20, 4, 1000, "gateways"),
        ("--sub-devices", int, 100, 1, 200, "sub-devices of each"),
    ):
        parser.add_argument(
            flag, type=number(kind, lowest, highest), default=default, metavar="N", help=f"{text} (default {default:g})"
        )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="put the database below DIR")
    options = parser.parse_args(arguments)
    plant = Plant(round(60 * options.minutes), gateways=options.gateways, sub_devices=options.sub_devices)
    print(describe(), plant, sep="\n", flush=True)

    def say(text: str) -> None:
        print(text, flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="enos-ingest-plant-", dir=options.folder) as folder:
            faults = run_plant(plant, Path(folder), say)
    except (HubError, GatewayError, OSError) as error:
        faults = [str(error)]
    for fault in _some(faults, _SHOWN):
        print(f"benchmarks.plant: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
