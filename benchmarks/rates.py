"""Rows of the table about messages a second: few busy devices, many, batches, and a database that is full."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.accounts import Account
from benchmarks.bench import Bench, Workload
from benchmarks.figures import Figures, median_ratio, median_run
from benchmarks.fleet import Fleet
from benchmarks.hub import Hub
from benchmarks.prefill import prefill
from benchmarks.servers import HUB, NULL_STORE, Server, main_job, peer

__all__ = ["batches", "busy", "many", "stored"]

_SAMPLE_SECONDS = 1.0
"""How often the points that wait for the fold are counted."""

STORED = (0, 1_000_000, 20_000_000)


def busy(bench: Bench) -> None:
    """20 devices with 10 requests open each, against the same build without a store, and against the main job."""
    title = "20 devices x 10, resume of 3 points"
    workload = Workload(devices=20, window=10)
    servers = [HUB, NULL_STORE] + ([main_job(bench.options.main_job)] if bench.options.main_job else [])
    found = bench.in_turn(title, {server.name: _closed(bench, server, workload) for server in servers})
    hub = median_run(found[HUB.name])
    bench.at_least(title, "messages/s", hub.messages_per_second, 25_000)
    bench.at_least(
        title, "of the same build with a null store, %", 100 * median_ratio(found[HUB.name], found[NULL_STORE.name]), 65
    )
    if bench.options.main_job:
        bench.report(title, "times the main job's build", median_ratio(found[HUB.name], found["main job"]))
    _costs(bench, title, hub)


def many(bench: Bench) -> None:
    """500 devices with 4 requests open each, against the peers."""
    devices = bench.options.scaled(500)
    title = f"{devices:,} devices x 4, resume of 3 points"
    workload = Workload(devices=devices, window=4)
    servers = [HUB, peer("node"), peer("script")]
    found = bench.in_turn(title, {server.name: _closed(bench, server, workload) for server in servers})
    hub = median_run(found[HUB.name])
    bench.report(title, "messages/s", hub.messages_per_second, "{:,.0f}")
    node = median_run(found["node"]).messages_per_second
    bench.at_least(title, "messages/s of the Node.js peer, which is wrong below", node, 10_000)
    bench.at_least(title, "times the Node.js peer", median_ratio(found[HUB.name], found["node"]), 1.5, "{:,.2f}")
    ratio = median_ratio(found[HUB.name], found["script"])
    bench.at_least(title, "times mosquitto and a script", ratio, 5, "{:,.2f}")
    _costs(bench, title, hub)


def batches(bench: Bench) -> None:
    """Batches of 200 entries of 3 points for a minute: what is appended must be folded as fast as it comes."""
    title = "resume/batch of 200 x 3 points, 20 devices x 4"
    workload = Workload(devices=20, window=4, batch=200)
    waiting: list[list[int]] = []

    def measure() -> Figures:
        samples: list[int] = []
        waiting.append(samples)

        async def work(hub: Hub, accounts: list[Account]) -> Figures:
            reports = workload.reports()
            fleet = Fleet(reports, cpu=hub.cpu_seconds)
            await fleet.connect(accounts, hub.host, hub.port)
            watch = asyncio.create_task(_watch(hub, samples), name="count what waits")
            result = await fleet.run(workload.window, bench.options.warmup, bench.options.long_seconds)
            fleet.close()
            watch.cancel()
            await asyncio.wait([watch])
            return Figures.of(result, reports.points_a_message)

        return bench.run(HUB, workload.devices, work)

    found = bench.in_turn(title, {HUB.name: measure})
    hub = median_run(found[HUB.name])
    bench.at_least(title, "points/s", hub.points_per_second, 200_000)
    # The fold works in rounds, so what waits goes up and down; it keeps up where the second half looks like the first.
    counted = [samples for samples in waiting if len(samples) >= 2]
    if counted:
        first = statistics.median(max(samples[: len(samples) // 2]) for samples in counted)
        second = statistics.median(max(samples[len(samples) // 2 :]) for samples in counted)
        bench.report(title, "points that wait to be folded, at most in the first half", first, "{:,.0f}")
        bench.at_most(title, "the same in the second half", second, max(1.5 * first, 1.0), "{:,.0f}")


def stored(bench: Bench) -> None:
    """The cost of a message where nothing is stored yet, and where millions of points are."""
    devices = bench.options.scaled(500)
    title = f"stored before, {devices:,} devices x 4"
    sizes = [bench.options.scaled(rows) if rows else 0 for rows in STORED]
    workload = Workload(devices=devices, window=4)
    with tempfile.TemporaryDirectory(prefix="enos-ingest-bench-", dir=bench.options.folder) as folder:
        made: dict[int, Path] = {}
        for rows in sizes:
            bench.say(f"preparing a database with {rows:,} points")
            made[rows] = Path(folder) / f"{rows}.db"
            prefill(made[rows], rows, devices, workload.points)
        found = bench.in_turn(title, {f"{rows:,} points": _closed(bench, HUB, workload, made[rows]) for rows in sizes})
    empty = median_run(found["0 points"])
    for name, runs in found.items():
        middle = median_run(runs)
        bench.report(title, f"{name}: messages/s", middle.messages_per_second, "{:,.0f}")
        if middle.hub_us is not None and empty.hub_us is not None:
            if middle is empty:
                bench.report(title, f"{name}: hub, us a message", middle.hub_us)
            else:
                # A tenth more is within what runs of one workload differ by.
                bench.at_most(title, f"{name}: hub, us a message", middle.hub_us, 1.1 * empty.hub_us)


def _closed(bench: Bench, server: Server, workload: Workload, database: Path | None = None) -> Callable[[], Figures]:
    def prepare(folder: Path) -> None:
        assert database is not None
        target = folder / "data" / "enos-ingest.db"
        target.parent.mkdir(mode=0o700)
        shutil.copyfile(database, target)
        with target.open("rb") as copied:  # else the disk would be at it still when the run is measured
            os.fsync(copied.fileno())

    return lambda: bench.closed(server, workload, prepare=prepare if database else None)


async def _watch(hub: Hub, samples: list[int]) -> None:
    while True:
        await asyncio.sleep(_SAMPLE_SECONDS)
        waiting = await asyncio.to_thread(hub.unfolded_points)
        if waiting is not None:
            samples.append(waiting)


def _costs(bench: Bench, title: str, hub: Figures) -> None:
    if hub.hub_us is not None:
        bench.report(title, "hub, us of processor time a message", hub.hub_us)
    bench.report(title, "generator, us of processor time a message", hub.generator_us)
