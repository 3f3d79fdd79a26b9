"""How long a value takes to a device and back, while other devices report: from the REST call to its answer.

    python -m benchmarks.commands --rate 200 --uplinks 5000 --seconds 20
    python -m benchmarks.commands --uplinks 0 --rate 1000

Calls of setMeasurepoint are made at a fixed rate, each for the next device, whatever is answered; those devices answer
at once. A call is measured from when it was due; its command is committed twice by then, before it is sent and before
the caller hears of the answer. Other devices report meanwhile, also at a fixed rate. The hub is a process of its own.

Ends with 1 where a call or a report was answered wrongly or not at all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.accounts import Account, make_registry, read_registry
from benchmarks.calls import Calls
from benchmarks.device import DeviceError
from benchmarks.figures import percentile
from benchmarks.flags import number
from benchmarks.fleet import Fleet, FleetError
from benchmarks.hub import Hub, HubError
from benchmarks.machine import describe, machine, versions
from benchmarks.reports import Reports
from benchmarks.servers import HUB
from enos_ingest.cli.serve import loop_factory

__all__ = ["RoundTrips", "main"]

_WANTED_P50 = 10.0
_POINTS = 3
_FAULTS = 10


@dataclass
class RoundTrips:
    """What was seen of the calls, and of the reports beside them; times in milliseconds.

    `late` is how long after it was due a call was made, at worst; `uplink_*` are None without reports.
    """

    calls: int = 0
    commands_per_second: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0
    late: float = 0.0
    uplinks_per_second: float = 0.0
    uplink_p50: float | None = None
    uplink_p99: float | None = None
    hub_cpu: float | None = None
    generator_cpu: float = 0.0
    errors: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, sentence: str) -> None:
        """Count what is wrong, and keep the first sentences."""
        self.errors += 1
        if len(self.faults) < _FAULTS:
            self.faults.append(sentence)


async def _measure(options: argparse.Namespace, hub: Hub, key: str, accounts: Sequence[Account]) -> RoundTrips:
    found = RoundTrips()
    assert hub.http is not None
    reporting, targets = accounts[: options.devices], accounts[options.devices :]
    calls = Calls(hub.http, key, targets, found.fault)
    await calls.join(hub)
    fleet = Fleet(Reports(_POINTS, 0), cpu=hub.cpu_seconds)
    if options.uplinks:
        await fleet.connect(reporting, hub.host, hub.port)
    before, own = hub.cpu_seconds(), time.process_time()
    started = time.perf_counter()
    async with asyncio.TaskGroup() as both:
        both.create_task(calls.run(options.rate, options.warmup, options.seconds), name="calls")
        if options.uplinks:
            both.create_task(fleet.offer(options.uplinks, options.warmup, options.seconds), name="reports")
    took, used = time.perf_counter() - started, hub.cpu_seconds()
    calls.close()
    fleet.close()

    ordered = [1000 * each for each in sorted(calls.latencies)] or [0.0]
    found.calls = len(calls.latencies)
    found.commands_per_second = found.calls / options.seconds
    found.p50, found.p99, found.p999 = (percentile(ordered, share) for share in (0.5, 0.99, 0.999))
    found.max, found.late = ordered[-1], 1000 * calls.late
    found.generator_cpu = 100 * (time.process_time() - own) / took
    found.hub_cpu = None if before is None or used is None else 100 * (used - before) / took
    if options.uplinks:
        result = fleet.result
        uplinks = [1000 * each for each in sorted(result.latencies)] or [0.0]
        found.uplinks_per_second = result.replies / result.seconds
        found.uplink_p50, found.uplink_p99 = percentile(uplinks, 0.5), percentile(uplinks, 0.99)
        found.errors += result.errors + result.not_200.total()
        found.faults += [f"{count} reports were answered with {code}" for code, count in result.not_200.items()]
        found.faults += result.faults
    return found


def _run(options: argparse.Namespace) -> RoundTrips:
    """One run, on a hub and a database of its own."""
    key, devices = secrets.token_hex(16), options.devices + options.targets
    registry = make_registry(devices)
    application = f'[[applications]]\nname = "benchmark"\napi_key = "{key}"\nscopes = ["control"]\n'
    with (
        tempfile.TemporaryDirectory(prefix="enos-ingest-bench-", dir=options.folder) as folder,
        HUB.start(Path(folder), registry + application) as hub,
        asyncio.Runner(loop_factory=loop_factory()) as runner,
    ):
        return runner.run(_measure(options, hub, key, read_registry(registry, devices)))


_HEADER = (
    f"{'run':>6}   commands/s    p50 ms    p99 ms  p99.9 ms    max ms   late ms"
    "   uplinks/s    p50 ms    p99 ms   errors   hub CPU   generator CPU"
)


def _row(name: str, run: RoundTrips) -> str:
    uplinks = "".join("         -" if each is None else f"{each:>10.1f}" for each in (run.uplink_p50, run.uplink_p99))
    cpu = "-" if run.hub_cpu is None else f"{run.hub_cpu:.0f} %"
    return (
        f"{name:>6}{run.commands_per_second:>13,.0f}{run.p50:>10.2f}{run.p99:>10.2f}{run.p999:>10.2f}{run.max:>10.2f}"
        f"{run.late:>10.2f}{run.uplinks_per_second:>12,.0f}{uplinks}{run.errors:>9}{cpu:>10}"
        f"{f'{run.generator_cpu:.0f} %':>16}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workload and print what was measured."""
    options = _parser().parse_args(arguments)
    workload = (
        f"setMeasurepoint at {options.rate:,g} calls/s to {options.targets} devices, beside "
        f"{options.uplinks:,g} uplinks/s of {_POINTS} points from {options.devices} devices; "
        f"{options.warmup:g} s to warm up, {options.seconds:g} s measured"
    )
    if not options.json:
        print(f"{describe()}\n{workload}\n\n{_HEADER}", flush=True)
    runs: list[RoundTrips] = []
    try:
        for turn in range(options.runs):
            runs.append(_run(options))
            if not options.json:
                print(_row(str(turn + 1), runs[-1]), flush=True)
    except (HubError, FleetError, DeviceError, OSError) as error:
        print(f"benchmarks.commands: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(_as_json(options, runs)))
    else:
        p50 = percentile(sorted(run.p50 for run in runs), 0.5)
        holds = "holds" if p50 < _WANTED_P50 else "does NOT hold"
        print(f"\nround trip p50 {p50:.2f} ms, wanted below {_WANTED_P50:g} ms: {holds}")
    for fault in (fault for run in runs for fault in run.faults):
        print(f"benchmarks.commands: {fault}", file=sys.stderr)
    return 1 if any(run.errors or not run.calls for run in runs) else 0


def _as_json(options: argparse.Namespace, runs: Sequence[RoundTrips]) -> dict[str, object]:
    workload = ("rate", "uplinks", "devices", "targets", "warmup", "seconds")
    return {
        "workload": {name: getattr(options, name) for name in workload},
        "versions": versions(),
        "machine": machine(),
        "cpus": os.cpu_count(),
        "runs": [asdict(run) for run in runs],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.commands",
        description="Measure commands: from a REST call to the device and back, beside devices that report.",
    )
    for flag, kind, default, lowest, highest, text in (
        ("--rate", float, 200.0, 0.1, 2_000, "calls a second; the hub lets one application make 2000"),
        ("--uplinks", float, 5_000.0, 0, 1_000_000, "reports a second beside them"),
        ("--devices", int, 500, 1, 10_000, "devices that report"),
        ("--targets", int, 50, 1, 10_000, "devices that values are sent to"),
        ("--runs", int, 1, 1, 1_000, "runs, each on a new database"),
        ("--seconds", float, 20.0, 0.1, 86_400, "time measured"),
        ("--warmup", float, 2.0, 0.1, 86_400, "time before that"),
    ):
        parser.add_argument(
            flag, type=number(kind, lowest, highest), default=default, metavar="N", help=f"{text} (default {default:g})"
        )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="put the database below DIR, not the temporary folder"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


if __name__ == "__main__":
    sys.exit(main())
