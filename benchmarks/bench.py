"""A bench: starts servers, runs fleets against them in turn, and collects what was found."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.accounts import Account, make_registry, read_registry
from benchmarks.figures import HEADER, Figures, row
from benchmarks.fleet import Fleet
from benchmarks.hub import Hub
from benchmarks.reports import Reports
from benchmarks.servers import Server
from enos_ingest.cli.serve import loop_factory

__all__ = ["Bench", "BenchError", "Finding", "Options", "Workload"]

T = TypeVar("T")


class BenchError(Exception):
    """Something was missing or wrong, so that figures would mean nothing."""


@dataclass(frozen=True)
class Options:
    """How long and how often; seconds of each run, of the warm-up before it, and of the runs that need a minute.

    Args:
        scale: what counts of devices and stored points are multiplied with, 1 for the real table.
        main_job: an older checkout to compare with.
        folder: where databases go, None for the temporary folder.
    """

    runs: int
    seconds: float
    warmup: float
    long_seconds: float
    scale: float = 1.0
    main_job: Path | None = None
    folder: Path | None = None
    quiet: bool = False

    def scaled(self, count: int) -> int:
        """A count of devices or points, at least two."""
        return max(2, round(count * self.scale))


@dataclass(frozen=True)
class Workload:
    """What a fleet does in a closed loop."""

    devices: int
    window: int
    batch: int = 0
    points: int = 3

    def reports(self) -> Reports:
        """The messages, from now on."""
        return Reports(self.points, self.batch)


@dataclass(frozen=True)
class Finding:
    """A line of the table: what was measured, what is wanted, and whether that holds.

    `measured` is None where this system does not tell, `holds` also where nothing is wanted.
    """

    row: str
    what: str
    measured: float | None
    text: str
    wanted: str
    holds: bool | None


@dataclass
class Bench:
    """One run of the table."""

    options: Options
    findings: list[Finding] = field(default_factory=list)
    runs: dict[str, dict[str, list[dict[str, object]]]] = field(default_factory=dict)
    failed: bool = False

    def say(self, text: str) -> None:
        """Print a line for people."""
        if not self.options.quiet:
            print(text, flush=True)

    def at_least(self, row: str, what: str, measured: float | None, bound: float, form: str = "{:,.0f}") -> None:
        """Note a figure that must not be lower."""
        self._note(
            row, what, measured, form, f"at least {form.format(bound)}", measured is not None and measured >= bound
        )

    def at_most(self, row: str, what: str, measured: float | None, bound: float, form: str = "{:,.1f}") -> None:
        """Note a figure that must not be higher."""
        self._note(
            row, what, measured, form, f"at most {form.format(bound)}", measured is not None and measured <= bound
        )

    def report(self, row: str, what: str, measured: float | None, form: str = "{:,.1f}") -> None:
        """Note a figure of which nothing is wanted."""
        self._note(row, what, measured, form, "", None)

    def fault(self, row: str, sentence: str) -> None:
        """Note that a row could not be measured."""
        self.failed = True
        self.findings.append(Finding(row, f"not measured: {sentence}", None, "", "", holds=False))

    def run(
        self,
        server: Server,
        devices: int,
        work: Callable[[Hub, list[Account]], Coroutine[Any, Any, T]],
        prepare: Callable[[Path], None] | None = None,
    ) -> T:
        """Do some work with a new server, in an event loop.

        Args:
            devices: how many the server's registry has.
            prepare: puts something into the server's folder before it starts.
        """
        with tempfile.TemporaryDirectory(prefix="enos-ingest-bench-", dir=self.options.folder) as name:
            folder = Path(name)
            registry = make_registry(devices)
            if prepare is not None:
                prepare(folder)
            with (
                server.start(folder, registry) as hub,
                asyncio.Runner(loop_factory=loop_factory()) as runner,
            ):
                return runner.run(work(hub, read_registry(registry, devices)))

    def in_turn(self, title: str, variants: Mapping[str, Callable[[], Figures]]) -> dict[str, list[Figures]]:
        """Measure each variant once, then each again, and so on: what disturbs the machine disturbs all alike.

        Raises:
            BenchError: a reply was missing or wrong.
        """
        self.say(f"\n{title}\n{HEADER}")
        found: dict[str, list[Figures]] = {name: [] for name in variants}
        for turn in range(self.options.runs):
            for name, measure in variants.items():
                figures = measure()
                found[name].append(figures)
                self.say(row(f"{name} {turn + 1}", figures))
                if figures.failed:
                    raise BenchError(f"{name}: {'; '.join(figures.faults[:3]) or 'nothing was answered'}")
        self.runs[title] = {name: [asdict(figures) for figures in runs] for name, runs in found.items()}
        return found

    def closed(self, server: Server, workload: Workload, prepare: Callable[[Path], None] | None = None) -> Figures:
        """One run of a closed loop."""

        async def work(hub: Hub, accounts: list[Account]) -> Figures:
            reports = workload.reports()
            fleet = Fleet(reports, cpu=hub.cpu_seconds)
            await fleet.connect(accounts, hub.host, hub.port)
            result = await fleet.run(workload.window, self.options.warmup, self.options.seconds)
            fleet.close()
            return Figures.of(result, reports.points_a_message)

        return self.run(server, workload.devices, work, prepare)

    def _note(self, row: str, what: str, measured: float | None, form: str, wanted: str, holds: bool | None) -> None:
        known = measured is not None
        text = form.format(measured) if known else "-"
        self.findings.append(Finding(row, what, measured, text, wanted, holds if known else None))
