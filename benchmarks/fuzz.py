"""Bent packet streams against a hub: `python -m benchmarks.fuzz --minutes 10 --seed 1`.

Many connections at once send good packets that were bent, before and after they have authenticated, as devices and
as operators, at once or in drips. Beside them one healthy device reports and must be answered all the time.

Ends with 1 on an exception or error in the hub's log, memory or descriptors that grew, or a healthy device that was
not served. Stream N of a seed is always the same: `--only N` sends it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accounts import Account, make_registry, read_registry
from benchmarks.flags import number
from benchmarks.fleet import Fleet, FleetError
from benchmarks.hub import Hub, HubError, run_hub
from benchmarks.hub_log import HubLog
from benchmarks.machine import describe
from benchmarks.mutations import MUTATIONS, good_packets
from benchmarks.packets import device_connect, encode_connect
from benchmarks.reports import Reports
from benchmarks.servers import LIMITS, Server
from benchmarks.usage import Usage
from benchmarks.waiting import within
from enos_ingest.cli.serve import loop_factory

__all__ = ["Fuzz", "main", "run_fuzz"]

_DEVICES = 20
"""Devices in whose name streams are sent, and one more that is healthy."""

_OPERATOR, _PASSWORD = "fuzz", "bent-packets"
_OPERATORS = 0.05
"""The share of streams that operators send: each waits for its password to be checked, which is slow on purpose."""

_HUB = Server("hub", functools.partial(run_hub, limits={**LIMITS, "quarantine_bytes": 2**20}))
"""Keeps little of what it refuses: the database's cache of that would look like memory that grows."""

_RATE = 20.0
"""Messages a second of the healthy device."""

_SERVED_SECONDS = 30.0
"""A healthy device that has waited for this long is not served; on a busy machine a second is nothing."""

_QUIET_SECONDS = 0.05
"""How long a stream that is sent waits for the hub to say more, or to close."""

_CLOSING_SECONDS = 60.0
"""How long the hub may take to close what is left at the end: its own deadlines are 10 s."""


@dataclass(frozen=True)
class Fuzz:
    """How long and what.

    Args:
        seconds: time that streams are sent, the warm-up included.
        warmup: time after which memory must not grow any more: the topics that are kept are by then as many as may be.
        connections: streams that are sent at the same time.
        growth: bytes that resident memory may grow by.
        only: the number of the one stream to send, None for as many as there is time for.
    """

    seconds: float
    warmup: float
    seed: int
    connections: int
    growth: int
    only: int | None = None


def run_fuzz(fuzz: Fuzz, folder: Path, say: Callable[[str], None] = print, server: Server = _HUB) -> list[str]:
    """Run it, in a folder for the hub's files; returns what went wrong.

    Raises:
        HubError, FleetError: it cannot run at all.
    """
    # Always the same secrets, or signatures and so streams would differ.
    registry = make_registry(_DEVICES + 1, "{:032x}".format)
    operator = f'[[operators]]\nname = "{_OPERATOR}"\npassword = "{_PASSWORD}"\nscopes = ["read", "write"]\n'
    accounts = read_registry(registry, _DEVICES + 1)
    with server.start(folder, registry + operator) as hub, asyncio.Runner(loop_factory=loop_factory()) as runner:
        log = HubLog(hub.log)
        faults = runner.run(_Run(fuzz, hub, log, say).run(accounts))
    return faults + log.faults()


