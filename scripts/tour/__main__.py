"""`python -m scripts.tour`."""

from __future__ import annotations

import signal
import sys


def run() -> int:
    """Run the tour; until it can end in order, Ctrl-C just ends the process, without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from scripts.tour.program import main  # noqa: PLC0415 - imports take long enough for somebody to press Ctrl-C

    return main()


sys.exit(run())
