"""The row of the table about latency: how long a device waits while others report at a steady rate."""

from __future__ import annotations

import statistics

from benchmarks.accounts import Account
from benchmarks.bench import Bench, Workload
from benchmarks.figures import Figures
from benchmarks.fleet import Fleet
from benchmarks.hub import Hub
from benchmarks.servers import HUB

__all__ = ["offered"]

RATE = 5_000


def offered(bench: Bench) -> None:
    """5 000 messages a second offered for a minute, whatever is answered, each device in its turn."""
    devices = bench.options.scaled(500)
    rate = max(100.0, RATE * bench.options.scale)
    title = f"{rate:,.0f} messages/s offered by {devices:,} devices, open loop"
    worst: list[float] = []

    async def work(hub: Hub, accounts: list[Account]) -> Figures:
        reports = Workload(devices, 1).reports()
        fleet = Fleet(reports, cpu=hub.cpu_seconds)
        await fleet.connect(accounts, hub.host, hub.port)
        result = await fleet.offer(rate, bench.options.warmup, bench.options.long_seconds)
        commit = hub.worst_commit_seconds()
        if commit is not None:
            worst.append(1000 * commit)
        fleet.close()
        return Figures.of(result, reports.points_a_message)

    runs = bench.in_turn(title, {HUB.name: lambda: bench.run(HUB, devices, work)})[HUB.name]
    bench.report(title, "ms from when it was due to the reply, p50", statistics.median(run.p50 for run in runs))
    bench.at_most(title, "the same, p99", statistics.median(run.p99 for run in runs), 25)
    bench.report(title, "the same, p99.9", statistics.median(run.p999 for run in runs))
    bench.report(title, "the same, longest", statistics.median(run.max for run in runs))
    bench.report(title, "of which the generator was late, ms at most", statistics.median(run.late for run in runs))
    if worst:
        bench.report(title, "worst commit, ms", statistics.median(worst))