class _Run:
    """The part that runs in the event loop."""

    def __init__(self, fuzz: Fuzz, hub: Hub, log: HubLog, say: Callable[[str], None]) -> None:
        self._fuzz = fuzz
        self._hub = hub
        self._log = log
        self._say = say
        self._reports = Reports(3, 0)
        self._fleet = Fleet(self._reports)
        self._usage = Usage(hub.process)
        self._faults: list[str] = []
        self._over = asyncio.Event()
        self._next = 0 if fuzz.only is None else fuzz.only
        self._stages: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._ways: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()
        self._bytes = 0

    async def run(self, accounts: Sequence[Account]) -> list[str]:
        """Send streams; returns what went wrong."""
        healthy, *others = accounts
        self._usage.start_descriptors()
        await self._fleet.connect([healthy], self._hub.host, self._hub.port)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report(), name="healthy device")
            group.create_task(self._watch(), name="watch")
            for turn in range(self._fuzz.connections if self._fuzz.only is None else 1):
                group.create_task(self._send_streams(others), name=f"streams {turn}")
        await self._close()
        self._tell()
        return self._faults

    async def _report(self) -> None:
        """The healthy device, until it is over or it is not served any more."""
        fleet = self._fleet
        device = fleet.devices[0]
        while not await within(self._over, 1 / _RATE):
            if not device.connected:
                break
            if device.open >= _RATE * _SERVED_SECONDS:
                self._faults.append(f"the healthy device has not been answered for {_SERVED_SECONDS:g} s")
                break
            device.send([time.perf_counter()])
        self._over.set()
        await fleet.settle()
        self._faults += fleet.result.faults + [f"a reply with the code {code}" for code in fleet.result.not_200]

    async def _watch(self) -> None:
        """Look into the log now and then; a fault ends it all, while it is known which streams were just sent."""
        started, warm = time.monotonic(), False
        while not self._over.is_set():
            found = self._log.faults()
            if found:
                self._faults += found[:20]
                self._faults.append(f"the last stream before this was {self._next - 1} of seed {self._fuzz.seed}")
                break
            passed = time.monotonic() - started
            if passed >= self._fuzz.warmup and not warm:
                warm = True
                self._usage.sample()
            if passed >= self._fuzz.seconds:
                break
            await within(self._over, 0.25)
        self._over.set()

    async def _close(self) -> None:
        """Wait for the hub to be rid of all connections, then take the last sample."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                while not self._usage.descriptors_are_back:
                    await asyncio.sleep(0.1)
        self._usage.sample()
        self._faults += self._usage.faults(self._fuzz.growth) + self._log.faults()
        self._fleet.close()
        await self._fleet.devices[0].gone.wait()

    def _tell(self) -> None:
        total = self._kinds.total()
        self._say(f"{total:,} streams of seed {self._fuzz.seed}, {self._bytes:,} bytes; of them:")
        for counted in (self._stages, self._kinds, self._ways, self._ends):
            self._say("  " + ", ".join(f"{count:,} {what}" for what, count in sorted(counted.items())))
        answered = self._fleet.devices[0].acknowledged - self._fleet.devices[0].first
        self._say(f"the healthy device was answered {answered:,} times")
        self._say(self._usage.summary())

    # Streams.

    async def _send_streams(self, accounts: Sequence[Account]) -> None:
        while not self._over.is_set():
            turn = self._next
            self._next += 1
            try:
                async with asyncio.timeout(_SERVED_SECONDS):
                    await self._send_stream(random.Random(f"{self._fuzz.seed}/{turn}"), accounts)
            except OSError as error:  # a reset is one of the ways in which a hub may close; TimeoutError is another
                self._ends[type(error).__name__] += 1
            if self._fuzz.only is not None:
                self._over.set()

    async def _send_stream(self, choice: random.Random, accounts: Sequence[Account]) -> None:
        """One connection, from its start to its end."""
        device, secret = choice.choice(accounts)
        stream = self._reports.stream(device)
        packet = stream.packets(1)
        payload = packet[packet.index(b'{"id"') :]
        packets = good_packets(choice, stream.topic, payload)
        kind = choice.choice(list(MUTATIONS))
        operator = choice.random() < _OPERATORS
        connect = encode_connect("", _OPERATOR, _PASSWORD) if operator else device_connect(device, secret)
        authenticated = operator or choice.random() < 0.6
        reader, writer = await asyncio.open_connection(self._hub.host, self._hub.port)
        try:
            if authenticated:
                writer.write(connect)
                connack = await reader.read(4)
                self._ends[f"CONNACK {connack[3] if len(connack) == 4 else 'missing'}"] += 1
            else:
                packets = [connect, *packets]
            self._kinds[kind] += 1
            self._stages["after authentication" if authenticated else "before authentication"] += 1
            await self._deliver(choice, writer, MUTATIONS[kind](choice, packets))
            self._ends["closed by the hub" if await _drained(reader) else "closed by us"] += 1
        finally:
            if choice.random() < 0.5:
                writer.transport.abort()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _deliver(self, choice: random.Random, writer: asyncio.StreamWriter, pieces: list[bytes]) -> None:
        """Send pieces at once, one by one, or the first bytes in drips."""
        way = choice.choice(("at once", "one by one", "in drips"))
        self._ways[way] += 1
        data = b"".join(pieces)
        self._bytes += len(data)
        if way == "in drips":
            drops = choice.randrange(1, 60)
            pieces = [*(data[at : at + 1] for at in range(min(drops, len(data)))), data[drops:]]
        for piece in [data] if way == "at once" else pieces:
            if writer.is_closing():  # by the hub, which had enough
                return
            if piece:
                writer.write(piece)
                await writer.drain()
                if way == "in drips":
                    await asyncio.sleep(choice.random() * 0.01)


async def _drained(reader: asyncio.StreamReader) -> bool:
    """Read what there is, until the hub closes or says nothing for a moment; whether it has closed."""
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(_QUIET_SECONDS):
                if not await reader.read(65_536):
                    return True
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Send streams and say what went wrong."""
    options = _parser().parse_args(arguments)
    seconds = 60 * options.minutes
    fuzz = Fuzz(
        seconds, min(300.0, seconds / 2), options.seed, options.connections, options.growth * 2**20, options.only
    )
    print(describe(), fuzz, sep="\n", flush=True)

    def say(text: str) -> None:
        print(text, flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="enos-ingest-fuzz-", dir=options.folder) as folder:
            faults = run_fuzz(fuzz, Path(folder), say)
    except (HubError, FleetError, OSError) as error:
        faults = [str(error)]
    for fault in faults:
        print(f"benchmarks.fuzz: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description="Send a hub what nobody should.")
    for flag, kind, default, lowest, highest, text in (
        ("--minutes", float, 10.0, 0.01, 100_000, "how long"),
        ("--seed", int, 1, 0, 2**31, "which streams"),
        ("--connections", int, 20, 1, 1000, "streams sent at the same time"),
        ("--growth", int, 32, 1, 100_000, "MiB that the hub's memory may grow by"),
    ):
        parser.add_argument(
            flag, type=number(kind, lowest, highest), default=default, metavar="N", help=f"{text} (default {default:g})"
        )
    parser.add_argument("--only", type=number(int, 0, 2**31), metavar="N", help="send stream N alone")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="put the database below DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
