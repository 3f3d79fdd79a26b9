"""How a process has ended, in words."""

from __future__ import annotations

import signal

__all__ = ["how_ended"]


def how_ended(code: int) -> str:
    """`exit code 3`, `SIGSEGV`, or `signal 34` for one of the many without a name; `code` as `subprocess` has it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
