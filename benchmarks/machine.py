"""Where a benchmark ran: versions, processors, the event loop."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path

__all__ = ["describe", "machine", "versions"]


def describe() -> str:
    """Versions and machine, a line each."""
    return f"{', '.join(f'{name} {version}' for name, version in versions().items())}\n{machine()}"


def versions() -> dict[str, str]:
    """What was measured, and what it runs on."""
    found = {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}
    for name in ("enos_ingest", "amqtt", "paho-mqtt", "uvloop"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def machine() -> str:
    """The system and its processors."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs ({processor})"
