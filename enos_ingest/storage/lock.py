"""One hub to a database: a second one would take away what the first one's fold is about to put in its place."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from enos_ingest.errors import StorageError

__all__ = ["Lock"]

PATIENCE_SECONDS = 3.0
"""How long the lock is waited for: the store's process of a hub that was killed takes a moment to end."""

_LOOK_SECONDS = 0.02


class Lock:
    """Holds a database for one writer until `close`, or the end of the process, however it comes.

    A file beside the database, empty and never removed: a lock on the database itself would be in SQLite's way.

    Raises:
        StorageError: another hub holds it, or the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        file = Path(f"{path}-lock")
        try:
            self._descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{file} cannot be made: {error.strerror or error}") from error
        try:
            self._acquire(path, file)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _acquire(self, path: Path, file: Path) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    # A stopped process outlives its hub, and so does one that waits for its disk.
                    msg = (
                        f"database {path} is in use by another hub: stop that one first, "
                        f"or what is left of it, which `fuser {file}` names"
                    )
                    raise StorageError(msg) from None
                time.sleep(_LOOK_SECONDS)  # nothing tells that a lock is free, but for waiting without end
            except OSError as error:
                raise StorageError(f"{file} cannot be locked: {error.strerror or error}") from error
            else:
                return

    def close(self) -> None:
        """Let others have the database."""
        os.close(self._descriptor)
