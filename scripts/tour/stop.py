"""Ctrl-C, at any moment, without a traceback."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

__all__ = ["Stop", "Stopped"]

_LOOK_SECONDS = 0.1


class Stopped(Exception):  # noqa: N818 - a wish, not an error
    """Somebody asked the tour to end."""


class Stop:
    """Notes that somebody asked to stop; the tour looks at it between its steps and while it waits.

    A plain flag: setting a `threading.Event` in a signal handler can lock up the thread that waits for it.

    Args:
        at_once: called when somebody asks a second time; the process then ends where it is.
    """

    def __init__(self, at_once: Callable[[], None]) -> None:
        self._asked = False
        self._at_once = at_once

    def listen(self) -> None:
        """Take Ctrl-C, the end of the terminal, and SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def check(self) -> None:
        """Raise `Stopped` if somebody has asked."""
        if self._asked:
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Let time pass; raise `Stopped` if somebody asks."""
        deadline = time.monotonic() + seconds
        self.check()
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))  # a handler of signals may only note them, and wakes nobody
            self.check()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._asked:
            self._at_once()
            os._exit(128 + number)
        self._asked = True
