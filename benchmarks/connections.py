"""Rows of the table about connections: idle ones beside busy ones, and a storm of new ones."""

from __future__ import annotations

import itertools
import statistics
from array import array
from collections.abc import Callable

from benchmarks.accounts import Account
from benchmarks.bench import Bench, Workload
from benchmarks.figures import Figures, median_ratio
from benchmarks.fleet import Fleet
from benchmarks.hub import Hub
from benchmarks.servers import HUB

__all__ = ["idle", "storm"]

_PARTS = 5
"""Into how many parts a storm is cut, to see whether connecting becomes slower."""

_STORM_AT_ONCE = 200
"""Connections that are being made at the same time, which a device does not know of the others."""


def idle(bench: Bench) -> None:
    """5 000 connected devices of which 500 report, against those 500 alone; both know 5 000 devices."""
    connected, active = bench.options.scaled(5_000), bench.options.scaled(500)
    title = f"{connected:,} connected, {active:,} of them active"
    few, all_of_them = f"{active:,} connected", f"{connected:,} connected"
    growth: list[float] = []
    workload = Workload(devices=connected, window=4)

    def measure(more: int) -> Callable[[], Figures]:
        async def work(hub: Hub, accounts: list[Account]) -> Figures:
            reports = workload.reports()
            fleet = Fleet(reports, cpu=hub.cpu_seconds)
            await fleet.connect(accounts[:active], hub.host, hub.port)
            before = hub.resident_bytes()
            await fleet.connect(accounts[active : active + more], hub.host, hub.port)
            after = hub.resident_bytes()
            if more and before is not None and after is not None:
                growth.append((after - before) / more / 1000)
            result = await fleet.run(workload.window, bench.options.warmup, bench.options.seconds, active)
            fleet.close()
            return Figures.of(result, reports.points_a_message)

        return lambda: bench.run(HUB, connected, work)

    found = bench.in_turn(title, {few: measure(0), all_of_them: measure(connected - active)})
    ratio = 100 * median_ratio(found[all_of_them], found[few])
    bench.at_least(title, f"of the rate with {few}, %", ratio, 70)
    bench.at_most(title, "resident memory an idle device, KB", statistics.median(growth) if growth else None, 30)
    for name, runs in found.items():
        bench.report(
            title, f"{name}: messages/s", statistics.median(run.messages_per_second for run in runs), "{:,.0f}"
        )


def storm(bench: Bench) -> None:
    """5 000 devices connect, each with its signature and one subscription."""
    devices = bench.options.scaled(5_000)
    title = f"connect storm of {devices:,} devices"
    bench.say(f"\n{title}\n{'run':>24}   connects/s   ms a connect, by fifths")
    rates: list[float] = []
    parts: list[list[float]] = []
    for turn in range(bench.options.runs):
        done = bench.run(HUB, devices, _connect_all)
        rates.append(len(done) / done[-1])
        parts.append(_by_parts(done))
        figures = "".join(f"{each:8.3f}" for each in parts[-1])
        bench.say(f"{turn + 1:>24}{rates[-1]:>13,.0f}   {figures}")
    bench.runs[title] = {
        HUB.name: [{"connects_per_second": rate, "ms": ms} for rate, ms in zip(rates, parts, strict=True)]
    }
    bench.at_least(title, "connects/s", statistics.median(rates), 2_000)
    first, last = (statistics.median(each[part] for each in parts) for part in (0, -1))
    bench.report(title, "ms a connect, the first fifth of them", first, "{:,.3f}")
    # A quarter more is within what single runs differ by.
    bench.at_most(title, "ms a connect, the last fifth", last, 1.25 * first, "{:,.3f}")


async def _connect_all(hub: Hub, accounts: list[Account]) -> array[float]:
    fleet = Fleet(Workload(len(accounts), 1).reports())
    done = await fleet.connect(accounts, hub.host, hub.port, at_once=_STORM_AT_ONCE)
    fleet.close()
    return done


def _by_parts(done: array[float]) -> list[float]:
    """Milliseconds that a connect took, in each part."""
    size = len(done) // _PARTS
    ends = [0.0, *(done[size * part - 1] for part in range(1, _PARTS + 1))]
    return [1000 * (end - start) / size for start, end in itertools.pairwise(ends)]
