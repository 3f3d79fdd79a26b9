"""A hub that stores nothing, to see what all the rest costs: `python -m benchmarks.null_store -c FILE`.

It answers 200 without a commit, so it is no way to run a hub, and no flag or setting of `enos-ingest` leads here.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from enos_ingest.cli.serve import run_service
from enos_ingest.config import load_settings
from enos_ingest.errors import StorageError
from enos_ingest.logs import configure_logging
from enos_ingest.outcome import Record
from enos_ingest.service import Service
from enos_ingest.storage.store import WriterStats

__all__ = ["NullWriter", "main"]


class NullWriter:
    """Calls every record done at the end of the loop's turn, as a writer does that commits at once; keeps none."""

    def __init__(self, path: Path, **_: object) -> None:
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Callable[[StorageError | None], None]] = []

    def commit(self, record: Record, done: Callable[[StorageError | None], None]) -> None:  # noqa: ARG002
        """Say that the record is stored, in its turn."""
        if not self._waiting:
            self._loop.call_soon(self._tell)
        self._waiting.append(done)

    def stats(self) -> WriterStats:
        """Nothing, whatever there is to count."""
        return WriterStats._make(None if name.endswith("failure") else 0 for name in WriterStats._fields)

    async def close(self) -> None:
        """Tell those who wait."""
        self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(None)


def main() -> None:
    """Run the hub until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.null_store", description=__doc__)
    parser.add_argument("-c", dest="config", type=Path, required=True, metavar="FILE", help="its configuration")
    settings = load_settings(parser.parse_args().config, {}, {})
    configure_logging(settings.log.level, settings.log.format)
    sys.exit(run_service(settings, functools.partial(Service, open_writer=NullWriter)))


if __name__ == "__main__":
    main()
