"""An engine in a process of its own: it has an interpreter to itself, and commits while the event loop is busy.

The process lives as long as the hub. Where it dies, by a kill or for want of memory, what it had not answered for stays
without an answer and the hub ends: what is not certain to be stored is sent again by the devices. Where the hub dies,
it drops what it has not committed, which nobody was answered for either, and ends. Where it is asked to end and does
not, stopped by somebody or held by its disk, it is killed: SQLite recovers at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from enos_ingest.errors import EnosIngestError, StorageError
from enos_ingest.exits import how_ended
from enos_ingest.logs import get_logger
from enos_ingest.storage.engine import Engine, Inlet, Opened, Word
from enos_ingest.storage.frames import Frames, to_frame
from enos_ingest.storage.group import Group
from enos_ingest.storage.link import Ended, Hear
from enos_ingest.storage.quarantine import Bounds

__all__ = ["ProcessLink", "main"]

log = get_logger(__name__)

_START_SECONDS = 60.0
"""Starting Python takes 0.1 s; a database that was not closed may have a long log to read."""

_END_SECONDS = 20.0
"""How long a process that was asked to end may say nothing: a last commit and the whole log on a slow disk."""

_READ_BYTES = 256 * 1024

_ENDED = (BrokenPipeError, ConnectionResetError)
"""What sending raises where the other end is no more; what it has said before can still be read, and then its end."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A terminal's Ctrl-C and a supervisor's SIGTERM reach both processes. The hub's then drains, and needs its store."""

# Our package from where it is imported here, and from nowhere else: both sides must be of one version. Its folder may
# hold anything, so nothing else is looked for there.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import enos_ingest
del sys.path[0]
from enos_ingest.storage.process import main
main()
"""
_ROOT = Path(__file__).parents[2]

_COLLECT = 5_000, 50, 50
"""Objects made and not freed until the collector looks for cyclic garbage among them, and how often among older ones.
Points are in no cycle, and it finds that out once for each: a millisecond for so many, which a commit may have to wait
for."""


class ProcessLink:
    """An engine in another process, from the hub's side."""

    def __init__(self, path: Path, bounds: Bounds, hear: Hear, ended: Ended) -> None:
        self._loop = asyncio.get_running_loop()
        self._hear = hear
        self._ended = ended
        self._frames = Frames()
        self._unsent: deque[memoryview] = deque()
        self._closed = False
        self._deadline: asyncio.TimerHandle | None = None
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-c", PROGRAM, str(_ROOT), str(theirs.fileno()), str(path)]
            try:
                with _signals_blocked():
                    self._process = subprocess.Popen(  # noqa: S603 - ourselves
                        [*command, *map(str, bounds)], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                    )
            except OSError as error:
                self._socket.close()
                raise StorageError(f"the store's process cannot start: {sys.executable}: {error.strerror}") from error
        try:
            self.opened, said = self._await_start()
        except BaseException:
            self._socket.close()
            self._process.kill()
            self._process.wait()
            raise
        self._socket.setblocking(False)
        # It may have begun to fold by now.
        for word in said:
            self._loop.call_soon(self._hear, word)
        self._loop.add_reader(self._socket, self._readable)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def send(self, group: Group) -> None:
        """Hand a group in."""
        self._say(group)

    def close(self) -> None:
        """Ask for the end."""
        self._closed = True
        self._say(None)
        self._expect_end()

    def join(self) -> None:
        """Wait for the end of the process."""
        self._process.wait()

    def _await_start(self) -> tuple[Opened, list[Word]]:
        """What the database holds, and what the process has said since."""
        self._socket.settimeout(_START_SECONDS)
        try:
            while data := self._socket.recv(_READ_BYTES):
                match self._frames.feed(data):
                    case [EnosIngestError() as error]:
                        raise error
                    case [Opened() as opened, *said]:
                        return opened, said
        except TimeoutError:
            raise StorageError(f"the store's process has not opened the database in {_START_SECONDS:g} s") from None
        raise StorageError(f"the store's process cannot start: {how_ended(self._process.wait())}")

    def _say(self, message: Group | None) -> None:
        """Send, or keep what the process does not take yet: no more than may be in flight."""
        if self._socket.fileno() < 0:
            return  # it has ended
        try:
            rest = memoryview(to_frame(message))
            if not self._unsent:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[self._socket.send(rest) :]
        except _ENDED:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            self._break_off(error)
            return
        if rest:
            if not self._unsent:
                self._loop.add_writer(self._socket, self._writable)
            self._unsent.append(rest)

    def _writable(self) -> None:
        try:
            while self._unsent:
                self._unsent[0] = self._unsent[0][self._socket.send(self._unsent[0]) :]
                if not self._unsent[0]:
                    self._unsent.popleft()
        except BlockingIOError:
            return
        except _ENDED:
            self._unsent.clear()
        except OSError as error:
            self._break_off(error)
            return
        self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            for word in self._frames.feed(data):
                self._hear(word)
        except Exception as error:  # noqa: BLE001 - as above
            self._break_off(error)
            return
        if not data:
            self._hang_up()
        elif self._deadline is not None:
            self._expect_end()

    def _break_off(self, error: Exception) -> None:
        """End what cannot be talked with, for want of memory for one.

        Where a group or a word is lost, the next word would be taken for the answer to the wrong records.
        """
        log.error("the store's process cannot be talked with: it is ended", exc_info=error)
        self._process.kill()
        self._hang_up()

    def _hang_up(self) -> None:
        """Hear and send nothing more, and tell how the process has ended once it has."""
        self._unsent.clear()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        # It may take a moment to end; the event loop has other things to do.
        waiting = self._loop.run_in_executor(None, self._process.wait)
        waiting.add_done_callback(lambda future: self._gone(future.result()))

    def _expect_end(self) -> None:
        """Wait for the end no longer than so, from now."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(_END_SECONDS, self._too_late)

    def _too_late(self) -> None:
        log.error("the store's process was asked to end and does not: it is killed", seconds=_END_SECONDS)
        self._process.kill()

    def _gone(self, code: int) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._ended(None if self._closed and code == 0 else how_ended(code))


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Let a process that is started in the block be deaf to `_SIGNALS` from its first moment: it inherits that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _HubEndedError(Exception):
    """Nobody is there to be told of commits any more."""


class _Stream(Inlet):
    """Groups from the hub; None after the last."""

    def __init__(self, stream: socket.socket) -> None:
        super().__init__()
        self._socket = stream
        self._frames = Frames()
        self._groups: deque[Group | None] = deque()
        self._poll = select.poll()
        self._poll.register(stream, select.POLLIN)

    def _next(self, timeout: float | None) -> Group | None:
        while not self._groups:
            if not self._poll.poll(None if timeout is None else timeout * 1000):
                return None
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise _HubEndedError
            self._groups.extend(self._frames.feed(data))
        group = self._groups.popleft()
        self.ended = group is None
        return group


def main() -> None:
    """The program of the process: `FOLDER DESCRIPTOR DATABASE ROWS BYTES`."""
    descriptor, path, rows, size = sys.argv[2:]
    with socket.socket(fileno=int(descriptor)) as stream:

        def say(word: Word | Opened | EnosIngestError) -> None:
            stream.sendall(to_frame(word))

        try:
            engine = Engine(Path(path), Bounds(int(rows), int(size)), _Stream(stream), say)
        except EnosIngestError as error:
            say(error)
            return
        say(engine.opened)
        gc.freeze()
        gc.set_threshold(*_COLLECT)
        try:
            engine.run()
        except (_HubEndedError, *_ENDED):
            return
