"""A hub under a steady load for an hour: `python -m benchmarks.soak --minutes 60 --rate 2000`.

Devices report at a fixed rate; now and then one drops its connection without DISCONNECT, or ends it in order, and
comes back. A message that was not acknowledged is sent again. At the end the hub is stopped, and every message that
was ever acknowledged must be in the database.

Ends with 1 on a wrong or missing reply, an error in the hub's log, a message that was acknowledged and is not
stored, or memory or descriptors that grew.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accounts import PRODUCT, Account, make_registry, read_registry
from benchmarks.device import Device
from benchmarks.flags import number
from benchmarks.fleet import Fleet, FleetError
from benchmarks.hub import Hub, HubError
from benchmarks.hub_log import HubLog
from benchmarks.machine import describe
from benchmarks.reports import POINTS, Reports
from benchmarks.servers import HUB, Server
from benchmarks.usage import HEADER, Usage
from benchmarks.waiting import within
from enos_ingest.cli.serve import loop_factory
from enos_ingest.storage.reader import SqliteReader

__all__ = ["Soak", "main", "run_soak"]

_POINTS = 3
_AWAY_SECONDS = 1.0
"""How long a device stays away at most; half of them come back at once, while the hub may hold the old connection."""


@dataclass(frozen=True)
class Soak:
    """How long and how much.

    Args:
        seconds: time that devices report, the warm-up included.
        warmup: time after which memory is expected to be flat: by then the database's cache of 64 MiB is nearly full.
        rate: messages a second.
        reconnects: connections a second that end and come back.
        report: seconds between two lines.
        growth: bytes that resident memory may grow by, from the end of the warm-up to the end.
    """

    seconds: float
    warmup: float
    rate: float
    devices: int
    reconnects: float
    report: float
    growth: int
    seed: int = 0


def run_soak(soak: Soak, folder: Path, say: Callable[[str], None] = print, server: Server = HUB) -> list[str]:
    """Run it, in a folder for the hub's files; returns what went wrong.

    Raises:
        HubError, FleetError: it cannot run at all.
    """
    registry = make_registry(soak.devices)
    accounts = read_registry(registry, soak.devices)
    with server.start(folder, registry) as hub, asyncio.Runner(loop_factory=loop_factory()) as runner:
        log = HubLog(hub.log)
        devices, faults = runner.run(_Run(soak, hub, log, say).run(accounts))
    # Once more, for what it wrote while it drained.
    return faults + log.faults() + _missing(hub.database, devices, say)


class _Run:
    """The part of a soak that runs in the event loop."""

    def __init__(self, soak: Soak, hub: Hub, log: HubLog, say: Callable[[str], None]) -> None:
        self._soak = soak
        self._hub = hub
        self._say = say
        self._random = random.Random(soak.seed)
        self._fleet = Fleet(Reports(_POINTS, 0), cpu=hub.cpu_seconds)
        self._log = log
        self._usage = Usage(hub.process)
        self._faults: list[str] = []
        self._ends = {"dropped": 0, "ended in order": 0}

    async def run(self, accounts: Sequence[Account]) -> tuple[list[Device], list[str]]:
        """Report; returns the devices, which know what was acknowledged, and what went wrong."""
        soak, fleet = self._soak, self._fleet
        await fleet.connect(accounts, self._hub.host, self._hub.port)
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._churn(over), name="churn")
            group.create_task(self._watch(over), name="watch")
            await fleet.send(soak.rate, soak.seconds)
            over.set()
        await fleet.settle()
        fleet.close()
        await asyncio.gather(*(device.gone.wait() for device in fleet.devices))
        result = fleet.result
        self._faults += [f"{count} replies with the code {code}" for code, count in result.not_200.items()]
        self._faults += result.faults
        self._faults += self._usage.faults(soak.growth)
        self._faults += self._log.faults()
        ended = ", ".join(f"{count} {how}" for how, count in self._ends.items())
        self._say(f"{self._acknowledged():,} messages acknowledged; connections that came back: {ended}")
        self._say(self._usage.summary())
        return fleet.devices, self._faults

    async def _churn(self, over: asyncio.Event) -> None:
        """End connections now and then, until it is over and all are back."""
        async with asyncio.TaskGroup() as away:
            while not await within(over, self._random.expovariate(self._soak.reconnects)):
                device = self._random.choice(self._fleet.devices)
                if device.connected:
                    away.create_task(self._end(device, over), name=f"bring {device.name} back")

    async def _end(self, device: Device, over: asyncio.Event) -> None:
        if self._random.random() < 0.5:
            self._ends["dropped"] += 1
            device.drop()
        else:
            self._ends["ended in order"] += 1
            device.close()
        await device.gone.wait()
        if self._random.random() < 0.5:
            await within(over, self._random.uniform(0, _AWAY_SECONDS))
        try:
            await self._fleet.reconnect(device, self._hub.host, self._hub.port)
        except FleetError as error:
            self._faults.append(str(error))

    async def _watch(self, over: asyncio.Event) -> None:
        """Note memory and descriptors, and look into the log, now and then."""
        soak, started, before = self._soak, time.monotonic(), 0
        self._say(f"{'minute':>8}{'messages/s':>12}{HEADER}   lines in the log")
        await within(over, soak.warmup)
        while True:
            self._usage.sample()
            self._faults += self._log.faults()
            now, total = time.monotonic() - started, self._acknowledged()
            rate = (total - before) / (soak.report if before else now)
            before = total
            self._say(f"{now / 60:>8.1f}{rate:>12,.0f}{self._usage.row()}{self._log.lines:>19,}")
            if over.is_set():
                return
            await within(over, soak.report)

    def _acknowledged(self) -> int:
        return sum(device.acknowledged - device.first for device in self._fleet.devices)


def _missing(database: Path, devices: Sequence[Device], say: Callable[[str], None]) -> list[str]:
    """Devices of which something was acknowledged and is not stored."""
    faults = []
    points = 0
    with SqliteReader(database) as reader:
        for device in devices:
            key = device.name.partition("/")[2]
            for measurepoint in list(POINTS)[:_POINTS]:
                wanted = {1000 * message for message in range(device.first, device.acknowledged)}
                stored = {point.time for point in reader.points(PRODUCT, key, measurepoint=measurepoint)}
                points += len(stored)
                if not wanted <= stored:
                    faults.append(
                        f"{device.name} {measurepoint}: {len(wanted - stored)} of {len(wanted)} acknowledged points "
                        f"are not stored, the first of {min(wanted - stored)}"
                    )
    say(f"{points:,} points are stored; messages acknowledged and not stored: {len(faults) or 'none'}")
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak and say what went wrong."""
    options = _parser().parse_args(arguments)
    seconds = 60 * options.minutes
    soak = Soak(
        seconds=seconds,
        warmup=min(900.0, seconds / 4) if options.warmup is None else 60 * options.warmup,
        rate=options.rate,
        devices=options.devices,
        reconnects=options.reconnects,
        report=min(60.0, seconds / 4),
        growth=options.growth * 2**20,
        seed=options.seed,
    )
    print(describe(), soak, sep="\n", flush=True)

    def say(text: str) -> None:
        print(text, flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="enos-ingest-soak-", dir=options.folder) as folder:
            faults = run_soak(soak, Path(folder), say)
    except (HubError, FleetError, OSError) as error:
        faults = [str(error)]
    for fault in faults:
        print(f"benchmarks.soak: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Keep a hub busy for a long time.")
    for flag, kind, default, lowest, highest, text in (
        ("--minutes", float, 60.0, 0.01, 100_000, "how long"),
        ("--rate", float, 2000.0, 1, 100_000, "messages a second"),
        ("--devices", int, 200, 1, 10_000, "devices that report"),
        ("--reconnects", float, 5.0, 0.001, 1000, "connections a second that end and come back"),
        ("--growth", int, 32, 1, 100_000, "MiB that the hub's memory may grow by after the warm-up"),
        ("--seed", int, 0, 0, 2**31, "of the choice of connections that end"),
    ):
        parser.add_argument(
            flag, type=number(kind, lowest, highest), default=default, metavar="N", help=f"{text} (default {default:g})"
        )
    parser.add_argument(
        "--warmup",
        type=number(float, 0.001, 100_000),
        metavar="MINUTES",
        help="after which memory must be flat (default: a quarter of the time, at most 15)",
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="put the database below DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
