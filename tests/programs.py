"""Programs of the machine that tests need, and which of them are missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping

__all__ = ["PACKAGES", "closing_line", "install_hint", "missing"]

PACKAGES: Mapping[str, str] = {
    "bash": "bash",
    "curl": "curl",
    "mosquitto": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "mosquitto_rr": "mosquitto-clients",
    "mosquitto_sub": "mosquitto-clients",
    "openssl": "openssl",
}
"""The Debian package that each program comes with; a test may need no other."""


def missing(programs: Iterable[str]) -> list[str]:
    """The programs that are not on PATH; KeyError for one whose package is not known here."""
    return [program for program in programs if PACKAGES[program] and shutil.which(program) is None]


def install_hint(programs: Iterable[str]) -> str:
    """How to get the programs, for people."""
    return "apt install " + " ".join(sorted({PACKAGES[program] for program in programs}))


def closing_line(tests: int, programs: Iterable[str]) -> str:
    """What the end of a run says about the tests that it could not run."""
    names = sorted(set(programs))
    noun = "test that needs" if tests == 1 else "tests that need"
    return f"not run: {tests} {noun} {', '.join(names)} ({install_hint(names)})"
