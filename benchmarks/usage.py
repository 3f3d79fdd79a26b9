"""Memory and descriptors of a hub over time: they may go up and down, and must not grow."""

from __future__ import annotations

from benchmarks.process import Process

__all__ = ["HEADER", "Usage"]

_MIB = 2**20

_DESCRIPTORS = 8
"""By how many descriptors the end may differ from the start: SQLite opens and closes a few of its own."""

HEADER = f"{'RSS MiB':>10}{'descriptors':>13}"


class Usage:
    """Samples of one process, the first of them the start that the others are compared with."""

    def __init__(self, process: Process | None) -> None:
        self._process = process
        self._samples: list[tuple[int, int]] = []
        self._opened: int | None = None

    def start_descriptors(self) -> None:
        """Compare descriptors with those of now, not with those of the first sample."""
        self._opened = None if self._process is None else self._process.descriptors()

    def sample(self) -> None:
        """Take one; where the system does not tell, none is taken."""
        if self._process is not None:
            resident, descriptors = self._process.resident_bytes(), self._process.descriptors()
            if resident is not None and descriptors is not None:
                self._samples.append((resident, descriptors))
                if self._opened is None:
                    self._opened = descriptors

    @property
    def descriptors_are_back(self) -> bool:
        """Whether no more descriptors are open now than at the start."""
        now = None if self._process is None else self._process.descriptors()
        return now is None or self._opened is None or now <= self._opened + _DESCRIPTORS

    def row(self) -> str:
        """The last sample, below `HEADER`."""
        if not self._samples:
            return f"{'-':>10}{'-':>13}"
        resident, descriptors = self._samples[-1]
        return f"{resident / _MIB:>10,.1f}{descriptors:>13,}"

    def summary(self) -> str:
        """Start and end in one line."""
        if not self._samples:
            return "memory and descriptors: this system does not tell"
        (first, _), (last, open_now) = self._samples[0], self._samples[-1]
        return (
            f"resident memory {first / _MIB:,.1f} MiB at the start, {last / _MIB:,.1f} MiB at the end; "
            f"descriptors {self._opened} and {open_now}"
        )

    def faults(self, growth: int) -> list[str]:
        """What grew, resident memory by more than so many bytes."""
        if not self._samples:
            return []
        (first, _), (last, open_now) = self._samples[0], self._samples[-1]
        opened = self._opened or 0
        faults = []
        if last - first > growth:
            faults.append(
                f"resident memory grew by {(last - first) / _MIB:,.1f} MiB, more than {growth / _MIB:,.1f} MiB"
            )
        if open_now - opened > _DESCRIPTORS:
            faults.append(f"{open_now - opened} more descriptors are open at the end than at the start")
        return faults
