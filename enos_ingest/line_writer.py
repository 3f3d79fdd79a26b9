"""Lines to a stream whose reader may stall: written by a thread of their own, so that nobody else waits for it."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import TextIO

__all__ = ["LineWriter"]

_LOOK_SECONDS = 1.0
"""How often a stream that another program has made non-blocking is looked at, where it does not tell of its room."""


class LineWriter:
    """Writes lines in their order, and never lets who hands them over wait.

    What the stream does not take is kept up to a bound. Beyond it lines are dropped, until all that was kept before has
    been handed to the stream; then a line says how many were. Those that the stream refuses, as on a full disk, count
    too, and are told of with the next that it takes.

    Args:
        say: makes the line that tells how many lines were dropped.
        characters: how many may be kept; as many again may be on their way.
    """

    def __init__(self, stream: TextIO, say: Callable[[int], str], *, characters: int) -> None:
        self.dropped = 0
        """How many lines have been dropped."""
        self._stream = stream
        self._say = say
        self._characters = characters
        self._descriptor = _descriptor(stream)
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._size = 0
        self._unsaid = 0
        self._writing = False
        self._closed = False
        # A daemon, as a stream that never takes its lines must not keep the process from its end.
        self._thread = threading.Thread(target=self._run, name="log lines", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Have a line written, in its turn; does not wait."""
        with self._changed:
            if self._closed:
                self.dropped += 1
                return
            # After one was dropped the next are, too: the line that counts them stands where they would.
            if self._unsaid or self._size + len(line) > self._characters:
                self._unsaid += 1
                self.dropped += 1
                return
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all lines are written, but no longer than so many seconds; whether they are."""
        with self._changed:
            return self._changed.wait_for(self._is_done, seconds)

    def close(self) -> None:
        """Take no more lines; the thread ends with the last one."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_done(self) -> bool:
        return not self._lines and not self._unsaid and not self._writing

    def _run(self) -> None:
        refused = 0
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines or self._unsaid or self._closed)
                if self._is_done():
                    return
                lines, self._lines, self._size = self._lines, [], 0
                unsaid, self._unsaid = self._unsaid, 0
                self._writing = True
            text = [self._say(refused)] if refused else []
            text += lines
            if unsaid:
                text.append(self._say(unsaid))
            try:
                self._put("".join(text))
                refused = 0
            except (OSError, ValueError):  # nobody reads any more, the disk is full, the stream was closed
                refused += len(lines) + unsaid
                self.dropped += len(lines)

    def _put(self, text: str) -> None:
        if self._descriptor is None:
            self._stream.write(text)
            self._stream.flush()
            return
        # Past the stream's own buffer: its lock, held while a pipe is full, would break the end of the interpreter.
        rest = memoryview(text.encode("utf-8", "backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], _LOOK_SECONDS)


def _descriptor(stream: TextIO) -> int | None:
    """The file behind a stream, None where it has none."""
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
