"""What a process uses of the machine, with the processes that it has started; read from /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["Process"]

_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A process by its id. Every figure is None where there is no /proc, or no such process any more."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def cpu_seconds(self) -> float | None:
        """Processor time, of the process and of those below it."""
        return _sum(_cpu_seconds(pid) for pid in self._family())

    def resident_bytes(self) -> int | None:
        """Resident memory, likewise."""
        found = _sum(_resident_bytes(pid) for pid in self._family())
        return None if found is None else int(found)

    def descriptors(self) -> int | None:
        """Open files and sockets of the process alone."""
        try:
            return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())
        except OSError:
            return None

    def _family(self) -> list[int]:
        family = [self.pid]
        for pid in family:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    family += map(int, (task / "children").read_text().split())
        return family


def _sum(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None


def _cpu_seconds(pid: int) -> float | None:
    try:
        # The name in brackets may hold blanks; utime and stime are the 14th and 15th field of all.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_bytes(pid: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
