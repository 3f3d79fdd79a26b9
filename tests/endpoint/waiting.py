"""Waiting for what another thread brings about."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["DEADLINE", "eventually"]

DEADLINE = 60.0
"""Seconds until a test gives up: no measure of speed, only the end of patience."""

_PAUSE = 0.01


def eventually(condition: Callable[[], object]) -> None:
    """Look until a condition holds; TimeoutError if it never does."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the condition never came true")
        time.sleep(_PAUSE)  # the hub, in a thread or process of its own, tells nobody
