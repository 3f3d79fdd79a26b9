"""How many uplinks a hub takes: authenticated devices, QoS 1, from request to reply, each reply after its commit.

    python -m benchmarks.uplinks --devices 20 --window 10 --points 3
    python -m benchmarks.uplinks --batch 200

Without --url it starts the hub of this checkout as a process of its own. To measure one that runs elsewhere:

    python -m benchmarks.uplinks --devices 20 --write-registry bench.toml
    enos-ingest registry apply bench.toml                       # where the hub runs
    python -m benchmarks.uplinks --devices 20 --url HOST:1883 --registry bench.toml

Ends with 1 where a reply was missing or had a code other than 200.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import json
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.fleet import Fleet, FleetError
from benchmarks.hub import Account, Hub, HubError, make_registry, read_registry, run_hub
from benchmarks.reports import POINTS, Reports
from enos_ingest.sockets import Bind

__all__ = ["main"]


@dataclass(frozen=True)
class Figures:
    """One run. Latencies in milliseconds from request to reply; CPU in percent of one processor."""

    messages_per_second: float
    points_per_second: float
    p50: float
    p99: float
    max: float
    not_200: int
    errors: int
    hub_cpu: float | None
    generator_cpu: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workload and print what was measured."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if bool(options.url) != bool(options.registry):
        parser.error("--url and --registry go together")
    try:
        if options.write_registry:
            options.write_registry.write_text(make_registry(options.devices), "utf-8")
            print(f"{options.devices} devices are in {options.write_registry}; apply it where the hub runs")
            return 0
        if not options.json:
            print(_describe(options), end="\n\n", flush=True)
        figures = [_measure(options, number) for number in range(options.runs)]
    except (HubError, FleetError, OSError) as error:
        print(f"benchmarks.uplinks: {error}", file=sys.stderr)
        return 1
    median = _median(figures)
    if options.json:
        print(json.dumps(_as_json(options, figures, median)))
    elif len(figures) > 1:
        print(_row("median", median))
    return 1 if any(run.not_200 or run.errors or not run.messages_per_second for run in figures) else 0


def _measure(options: argparse.Namespace, number: int) -> Figures:
    """One run, on a hub and a database of its own unless --url names another."""
    with _hub(options) as (hub, accounts), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        figures = runner.run(_run(options, hub, accounts))
    if not options.json:
        if number == 0:
            print(_HEADER)
        print(_row(str(number + 1), figures), flush=True)
    return figures


@contextlib.contextmanager
def _hub(options: argparse.Namespace) -> Iterator[tuple[Hub, list[Account]]]:
    if options.url:
        yield (
            Hub(options.url.host, options.url.port, None),
            read_registry(options.registry.read_text("utf-8"), options.devices),
        )
        return
    with tempfile.TemporaryDirectory(prefix="enos-ingest-bench-", dir=options.folder) as folder:
        registry = make_registry(options.devices)
        with run_hub(Path(folder), registry) as hub:
            yield hub, read_registry(registry, options.devices)


async def _run(options: argparse.Namespace, hub: Hub, accounts: list[Account]) -> Figures:
    reports = Reports(options.points, options.batch)
    fleet = Fleet(accounts, options.window, reports)
    await fleet.connect(hub.host, hub.port)
    before, during = None, None

    async def watch_hub() -> None:
        nonlocal before, during
        await asyncio.sleep(options.warmup)
        before = await asyncio.to_thread(hub.cpu_seconds)
        await asyncio.sleep(options.seconds)
        during = await asyncio.to_thread(hub.cpu_seconds)

    result, _ = await asyncio.gather(fleet.run(options.warmup, options.seconds), watch_hub())
    fleet.close()
    rate = result.replies / result.seconds
    latencies = sorted(1000 * latency for latency in result.latencies) or [0.0]
    return Figures(
        messages_per_second=rate,
        points_per_second=rate * reports.points_a_message,
        p50=_percentile(latencies, 0.50),
        p99=_percentile(latencies, 0.99),
        max=latencies[-1],
        not_200=sum(count for code, count in result.codes.items() if code != b"200"),
        errors=result.errors,
        hub_cpu=None if before is None or during is None else 100 * (during - before) / options.seconds,
        generator_cpu=100 * result.generator_seconds / result.seconds,
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _median(figures: Sequence[Figures]) -> Figures:
    """The run in the middle, by messages a second: figures of one and the same run fit each other."""
    ordered = sorted(figures, key=lambda run: run.messages_per_second)
    return ordered[len(ordered) // 2] if len(ordered) % 2 else ordered[len(ordered) // 2 - 1]


_HEADER = "   run   messages/s     points/s    p50 ms    p99 ms    max ms   not 200   errors   hub CPU   generator CPU"


def _row(name: str, run: Figures) -> str:
    cpu = "-" if run.hub_cpu is None else f"{run.hub_cpu:.0f} %"
    return (
        f"{name:>6}{run.messages_per_second:>13,.0f}{run.points_per_second:>13,.0f}{run.p50:>10.1f}{run.p99:>10.1f}"
        f"{run.max:>10.1f}{run.not_200:>10}{run.errors:>9}{cpu:>10}{f'{run.generator_cpu:.0f} %':>16}"
    )


def _describe(options: argparse.Namespace) -> str:
    what = f"resume/batch of {options.batch} items of" if options.batch else "resume of"
    return (
        f"{', '.join(f'{name} {version}' for name, version in _versions().items())}\n"
        f"{_machine()}\n"
        f"{options.devices} devices, each {options.window} requests open, QoS 1, {what} {options.points} points; "
        f"{options.warmup:g} s to warm up, {options.seconds:g} s measured"
    )


def _versions() -> dict[str, str]:
    names = ("enos_ingest", "amqtt", "paho-mqtt", "uvloop")
    versions = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _machine() -> str:
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs ({processor})"


def _as_json(options: argparse.Namespace, figures: Sequence[Figures], median: Figures) -> dict[str, object]:
    workload = ("devices", "window", "batch", "points", "seconds", "warmup")
    return {
        "workload": {name: getattr(options, name) for name in workload},
        "url": str(options.url) if options.url else None,
        "versions": _versions(),
        "machine": _machine(),
        "cpus": os.cpu_count(),
        "runs": [asdict(run) for run in figures],
        "median": asdict(median),
    }


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.uplinks",
        description="Measure uplinks: authenticated devices, QoS 1, from request to reply.",
    )
    for flag, default, lowest, text in (
        ("--devices", 20, 1, "connections, each a device"),
        ("--window", 10, 1, "requests that each keeps open"),
        ("--batch", 0, 0, "items of a resume/batch message; 0 for resume"),
        ("--points", 3, 1, f"points of an item, up to {len(POINTS)}"),
        ("--runs", 1, 1, "runs, each on a new database"),
    ):
        highest = len(POINTS) if flag == "--points" else 100_000
        number = _number(int, lowest, highest)
        parser.add_argument(flag, default=default, type=number, metavar="N", help=f"{text} (default {default})")
    for flag, seconds, text in (("--seconds", 10.0, "time measured"), ("--warmup", 2.0, "time before that")):
        number = _number(float, 0.1, 86_400)
        parser.add_argument(flag, default=seconds, type=number, metavar="S", help=f"{text} (default {seconds:g})")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="put the database below DIR, not the temporary folder"
    )
    parser.add_argument("--url", type=_address, metavar="HOST:PORT", help="measure a hub that runs; needs --registry")
    parser.add_argument("--registry", type=Path, metavar="FILE", help="the devices of that hub")
    parser.add_argument("--write-registry", type=Path, metavar="FILE", help="write such a file, and end")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _address(text: str) -> Bind:
    try:
        return Bind.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {error}") from None


def _number(kind: type[int | float], lowest: float, highest: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(lowest) - 1
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest:g} to {highest:g}")
        return value

    return parse


if __name__ == "__main__":
    sys.exit(main())
