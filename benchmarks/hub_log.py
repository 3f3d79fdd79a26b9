"""The log of a hub that runs: what in it must not be there."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["HubLog"]

_LEVELS = ("error", "critical")


class HubLog:
    """A file of JSON lines that grows.

    Attributes:
        lines: how many were read so far.
    """

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self._path = path
        self._read = 0
        self._rest = b""

    def faults(self) -> list[str]:
        """The lines written since the last call that tell of an error or an exception, or are no log lines at all.

        A line that is not at its end yet belongs to the next call.
        """
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += len(lines)
        return [f"the hub's log: {line.decode('utf-8', 'replace')}" for line in lines if _is_fault(line)]


def _is_fault(line: bytes) -> bool:
    try:
        found = json.loads(line)
        return found["level"] in _LEVELS or "exception" in found
    except (ValueError, KeyError, TypeError):
        return True
