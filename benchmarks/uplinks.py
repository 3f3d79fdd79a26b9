"""How many uplinks a hub takes: authenticated devices, QoS 1, from request to reply, each reply after its commit.

    python -m benchmarks.uplinks --devices 20 --window 10 --points 3
    python -m benchmarks.uplinks --batch 200

Without --url it starts the hub of this checkout as a process of its own. To measure one that runs elsewhere:

    python -m benchmarks.uplinks --devices 20 --write-registry bench.toml
    enos-ingest registry apply bench.toml                       # where the hub runs
    python -m benchmarks.uplinks --devices 20 --url HOST:1883 --registry bench.toml

Ends with 1 where a reply was missing or wrong, or had a code other than 200.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.accounts import Account, AccountsError, make_registry, read_registry
from benchmarks.figures import HEADER, Figures, median_run, row
from benchmarks.flags import checkout, number
from benchmarks.fleet import Fleet, FleetError
from benchmarks.hub import HERE, Hub, HubError, run_hub
from benchmarks.machine import describe, machine, versions
from benchmarks.reports import POINTS, Reports
from enos_ingest.cli.serve import loop_factory
from enos_ingest.sockets import Bind

__all__ = ["main"]


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
            print(f"{describe()}\n{_workload(options)}", end="\n\n", flush=True)
        figures = [_measure(options, turn) for turn in range(options.runs)]
    except (AccountsError, HubError, FleetError, OSError) as error:
        print(f"benchmarks.uplinks: {error}", file=sys.stderr)
        return 1
    median = median_run(figures)
    if options.json:
        print(json.dumps(_as_json(options, figures, median)))
    elif len(figures) > 1:
        print(row("median", median))
    for fault in (fault for run in figures for fault in run.faults):
        print(f"benchmarks.uplinks: {fault}", file=sys.stderr)
    return 1 if any(run.failed for run in figures) else 0


def _measure(options: argparse.Namespace, turn: int) -> Figures:
    """One run, on a hub and a database of its own unless --url names another."""
    with _hub(options) as (hub, accounts), asyncio.Runner(loop_factory=loop_factory()) as runner:
        figures = runner.run(_run(options, hub, accounts))
    if not options.json:
        if turn == 0:
            print(HEADER)
        print(row(str(turn + 1), figures), flush=True)
    return figures


@contextlib.contextmanager
def _hub(options: argparse.Namespace) -> Iterator[tuple[Hub, list[Account]]]:
    if options.url:
        yield (
            Hub(options.url.host, options.url.port),
            read_registry(options.registry.read_text("utf-8"), options.devices),
        )
        return
    with tempfile.TemporaryDirectory(prefix="enos-ingest-bench-", dir=options.folder) as folder:
        registry = make_registry(options.devices)
        with run_hub(Path(folder), registry, checkout=options.checkout) as hub:
            yield hub, read_registry(registry, options.devices)


async def _run(options: argparse.Namespace, hub: Hub, accounts: list[Account]) -> Figures:
    reports = Reports(options.points, options.batch)
    fleet = Fleet(reports, reply_qos=options.reply_qos, cpu=hub.cpu_seconds)
    await fleet.connect(accounts, hub.host, hub.port)
    result = await fleet.run(options.window, options.warmup, options.seconds)
    fleet.close()
    return Figures.of(result, reports.points_a_message)


def _workload(options: argparse.Namespace) -> str:
    what = f"resume/batch of {options.batch} items of" if options.batch else "resume of"
    return (
        f"{options.devices} devices, each {options.window} requests open, QoS 1, {what} {options.points} points; "
        f"{options.warmup:g} s to warm up, {options.seconds:g} s measured"
    )


def _as_json(options: argparse.Namespace, figures: Sequence[Figures], median: Figures) -> dict[str, object]:
    workload = ("devices", "window", "batch", "points", "seconds", "warmup")
    return {
        "workload": {name: getattr(options, name) for name in workload},
        "url": str(options.url) if options.url else None,
        "versions": versions(),
        "machine": machine(),
        "cpus": os.cpu_count(),
        "runs": [asdict(run) for run in figures],
        "median": asdict(median),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.uplinks",
        description="Measure uplinks: authenticated devices, QoS 1, from request to reply.",
    )
    for flag, default, lowest, highest, text in (
        ("--devices", 20, 1, 100_000, "connections, each a device"),
        ("--window", 10, 1, 1_000, "requests that each keeps open"),
        ("--batch", 0, 0, 100_000, "items of a resume/batch message; 0 for resume"),
        ("--points", 3, 1, len(POINTS), f"points of an item, up to {len(POINTS)}"),
        ("--runs", 1, 1, 100_000, "runs, each on a new database"),
        ("--reply-qos", 1, 0, 1, "QoS of the subscriptions to the replies"),
    ):
        parser.add_argument(
            flag, default=default, type=number(int, lowest, highest), metavar="N", help=f"{text} (default {default})"
        )
    for flag, seconds, text in (("--seconds", 10.0, "time measured"), ("--warmup", 2.0, "time before that")):
        parser.add_argument(
            flag, default=seconds, type=number(float, 0.1, 86_400), metavar="S", help=f"{text} (default {seconds:g})"
        )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="put the database below DIR, not the temporary folder"
    )
    parser.add_argument(
        "--checkout", type=checkout, default=HERE, metavar="DIR", help="start the hub of another checkout"
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


if __name__ == "__main__":
    sys.exit(main())
