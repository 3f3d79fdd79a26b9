"""What joins the writer in the event loop to its engine: here to one in a thread of this process."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

from enos_ingest.storage.engine import Engine, Inlet, Opened, Word
from enos_ingest.storage.group import Group
from enos_ingest.storage.quarantine import Bounds

__all__ = ["Ended", "Hear", "Link", "ThreadLink"]

Hear: TypeAlias = Callable[[Word], None]
"""Is told in the event loop what the engine says."""

Ended: TypeAlias = Callable[[str | None], None]
"""Is told in the event loop that the engine has ended: None after `close`, else how it came to it. Nothing is heard
of it afterwards."""


class Link(Protocol):
    """An engine from outside. Made in a running event loop; making it blocks until the database is open.

    Raises (when it is made):
        StorageError: the database cannot be opened or written.
    """

    opened: Opened

    def send(self, group: Group) -> None:
        """Hand a group in, which belongs to the engine from now on; one that comes after its end is dropped."""
        ...

    def close(self) -> None:
        """Ask for the end, once what was handed in is committed."""
        ...

    def join(self) -> None:
        """Wait for the last moment of an engine that has said that it ended."""
        ...


class _Queue(Inlet):
    """Groups from another thread; None after the last."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: queue.SimpleQueue[Group | None] = queue.SimpleQueue()

    def _next(self, timeout: float | None) -> Group | None:
        try:
            group = self.groups.get(timeout=timeout)
        except queue.Empty:
            return None
        self.ended = group is None
        return group


class ThreadLink:
    """An engine in a thread. It shares the interpreter's lock with the event loop, and needs no start of Python."""

    def __init__(self, path: Path, bounds: Bounds, hear: Hear, ended: Ended) -> None:
        self._loop = asyncio.get_running_loop()
        self._hear = hear
        self._ended = ended
        self._inlet = _Queue()
        self.engine = Engine(path, bounds, self._inlet, self._say)
        self.opened = self.engine.opened
        # A daemon, so that a program that ends without `close` ends; SQLite then recovers at the next start.
        self._thread = threading.Thread(target=self._run, name="enos-ingest-writer", daemon=True)
        self._thread.start()

    def send(self, group: Group) -> None:
        """Hand a group in."""
        self._inlet.groups.put(group)

    def close(self) -> None:
        """Ask for the end."""
        self._inlet.groups.put(None)

    def join(self) -> None:
        """Wait for the end of the thread."""
        self._thread.join()

    # The thread.

    def _run(self) -> None:
        reason: str | None = "its thread failed, see above"
        try:
            self.engine.run()
            reason = None
        finally:
            self._call(self._ended, reason)

    def _say(self, word: Word) -> None:
        self._call(self._hear, word)

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop was closed without awaiting `close`: nobody is left to be told, and nobody is answered.
            if not self._loop.is_closed():
                raise
