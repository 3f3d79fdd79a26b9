"""The whole table of what the front door must hold, in one run: `python -m benchmarks.front_door`.

    python -m benchmarks.front_door                                   # half an hour, on a machine that is idle
    python -m benchmarks.front_door --rows busy,storm --runs 3
    python -m benchmarks.front_door --main-job ../main-job            # a checkout of an older version

What is compared is measured in turn (A, B, A, B, ...), each time on a new database; a figure is the median of the
runs, a ratio the median of the pairs'. Ends with 1 where a reply was missing or wrong; a figure that does not hold
is marked in the table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from benchmarks.bench import Bench, BenchError, Finding, Options
from benchmarks.connections import idle, storm
from benchmarks.flags import checkout, number
from benchmarks.fleet import FleetError
from benchmarks.hub import HubError
from benchmarks.latency import offered
from benchmarks.machine import describe, machine, versions
from benchmarks.rates import batches, busy, many, stored

__all__ = ["ROWS", "main"]

ROWS: Mapping[str, Callable[[Bench], None]] = MappingProxyType(
    {"busy": busy, "many": many, "idle": idle, "storm": storm, "batches": batches, "offered": offered, "stored": stored}
)
"""What measures each row, by the row's name on the command line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows and print the table."""
    given = _parser().parse_args(arguments)
    options = Options(
        runs=given.runs,
        seconds=given.seconds,
        warmup=given.warmup,
        long_seconds=given.long_seconds,
        scale=given.scale,
        main_job=given.main_job,
        folder=given.folder,
        quiet=given.json,
    )
    bench = Bench(options)
    bench.say(describe())
    bench.say(
        f"medians of {options.runs} runs of {options.seconds:g} s after {options.warmup:g} s to warm up, "
        f"of {options.long_seconds:g} s for batches and offered"
    )
    for name in given.rows:
        try:
            ROWS[name](bench)
        except (BenchError, HubError, FleetError, OSError) as error:
            print(f"benchmarks.front_door: {name}: {error}", file=sys.stderr)
            bench.fault(name, str(error))
    print(json.dumps(_as_json(bench, given.rows)) if given.json else _table(bench.findings))
    return 1 if bench.failed else 0


def _table(findings: Sequence[Finding]) -> str:
    """The findings as a table of Markdown."""
    lines = ["", "| workload | figure | measured | wanted | holds |", "|---|---|---:|---|---|"]
    before = ""
    for finding in findings:
        holds = "" if finding.holds is None else "yes" if finding.holds else "**NO**"
        row = "" if finding.row == before else finding.row
        lines.append(f"| {row} | {finding.what} | {finding.text} | {finding.wanted} | {holds} |")
        before = finding.row
    return "\n".join(lines)


def _as_json(bench: Bench, rows: Sequence[str]) -> dict[str, object]:
    options = bench.options
    return {
        "rows": list(rows),
        "options": {name: getattr(options, name) for name in ("runs", "seconds", "warmup", "long_seconds", "scale")},
        "versions": versions(),
        "machine": machine(),
        "cpus": os.cpu_count(),
        "runs": bench.runs,
        "findings": [asdict(finding) for finding in bench.findings],
        "failed": bench.failed,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.front_door",
        description="Measure the hub against what its front door must hold.",
    )
    parser.add_argument(
        "--rows",
        type=_rows,
        default=list(ROWS),
        metavar="NAME,...",
        help=f"only these: {', '.join(ROWS)} (default: all)",
    )
    parser.add_argument(
        "--runs", type=number(int, 1, 1000), default=5, metavar="N", help="runs of each variant (default 5)"
    )
    for flag, seconds, text in (
        ("--seconds", 10.0, "time measured in a run"),
        ("--warmup", 2.0, "time before that"),
        ("--long-seconds", 60.0, "time measured for batches and offered, which need some folds"),
    ):
        parser.add_argument(
            flag, type=number(float, 0.1, 86_400), default=seconds, metavar="S", help=f"{text} (default {seconds:g})"
        )
    parser.add_argument(
        "--scale",
        type=number(float, 0.0001, 10),
        default=1.0,
        metavar="X",
        help="multiply devices, rates and stored points, to try the command itself (default 1)",
    )
    parser.add_argument(
        "--main-job", type=checkout, metavar="DIR", help="a checkout of an older version to compare with"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="put databases below DIR, not the temporary folder")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _rows(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in ROWS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(ROWS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
