"""The figures of one run, and what several have in common."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.fleet import Result

__all__ = ["HEADER", "Figures", "median_ratio", "median_run", "percentile", "row"]


@dataclass(frozen=True)
class Figures:
    """One run.

    Latencies in milliseconds from request to reply; `hub_cpu` and `generator_cpu` in percent of one processor,
    `hub_us` and `generator_us` in microseconds a message; `late` is how many milliseconds after it was due a request
    was sent, at worst.
    """

    messages_per_second: float
    points_per_second: float
    p50: float
    p99: float
    p999: float
    max: float
    not_200: int
    errors: int
    hub_cpu: float | None
    generator_cpu: float
    hub_us: float | None
    generator_us: float
    late: float
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: Result, points_a_message: int) -> Figures:
        """The figures of a result."""
        ordered = [1000 * latency for latency in sorted(result.latencies)] or [0.0]
        seconds, replies, hub = result.seconds, result.replies or 1, result.hub_cpu
        codes = tuple(f"{count} replies with the code {code}" for code, count in result.not_200.items())
        return cls(
            messages_per_second=result.replies / seconds,
            points_per_second=result.replies * points_a_message / seconds,
            p50=percentile(ordered, 0.50),
            p99=percentile(ordered, 0.99),
            p999=percentile(ordered, 0.999),
            max=ordered[-1],
            not_200=result.not_200.total(),
            errors=result.errors,
            hub_cpu=None if hub is None else 100 * hub / seconds,
            generator_cpu=100 * result.generator_cpu / seconds,
            hub_us=None if hub is None else 1e6 * hub / replies,
            generator_us=1e6 * result.generator_cpu / replies,
            late=1000 * result.late,
            faults=codes + tuple(result.faults),
        )

    @property
    def failed(self) -> bool:
        """Whether a reply was missing or wrong, or nothing was measured."""
        return bool(self.not_200 or self.errors or not self.messages_per_second)


def median_run(runs: Sequence[Figures]) -> Figures:
    """The run in the middle, by messages a second: figures of one and the same run fit each other."""
    return sorted(runs, key=lambda run: run.messages_per_second)[(len(runs) - 1) // 2]


def median_ratio(ours: Sequence[Figures], theirs: Sequence[Figures]) -> float:
    """The ratio in the middle of those of each pair of runs, which were made one after the other."""
    return statistics.median(
        one.messages_per_second / (other.messages_per_second or 1) for one, other in zip(ours, theirs, strict=True)
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which a share of ordered values lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


HEADER = (
    f"{'run':>24}   messages/s     points/s    p50 ms    p99 ms    max ms   not 200   errors"
    "   hub CPU   generator CPU   us a message: hub   generator"
)


def row(name: str, run: Figures) -> str:
    """A line of figures below `HEADER`."""
    cpu = "-" if run.hub_cpu is None else f"{run.hub_cpu:.0f} %"
    cost = "-" if run.hub_us is None else f"{run.hub_us:.1f}"
    return (
        f"{name:>24}{run.messages_per_second:>13,.0f}{run.points_per_second:>13,.0f}{run.p50:>10.1f}{run.p99:>10.1f}"
        f"{run.max:>10.1f}{run.not_200:>10}{run.errors:>9}{cpu:>10}{f'{run.generator_cpu:.0f} %':>16}"
        f"{cost:>20}{run.generator_us:>12.1f}"
    )
